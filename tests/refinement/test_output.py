"""The state of a run in RELION's files: names, and what comes back (specification E 6)."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from clrelion.errors import NumericalError, StarError
from clrelion.io.journal import Journal
from clrelion.io.mrc import read_map
from clrelion.io.particle_writer import ParticleWriter
from clrelion.io.run_files import read_model, read_optimiser, read_sampling
from clrelion.orientations.symmetry import PointGroup
from clrelion.refinement import output as output_module
from clrelion.refinement.expectation_setup import Grids
from clrelion.refinement.output import Output
from clrelion.refinement.state import RunState
from tests.refinement.small_state import N, options_of, run_state


@pytest.fixture
def in_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Path, list[tuple[str, bool]]]:
    """Working directory; particle files are only noted down (tests/io writes them)."""
    written: list[tuple[str, bool]] = []
    monkeypatch.chdir(tmp_path)
    (tmp_path / "out").mkdir()
    monkeypatch.setattr(
        ParticleWriter, "write",
        lambda _, path, table, is_done, all_digits: written.append((str(path), is_done)),
    )  # fmt: skip
    return tmp_path, written


def output_of(*arguments: str) -> Output:
    return Output("out/run", options_of(*arguments), "C1", 17, 24.0, "clrelion refine")


def write(
    state: RunState, *arguments: str, is_final: bool = False, n_unfiltered: int = 0
) -> list[str]:
    options = options_of(*arguments)
    group = PointGroup.from_name("C1")
    grids = Grids.create(state.sampling, options, group)
    n_dir = grids.orientations.n_dir
    for model in state.models:
        rng = np.random.default_rng(1)
        model.pdf_direction = rng.uniform(size=(model.n_classes, n_dir))
        model.maps = [rng.standard_normal((N, N, N)) for _ in model.maps]
    out = output_of(*arguments)
    maps = [np.full((N, N, N), float(i)) for i in range(n_unfiltered)]
    try:
        written = out.write(state, grids, Journal("2026-01-01T00:00:00+00:00", {}), is_final, maps)
    finally:
        out.close()
    return written.class_maps + written.half_maps


def names(folder: Path) -> set[str]:
    return {path.name for path in (folder / "out").iterdir()}


def test_classification(in_folder: tuple[Path, list[tuple[str, bool]]]) -> None:
    folder, written = in_folder
    state = run_state(2)
    maps = write(state, "--K", "2")
    root = "run_it002"
    assert names(folder) == {"run_journal.star"} | {
        f"{root}_{name}"
        for name in (
            "class001.mrc", "class002.mrc", "class001_angdist.bild", "class002_angdist.bild",
            "model.star", "sampling.star", "optimiser.star",
        )
    }  # fmt: skip
    assert written == [("out/run_it002_data.star", True)]
    assert maps == [f"out/{root}_class001.mrc", f"out/{root}_class002.mrc"]
    volume = read_map(maps[1])
    np.testing.assert_allclose(volume.data, state.models[0].maps[1], rtol=1e-6)
    assert volume.pixel_size_angst == pytest.approx(2.0)
    model = read_model(folder / "out/run_it002_model.star")
    assert model.class_files == maps
    assert model.current_resolution_angst == pytest.approx(8.0)
    np.testing.assert_array_equal(model.group_n_particles, [3, 3])
    assert model.pdf_direction is not None
    np.testing.assert_allclose(model.pdf_direction, state.models[0].pdf_direction, rtol=1e-5)
    np.testing.assert_allclose(model.sigma2_noise, state.models[0].sigma2_noise, rtol=1e-5)
    assert model.sigma_offset_angst == pytest.approx(np.sqrt(50.0), rel=1e-5)
    optimiser = read_optimiser(folder / "out/run_it002_optimiser.star")
    assert (optimiser.iteration, optimiser.model_star2) == (2, None)
    assert (optimiser.random_seed, optimiser.particle_diameter_angst) == (17, 24.0)
    sampling = read_sampling(folder / "out/run_it002_sampling.star")
    assert sampling.rot_deg is not None
    assert (sampling.healpix_order, len(sampling.rot_deg)) == (0, 12)


def test_halves_and_the_start(in_folder: tuple[Path, list[tuple[str, bool]]]) -> None:
    """No angular distribution before the first iteration; particles of each half are counted."""
    folder, written = in_folder
    state = run_state(1, is_split=True, iteration=0)
    write(state, "--auto_refine", "--split_random_halves")
    assert names(folder) == {"run_journal.star"} | {
        f"run_it000_{name}"
        for name in (
            "half1_class001.mrc", "half2_class001.mrc", "half1_model.star", "half2_model.star",
            "sampling.star", "optimiser.star",
        )
    }  # fmt: skip
    assert written == [("out/run_it000_data.star", False)]
    counts = [
        read_model(folder / f"out/run_it000_half{h}_model.star").group_n_particles for h in (1, 2)
    ]
    table = state.table
    for h, found in enumerate(counts, start=1):
        expected = np.bincount(table.scale_group[table.random_subset == h], minlength=2)
        np.testing.assert_array_equal(found, expected)
    optimiser = read_optimiser(folder / "out/run_it000_optimiser.star")
    assert optimiser.model_star2 == "out/run_it000_half2_model.star"


def test_converged(in_folder: tuple[Path, list[tuple[str, bool]]]) -> None:
    """Names without a number, half maps beside the joined map."""
    folder, written = in_folder
    maps = write(
        run_state(1), "--auto_refine", "--split_random_halves", is_final=True, n_unfiltered=2
    )
    assert names(folder) == {"run_journal.star"} | {
        f"run_{name}"
        for name in (
            "class001.mrc", "class001_angdist.bild", "half1_class001_unfil.mrc",
            "half2_class001_unfil.mrc", "model.star", "sampling.star", "optimiser.star",
        )
    }  # fmt: skip
    assert written == [("out/run_data.star", True)]
    assert [read_map(m).data.max() for m in maps[1:]] == [0.0, 1.0]
    assert read_optimiser(folder / "out/run_optimiser.star").iteration == -1


def test_kept_orientations_have_no_distribution(
    in_folder: tuple[Path, list[tuple[str, bool]]],
) -> None:
    folder, _ = in_folder
    write(run_state(1), "--skip_align")
    assert not any(name.endswith(".bild") for name in names(folder))


@pytest.mark.parametrize(
    ("data_vs_prior", "expected"),
    [([9, 5, 2, 0.5, 3], 32 / 2), ([9, 5, 2, 1.5, 3], 32 / 4), ([9, 0.5, 0, 0, 0], 999.0)],
)
def test_estimated_resolution(data_vs_prior: list[float], expected: float) -> None:
    found = output_module._estimated_resolution(np.array(data_vs_prior), 32.0)
    assert found == pytest.approx(expected)


def test_settings_of_a_run_reach_its_files(
    in_folder: tuple[Path, list[tuple[str, bool]]],
) -> None:
    folder, _ = in_folder
    write(
        run_state(2), "--K", "2", "--zero_mask", "--tau2_fudge", "3", "--maxsig", "50", "--norm",
        "--scale", "--no_map", "--strict_highres_exp", "9", "--oversampling", "1",
    )  # fmt: skip
    stored = read_optimiser(folder / "out/run_it002_optimiser.star")
    assert stored.do_zero_mask
    assert stored.do_norm_correction
    assert stored.do_scale_correction
    assert not stored.do_map
    assert stored.tau2_fudge == 3.0
    assert stored.max_significant == 50
    assert stored.highres_limit_angst == 9.0
    assert stored.lowres_limit_angst == -1.0
    assert stored.adaptive_oversampling == 1
    model = read_model(folder / "out/run_it002_model.star")
    assert (model.tau2_fudge, model.n_classes) == (3.0, 2)


@pytest.fixture
def as_if_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output_module, "_is_small", lambda *_: False)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "out").iterdir()}


@pytest.mark.parametrize("is_split", [False, True])
def test_processes_write_the_same_texts(
    in_folder: tuple[Path, list[tuple[str, bool]]], is_split: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At first, and once more when what does not change is known; then with one process lost."""
    folder, _ = in_folder
    state, arguments = run_state(1 if is_split else 2, is_split), ["--K", "2"]
    if is_split:
        arguments = ["--auto_refine", "--split_random_halves"]
    write(state, *arguments)
    here = contents(folder)
    assert not any(name.startswith(".") for name in here)
    monkeypatch.setattr(output_module, "_is_small", lambda *_: False)
    out = output_of(*arguments)
    group = PointGroup.from_name("C1")
    grids = Grids.create(state.sampling, options_of(*arguments), group)
    journal = Journal("2026-01-01T00:00:00+00:00", {})
    for i in range(3):
        for path in (folder / "out").iterdir():
            path.unlink()
        out.write(state, grids, journal)
        assert contents(folder) == here
        processes = [process._process for process in out._texts]
        if i < 2:
            assert [process is not None for process in processes] == [True, True, is_split]
        if i == 1:
            killed = processes[0]
            assert killed is not None
            os.kill(killed.pid, signal.SIGKILL)
            killed.wait()
    assert out._texts[0].is_lost
    out.close()
    assert all(process is None or process.returncode is not None for process in processes)


