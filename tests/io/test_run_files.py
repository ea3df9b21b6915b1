"""Run files: RELION's come back byte for byte through the dataclasses; names; bad files."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clrelion.errors import ContinueError, StarError
from clrelion.io import run_files
from clrelion.io.run_files import (
    ModelFile,
    read_model,
    read_optimiser,
    read_sampling,
    write_model,
    write_optimiser,
    write_sampling,
)
from clrelion.io.star import read_star, write_star


def same_text(path: Path, again: Path) -> None:
    """Compare the files, but for blanks at line ends, what was cut from theirs and -nan."""
    text = path.read_text().replace("-nan", " nan")
    theirs = [line.rstrip() for line in text.rstrip().splitlines()]
    theirs = [line for line in theirs if line.split() != ["_rlnModelStarFile2", '""']]
    while theirs[-1] in ("# version 50001", ""):
        theirs.pop()
    ours = [line.rstrip() for line in again.read_text().splitlines()]
    assert ours[: len(theirs)] == theirs, path
    assert not any(ours[len(theirs) :]), path


@pytest.mark.parametrize(
    ("kind", "read", "write"),
    [
        ("model", read_model, write_model),
        ("sampling", read_sampling, write_sampling),
        ("optimiser", read_optimiser, write_optimiser),
    ],
)
def test_relion_files_come_back(
    shared: Path,
    tmp_path: Path,
    kind: str,
    read: Callable[[Path], Any],
    write: Callable[[Path, Any], None],
) -> None:
    paths = sorted((shared / "data").rglob(f"*_{kind}.star"))
    assert len(paths) > 40
    for path in paths[::3]:
        contents = read(path)
        write(tmp_path / "again.star", contents)
        if kind == "model" and needs_float32_pixel_size(contents):
            assert_equal_tables(path, tmp_path / "again.star")
        else:
            same_text(path, tmp_path / "again.star")


def needs_float32_pixel_size(model: ModelFile) -> bool:
    """RELION computes shell resolutions from the map header's float32 pixel size."""
    return model.pixel_size_angst not in (4.0, 2.0)


def assert_equal_tables(path: Path, again: Path) -> None:
    theirs, ours = read_star(path), read_star(again)
    assert list(ours) == list(theirs)
    for name, block in theirs.items():
        assert list(ours[name].columns) == list(block.columns)
        for label, values in block.columns.items():
            if label in ("rlnResolution", "rlnAngstromResolution"):
                np.testing.assert_allclose(
                    ours[name].floats(label), block.floats(label), rtol=2e-6, atol=1.1e-6
                )
            else:
                assert ours[name].columns[label] == [v.replace("-nan", "nan") for v in values]


def test_first_iteration_has_infinite_resolution(shared: Path) -> None:
    model = read_model(shared / "data/trpv1_96/relion5/run_it000_half1_model.star")
    assert model.current_resolution_angst == float("inf")
    assert model.current_size == 0
    assert model.orientability is None
    assert model.pdf_direction is None, "cut from this file"
    assert model.sigma2_noise.shape == (2, 49)
    assert model.n_shells == 49
    assert model.tau2[0, 0] == pytest.approx(17.92157)


def test_two_classes(shared: Path) -> None:
    model = read_model(shared / "data/steps/pol/K2/run_it003_model.star")
    assert model.n_classes == 2
    assert model.class_files == ["K2/run_it003_class001.mrc", "K2/run_it003_class002.mrc"]
    assert model.pdf_class.sum() == pytest.approx(1, abs=1e-5)
    assert model.pdf_direction is not None
    assert model.pdf_direction.shape[0] == 2
    assert model.group_n_particles.sum() == 140


def test_noise_rows_below_zero_are_left_out_and_come_back_as_zero(
    shared: Path, tmp_path: Path
) -> None:
    model = read_model(shared / "data/steps/pol/base/run_it001_model.star")
    noise = model.sigma2_noise.copy()
    noise[0, [0, 5]] = [0.0, -1.0]
    write_model(tmp_path / "m.star", dataclasses.replace(model, sigma2_noise=noise))
    block = read_star(tmp_path / "m.star")["model_optics_group_1"]
    assert block.ints("rlnSpectralIndex").tolist() == [
        i for i in range(model.n_shells) if i not in (0, 5)
    ]
    again = read_model(tmp_path / "m.star").sigma2_noise
    noise[0, 5] = 0
    np.testing.assert_allclose(again, noise, rtol=1e-6)


def test_optimiser_state(shared: Path, tmp_path: Path) -> None:
    state = read_optimiser(shared / "data/steps/pol/auto/run_it003_optimiser.star")
    assert (state.iteration, state.n_iterations, state.random_seed) == (3, 4, 42)
    assert state.model_star2 == "auto/run_it003_half2_model.star"
    assert state.do_split_random_halves is True
    assert state.solvent_mask is None
    assert state.low_resol_join_halves_angst == 60
    assert state.command_line.startswith("--o auto/run")
    assert state.program.startswith("RELION optimiser; version 5.0.1")
    state.own_options = {"clrelionDevice": "gpu 0", "clrelionSeed": "7"}
    state.command_line = "clrelion refine --o x"
    write_optimiser(tmp_path / "o.star", state)
    assert read_optimiser(tmp_path / "o.star") == state
    assert (tmp_path / "o.star").read_text().split("\n")[1] == "# clrelion refine --o x"
    final = read_optimiser(shared / "data/steps/pol/fin/run_optimiser.star")
    assert final.iteration == -1
    assert final.model_star2 is None
    write_optimiser(tmp_path / "o.star", final)
    assert "rlnModelStarFile2" not in (tmp_path / "o.star").read_text()


