"""References and sums that stay on the device give the same run, and stay only where they fit."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clrelion.device.session import DeviceSession
from clrelion.expectation.device_reference import (
    DeviceReferenceTransform,
    reference_transforms_on_device,
)
from clrelion.expectation.results import ExpectationResult
from clrelion.io.run_files import read_model
from clrelion.maximization.device_sums import DeviceSums
from clrelion.maximization.solvent import SolventMasks, spherical_solvent_mask
from clrelion.maximization.sums import BackprojectionSums
from clrelion.maximization.waiting_sums import WaitingSums
from clrelion.orientations.symmetry import PointGroup
from clrelion.planning import volumes
from clrelion.planning.limits import DeviceLimits
from clrelion.planning.volumes import VolumeSizes
from clrelion.refinement.maximization_step import Maximization, MaximizationResult
from tests.expectation.small_run import small_run
from tests.reference.refine_program import (
    CLASS3D,
    REFINE3D,
    changed,
    read_map,
    relative_difference,
    succeed,
)
from tests.refinement.small_state import PIXEL, N, S, ended, options_of, result, run_state


def on_device(
    session: DeviceSession, given: ExpectationResult, waits: bool = False
) -> ExpectationResult:
    volumes: list[Any] = [DeviceSums.from_host(session, volume) for volume in given.backprojections]
    if waits:
        volumes = [
            WaitingSums(
                session, session.to_host(v.values)[0], v.padding_factor, v.r_max, v.ori_size
            )
            for v in volumes
        ]
    return replace(given, backprojections=volumes)


def assert_same(found: MaximizationResult, expected: MaximizationResult) -> None:
    """Everything to 1e-9, as both are in double precision."""
    assert len(found.models) == len(expected.models)
    for one, two in zip(found.models, expected.models, strict=True):
        for field in fields(two):
            mine, its = getattr(one, field.name), getattr(two, field.name)
            if mine is None:
                assert its is None
                continue
            scale = float(np.max(np.abs(its))) or 1.0
            np.testing.assert_allclose(mine, its, atol=1e-9 * scale, err_msg=field.name)
    if expected.fsc_halves is not None:
        assert found.fsc_halves is not None
        np.testing.assert_allclose(found.fsc_halves, expected.fsc_halves, atol=1e-9)
    assert len(found.unfiltered_half_maps) == len(expected.unfiltered_half_maps)
    for volume, its in zip(found.unfiltered_half_maps, expected.unfiltered_half_maps, strict=True):
        np.testing.assert_allclose(volume, its, atol=1e-9 * np.abs(its).max())


HALVES = ("--auto_refine", "--split_random_halves", "--low_resol_join_halves", "20")
STEPS: dict[str, dict[str, Any]] = {
    "classes, one empty": {"weights": [4.0, 2.0, 0.0]},
    "first correlation": {"is_cc": True, "iteration": 1, "flags": ["--ini_high", "16"]},
    "centred, flattened": {"flags": ["--center_classes"], "has_masks": True},
    "seeding": {"weights": [4.0, 2.0], "seeding": 5},
    "no prior": {"flags": ["--no_map"]},
    "symmetry": {"symmetry": "C3", "has_masks": True},
    "halves": {"flags": [*HALVES], "has_masks": True},
    "joined halves": {"flags": [*HALVES], "updates": {"join_random_halves": True}},
    "last": {"flags": [*HALVES], "is_last": True, "has_masks": True},
    "solvent-corrected": {"flags": [*HALVES, "--solvent_correct_fsc", "--solvent_mask", "m.mrc"]},
}


@pytest.mark.parametrize("waits", [False, True], ids=["stays", "waits"])
@pytest.mark.parametrize("name", STEPS)
def test_maximization(session_double: DeviceSession, name: str, waits: bool) -> None:
    case = {"weights": [6.0], "flags": [], "iteration": 3, "is_cc": False, "is_last": False,
            "has_masks": False, "seeding": 0, "symmetry": "C1", "updates": {},
            **STEPS[name]}  # fmt: skip
    weights, is_split = case["weights"], HALVES[0] in case["flags"]
    mask = spherical_solvent_mask(N, PIXEL, 18.0, 3.0)
    options = options_of("--K", str(len(weights)), *case["flags"])
    made = []
    for goes_on_device in (False, True):
        state = run_state(len(weights), is_split, seeding_iteration=case["seeding"])
        for model in state.models:
            model.tau2[:] = 1.0
        results = [result(weights, seed, 0.1) for seed in ((1, 2) if is_split else (0,))]
        if goes_on_device:
            results = [on_device(session_double, given, waits) for given in results]
        step = Maximization(
            options.model_copy(update=case["updates"]),
            PointGroup.from_name(case["symmetry"]),
            SolventMasks(mask) if case["has_masks"] else None,
            mask,
            None,
        )
        given = ended(results)
        made.append(
            step.run(state, given, S, case["iteration"], case["is_cc"], case["is_last"])
        )
    assert_same(made[1], made[0])


@pytest.mark.parametrize("symmetry", ["C1", "C2"])
def test_expectation(session_double: DeviceSession, symmetry: str) -> None:
    """References on the device give the same sums, which stay there."""
    run = small_run(symmetry=symmetry)
    expected, of_host = run.run(session_double)
    settings = run.settings
    maps = [
        np.random.default_rng(k).standard_normal((settings.ori_size,) * 3)
        for k in range(settings.n_classes)
    ]
    made = reference_transforms_on_device(
        session_double, maps, settings.padding_factor, settings.r_max
    )
    for given, reference in zip(settings.references, made, strict=True):
        assert given is not None
        assert isinstance(reference, DeviceReferenceTransform)
        assert reference.data.shape == given.data.shape
        stacked = session_double.to_host(reference.stack)
        stacked[reference._place] = given.data
        session_double.copy_to_device(stacked, reference.stack)
    found, of_device = run.changed(references=made).run(session_double)
    np.testing.assert_allclose(of_device.pmax, of_host.pmax, rtol=1e-12)
    for one, other in zip(found.backprojections, expected.backprojections, strict=True):
        assert isinstance(one, DeviceSums)
        back = one.to_host()
        # those that do not stay wait on the device, but for a CPU's
        two = other if isinstance(other, BackprojectionSums) else other.to_host()
        assert relative_difference(back.data, two.data) < 1e-12
        assert relative_difference(back.weight, two.weight) < 1e-12


@pytest.mark.parametrize(
    ("command", "names"),
    [
        (f"{CLASS3D} --K 2", ["run_it002_class001", "run_it002_class002"]),
        (
            changed(REFINE3D, "--iter 2 --auto_iter_max 2"),
            ["run_it002_half1_class001", "run_it002_half2_class001"],
        ),
    ],
    ids=["class3d", "refine3d"],
)
def test_whole_run(
    folder: Path, monkeypatch: pytest.MonkeyPatch, command: str, names: list[str]
) -> None:
    """Host against device maximization; left alone, a device has but one of them."""
    command = changed(command, "--precision double")
    monkeypatch.setattr(volumes, "_all_stay", lambda *_: False)
    monkeypatch.setattr(volumes, "_maximizes_on_device", lambda *_: False)
    succeed(folder, command)
    asked = []

    def always(limits: DeviceLimits, sizes: VolumeSizes, *_: Any) -> bool:
        asked.append(sizes)
        return True

    monkeypatch.setattr(volumes, "_all_stay", always)
    succeed(folder, changed(command, "--o device/run"))
    assert len(asked) >= 2
    for name in names:
        expected = read_map(folder / "out" / f"{name}.mrc")
        found = read_map(folder / "device" / f"{name}.mrc")
        assert relative_difference(found, expected) < 1e-6
        model = name.split("_class")[0] + "_model.star"
        one, two = read_model(folder / "device" / model), read_model(folder / "out" / model)
        np.testing.assert_allclose(one.tau2, two.tau2, rtol=1e-4, atol=1e-6 * two.tau2.max())
        np.testing.assert_allclose(one.data_vs_prior, two.data_vs_prior, rtol=1e-4, atol=1e-4)