def test_errors_of_a_process_are_raised_here(
    in_folder: tuple[Path, list[tuple[str, bool]]], as_if_large: None
) -> None:
    """The optimiser file, which comes last, is not written then."""
    folder, _ = in_folder
    state = run_state(1, is_split=True)
    state.table.group_names[0] = "two\nlines"
    with pytest.raises(StarError, match=r"_model\.star: rlnGroupName holds a line break"):
        write(state, "--auto_refine", "--split_random_halves")
    assert "run_it002_optimiser.star" not in names(folder)
    assert not any(name.startswith(".") for name in names(folder))


def test_no_optimiser_file_beside_a_bad_map(
    in_folder: tuple[Path, list[tuple[str, bool]]],
) -> None:
    folder, _ = in_folder
    bad = np.full((N, N, N), np.nan)
    state, out = run_state(1), output_of()
    grids = Grids.create(state.sampling, options_of(), PointGroup.from_name("C1"))
    with pytest.raises(NumericalError, match=r"half1_class001_unfil\.mrc: .* NaN"):
        out.write(state, grids, Journal("", {}), is_final=True, unfiltered_half_maps=[bad])
    assert "run_optimiser.star" not in names(folder)
    assert "run_half1_class001_unfil.mrc" not in names(folder)
    assert not any(name.startswith(".") for name in names(folder))


def test_what_is_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither many particles nor many directions; where cores abound, fewer are many."""
    monkeypatch.setattr(output_module, "available_cores", lambda: 2)
    state, options, group = run_state(2), options_of(), PointGroup.from_name("C1")
    few, some, many = (
        Grids.create(replace(state.sampling, healpix_order=order), options, group)
        for order in (2, 4, 6)
    )
    assert output_module._is_small(state, few)
    assert output_module._is_small(state, some)
    assert not output_module._is_small(state, many)
    monkeypatch.setattr(output_module, "available_cores", lambda: 16)
    assert output_module._is_small(state, few)
    assert not output_module._is_small(state, some)
    state.table.image_name = state.table.image_name * 1000
    assert not output_module._is_small(state, few)