def test_optional_labels_may_be_absent_but_others_not(shared: Path, tmp_path: Path) -> None:
    path = shared / "data/steps/pol/auto/run_it003_optimiser.star"
    blocks = read_star(path)
    columns = blocks["optimiser_general"].columns
    for label in ("rlnDoSkipRotate", "rlnDoCenterClasses", "rlnLowresLimitExpectation"):
        del columns[label]
    write_star(tmp_path / "o.star", blocks.values())
    assert read_optimiser(tmp_path / "o.star").do_skip_rotate is False
    del columns["rlnBestResolutionThusFar"]
    write_star(tmp_path / "o.star", blocks.values())
    with pytest.raises(StarError, match=r"o\.star: .* no _rlnBestResolutionThusFar"):
        read_optimiser(tmp_path / "o.star")


def test_wrong_kind_of_file(shared: Path) -> None:
    path = shared / "data/steps/pol/auto/run_it003_data.star"
    for read in (read_model, read_sampling, read_optimiser):
        with pytest.raises(ContinueError, match=r"run_it003_data\.star: (has|it)"):
            read(path)


def test_damaged_model(shared: Path, tmp_path: Path) -> None:
    path = shared / "data/steps/pol/base/run_it001_model.star"
    blocks = read_star(path)
    del blocks["model_groups"]
    write_star(tmp_path / "m.star", blocks.values())
    with pytest.raises(StarError, match="has no data_model_groups"):
        read_model(tmp_path / "m.star")
    blocks = read_star(path)
    for values in blocks["model_class_1"].columns.values():
        values.pop()
    write_star(tmp_path / "m.star", blocks.values())
    with pytest.raises(StarError, match="data_model_class_1 has 32 rows instead of 33"):
        read_model(tmp_path / "m.star")
    blocks = read_star(path)
    blocks["model_optics_group_1"].columns["rlnSpectralIndex"][3] = "99"
    write_star(tmp_path / "m.star", blocks.values())
    with pytest.raises(StarError, match="rlnSpectralIndex outside"):
        read_model(tmp_path / "m.star")


def test_file_names() -> None:
    assert run_files.root_of_iteration("o/run", 7) == "o/run_it007"
    assert run_files.root_of_iteration("o/run", None) == "o/run"
    assert run_files.root_of_iteration("o/run", -1) == "o/run"
    assert run_files.data_file("o/run", 0) == "o/run_it000_data.star"
    assert run_files.sampling_file("o/run", 1) == "o/run_it001_sampling.star"
    assert run_files.optimiser_file("o/run", None) == "o/run_optimiser.star"
    assert run_files.model_file("o/run", 3) == "o/run_it003_model.star"
    assert run_files.model_file("o/run", 3, 2) == "o/run_it003_half2_model.star"
    assert run_files.class_map_file("o/run", 25, 0) == "o/run_it025_class001.mrc"
    assert run_files.class_map_file("o/run", 14, 0, 1) == "o/run_it014_half1_class001.mrc"
    assert run_files.unfiltered_half_map_file("o/run", None, 1) == "o/run_half1_class001_unfil.mrc"
    bild = run_files.angular_distribution_file("o/run", 2, 11)
    assert bild == "o/run_it002_class012_angdist.bild"


def test_run_files_are_found_beside_the_optimiser(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "job").mkdir()
    (tmp_path / "job" / "run_data.star").touch()
    monkeypatch.chdir(tmp_path)
    resolve = run_files.resolve_run_file
    assert resolve("job/run_data.star", "job/run_optimiser.star") == "job/run_data.star"
    monkeypatch.chdir(tmp_path / "job")
    assert resolve("job/run_data.star", "run_optimiser.star") == "run_data.star"
    assert resolve("job/none.star", "run_optimiser.star") == "job/none.star"


def test_directions_that_change_are_written_anew(tmp_path: Path) -> None:
    """The text of the directions is kept only as long as they are the same."""
    base = run_files.SamplingFile(
        healpix_order=2, symmetry="C1", limit_tilt_deg=-91.0, psi_step_deg=15.0,
        offset_range_angst=5.0, offset_step_angst=2.0, perturbation=0.1, perturbation_factor=0.5,
        healpix_order_original=2, psi_step_original_deg=15.0, offset_range_original_angst=5.0,
        offset_step_original_angst=2.0,
    )  # fmt: skip
    rng = np.random.default_rng(5)
    for n in (7, 7, 12):
        rot, tilt = rng.uniform(0, 90, n), rng.uniform(0, 90, n)
        made = dataclasses.replace(base, rot_deg=rot, tilt_deg=tilt)
        for _ in range(2):
            write_sampling(tmp_path / "s.star", made, True)
            found = read_sampling(tmp_path / "s.star")
            np.testing.assert_array_equal(found.rot_deg, rot)
            np.testing.assert_array_equal(found.tilt_deg, tilt)
