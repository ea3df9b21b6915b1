"""The measures of tools/parity on made-up poses, maps, tables and results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clrelion.fourier.shells import half_transform_shells_3d
from clrelion.orientations.euler import euler_matrix
from clrelion.orientations.symmetry import PointGroup
from tools.parity.acceptance import at_least, at_most, verdicts
from tools.parity.bounds import BOUNDS, NOISE_FILL, ON_THE_CUT
from tools.parity.metrics import (
    absolute_deviation,
    class_agreement,
    fsc_near_nyquist,
    map_deviation,
    mean_fsc,
    printed_unit,
    relative_deviation,
    rotation_angle_deg,
    shell_of_resolution,
    sphere_fsc,
)
from tools.parity.page import write_page
from tools.parity.step_agreement import StepAgreement

IDENTITY = np.eye(3)[None]


@pytest.mark.parametrize("angle", [0.0, 1e-4, 0.5, 90.0, 179.0, 180.0])
def test_angle_of_an_in_plane_rotation(angle: float) -> None:
    first, second = euler_matrix([40.0], [70.0], [10.0]), euler_matrix([40.0], [70.0], [10 + angle])
    # 1e-6 degrees is what the arc sine leaves near 180
    np.testing.assert_allclose(rotation_angle_deg(first, second, IDENTITY), angle, atol=2e-6)


def test_symmetry_mates_are_no_difference() -> None:
    group = PointGroup.from_name("D2")
    pose = euler_matrix([40.0], [70.0], [10.0])
    for operator in group.operators[1:]:
        mate = pose @ operator
        assert rotation_angle_deg(mate, pose, group.operators)[0] < 1e-6
        assert rotation_angle_deg(mate, pose, IDENTITY)[0] > 90


def test_fsc_sees_the_sphere_only() -> None:
    rng = np.random.default_rng(3)
    first = rng.normal(size=(32, 32, 32))
    second = first.copy()
    z, y, x = np.mgrid[:32, :32, :32] - 16
    outside = x**2 + y**2 + z**2 >= 13**2
    second[outside] = rng.normal(size=outside.sum())
    assert mean_fsc(sphere_fsc(first, second, 2.0, radius_angst=16.0)) == pytest.approx(1.0)
    assert mean_fsc(sphere_fsc(first, second, 2.0, radius_angst=100.0)) < 0.7


def test_fsc_figures_are_of_the_shells_they_say() -> None:
    rng = np.random.default_rng(4)
    n = 16
    transform = np.fft.rfftn(rng.normal(size=(n, n, n)))
    changed = transform.copy()
    last_whole = half_transform_shells_3d(n) == n // 2 - 1
    changed[last_whole] *= -1
    maps = [np.fft.irfftn(t, s=(n, n, n), axes=(0, 1, 2)) for t in (transform, changed)]
    curve = sphere_fsc(maps[0], maps[1], 1.0, radius_angst=100.0)
    assert fsc_near_nyquist(curve) == pytest.approx(-1.0)
    assert mean_fsc(curve) == pytest.approx((n // 2 - 2) / (n // 2))


def test_shell_of_resolution() -> None:
    assert shell_of_resolution(8.258, 64, 4.0) == 31


def test_classes_may_be_named_differently() -> None:
    assert class_agreement([1, 1, 2, 2, 2], [2, 2, 1, 1, 2]) == 4
    assert class_agreement([1, 1, 2], [1, 1, 2]) == 3
    assert class_agreement([1, 1, 1], [1, 1, 2]) == 2


@pytest.mark.parametrize(
    ("value", "unit"),
    [(0.0, 1e-6), (0.005406, 1e-6), (1.132846e-05, 1e-11), (-0.5, 1e-5), (-1.5e-4, 1e-9),
     (2.5e6, 1.0), (999.0, 1e-6)],
)  # fmt: skip
def test_printed_unit(value: float, unit: float) -> None:
    assert printed_unit(value) == pytest.approx(unit)


def test_rounding_to_the_file_is_no_deviation() -> None:
    assert relative_deviation([0.005407], [0.005406]) == 0
    assert relative_deviation([0.005408], [0.005406]) == pytest.approx(3.7e-4, rel=0.01)
    assert relative_deviation([1.132847e-05], [1.132846e-05]) == 0
    assert absolute_deviation([0.25, 1.0], [0.251, 1.0]) == pytest.approx(1e-3)
    assert absolute_deviation([np.inf], [np.inf]) == 0
    assert np.isinf(absolute_deviation([np.inf], [1.0]))


def test_nan_is_a_deviation() -> None:
    assert not relative_deviation([np.nan], [1.0]) <= 1e-5
    assert not absolute_deviation([np.nan], [1.0]) <= 1e-5


def test_map_deviation_is_relative() -> None:
    volume = np.random.default_rng(5).normal(size=(8, 8, 8))
    assert map_deviation(1.01 * volume, volume) == pytest.approx(0.01)


def step(**figures: float) -> StepAgreement:
    return StepAgreement(1, 10, 1.0, 1.0, True, model=figures)


def test_shortcomings_name_what_is_beyond_the_bounds() -> None:
    bounds = BOUNDS["double"]
    assert step(tau2=9e-6).shortcomings(bounds) == []
    assert step(tau2=2e-5, fsc=0.0).shortcomings(bounds) == ["tau2 2.0e-05, asked for 1e-05"]
    assert step(tau2=float("nan")).shortcomings(bounds)
    lost = StepAgreement(1, 10, 0.9, 0.8, False, maps={"run_class001.mrc": 1.0})
    assert len(lost.shortcomings(bounds)) == 4


def test_relaxation_widens_what_it_names() -> None:
    relaxed = ON_THE_CUT.relax(BOUNDS["double"])
    assert (relaxed.poses, relaxed.pmax) == (1.0, 5e-3)
    single = ON_THE_CUT.relax(BOUNDS["single"])
    assert single.numbers == BOUNDS["single"].numbers
    assert step(norm=1.0).shortcomings(NOISE_FILL.relax(BOUNDS["double"])) == []
    assert step(tau2=1.0).shortcomings(NOISE_FILL.relax(BOUNDS["double"]))


def a_result() -> dict[str, Any]:
    figures = {"mean": 0.93, "near Nyquist": 0.83, "curve": [1.0] * 33}
    course = [{"iteration": "0", "resolution": None, "current_size": 0, "pmax": 0.0}]
    errors = {"angle_deg": [1.0, 1.8], "shift_angst": [0.5, 0.9]}
    return {
        "set": "polii64",
        "label": "cpu",
        "n_particles": 2000,
        "run": {
            "seconds": 100.0, "cpu_seconds": 150.0, "device": "a processor",
            "device_kind": "cpu", "driver": "1",
            "n_cpus": 2, "precision": "single", "seed": 42, "arguments": "--ctf",
        },
        "iterations": {"clrelion": course, "RELION": course},
        "spectra": {
            "sigma2_noise": {"median": 0.01, "largest": 0.02},
            "tau2": {"median": 0.01, "largest": 0.02},
            "resolution": {"clrelion": 8.4, "RELION": 8.26},
            "shell": {"clrelion": 30, "RELION": 31},
        },
        "poses against RELION": errors,
        "poses against truth": {"clrelion": errors, "RELION": errors},
        "maps": {
            "radius": 100.0, "with RELION": [figures], "with truth": [figures],
            "RELION's with truth": [figures],
        },
        "origin": {"version": "0", "commit": "abc", "date": "2026-01-01", "python": "3"},
    }  # fmt: skip


def test_verdicts() -> None:
    assert at_most(2, "", 1.0, 1.0).passes
    assert not at_least(2, "", 0.9, 1.0).passes
    result = a_result()
    assert all(verdict.passes for verdict in verdicts(result))
    result["spectra"]["shell"]["clrelion"] = 29
    result["poses against truth"]["clrelion"] = {"angle_deg": [1.2, 1.8], "shift_angst": [0.5, 0.9]}
    missed = [verdict.what for verdict in verdicts(result) if not verdict.passes]
    assert len(missed) == 3  # shells; the median against RELION's and against 1.1


def test_time_on_shared_cpus_is_not_judged() -> None:
    result = a_result()
    assert "run time on the CPU, s" in [verdict.what for verdict in verdicts(result)]
    result["run"] |= {"seconds": 9000.0, "cpu_seconds": 200.0}
    assert all(verdict.passes for verdict in verdicts(result))


def test_page_is_written_from_results_alone(tmp_path: Path, shared: Path) -> None:
    result = a_result()
    (tmp_path / "set_polii64_cpu.json").write_text(json.dumps(result))
    page = tmp_path / "parity.md"
    assert write_page(tmp_path, page)
    text = page.read_text()
    assert "8.40" in text
    assert "**missed**" not in text
    result["spectra"]["resolution"]["clrelion"] = 9.1
    (tmp_path / "set_polii64_cpu.json").write_text(json.dumps(result))
    assert not write_page(tmp_path, page)
    assert "**missed**" in page.read_text()


def test_other_seeds_are_shown_and_not_judged(tmp_path: Path, shared: Path) -> None:
    result = a_result()
    (tmp_path / "set_polii64_cpu.json").write_text(json.dumps(result))
    result["label"], result["run"]["seed"] = "cpu-seed1", 1
    result["maps"]["with truth"] = [{"mean": 0.5, "near Nyquist": 0.1, "curve": [1.0] * 33}]
    (tmp_path / "set_polii64_cpu-seed1.json").write_text(json.dumps(result))
    pair = {"set": "polii64", "labels": ["cpu", "cpu-seed1"], "resolution": 8.4,
            "least FSC to resolution": 0.876}  # fmt: skip
    (tmp_path / "runs_polii64_cpu.json").write_text(json.dumps({"pairs": [pair]}))
    page = tmp_path / "parity.md"
    assert write_page(tmp_path, page)
    text = page.read_text()
    assert "| cpu-seed1 | 8.40 | 0.5000 |" in text
    assert text.count("0.876") == 1
    assert text.count("## polii64, run") == 1
