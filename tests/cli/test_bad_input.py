"""Bad input through the command line: one clear line, exit code 1, and what was there survives."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import mrcfile
import numpy as np
import pytest

from clrelion.io.particle_table import read_particles
from tests.reference.refine_program import (
    BOX,
    CLASS3D,
    PIXEL,
    REFINE3D,
    Ended,
    changed,
    run_refine,
    succeed,
    write_small_set,
    write_stack,
)

N = 24


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Project folder with a set that can be refined, and the output of an earlier run."""
    write_small_set(tmp_path, N)
    (tmp_path / "out").mkdir()
    for name in ("run_it000_data.star", "run_it001_class001.mrc", "run_class001.mrc"):
        (tmp_path / "out" / name).write_text(f"earlier {name}")
    return tmp_path


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def edit(path: Path, pattern: str, text: str, count: int = 0) -> None:
    before = path.read_text()
    after = re.sub(pattern, text, before, count=count, flags=re.MULTILINE)
    assert after != before
    path.write_text(after)


def stack_of(folder: Path) -> np.ndarray:
    return np.array(mrcfile.read(folder / "particles.mrcs"))


def write_map(path: Path, shape: tuple[int, int, int], pixel_size: float = PIXEL) -> None:
    with mrcfile.new(path, overwrite=True) as file:
        file.set_data(np.ones(shape, dtype=np.float32))
        file.set_volume()
        file.voxel_size = pixel_size


def missing_stack(folder: Path) -> None:
    (folder / "particles.mrcs").unlink()


def truncated_stack(folder: Path) -> None:
    whole = (folder / "particles.mrcs").read_bytes()
    (folder / "particles.mrcs").write_bytes(whole[:-1000])


def stack_that_is_too_short(folder: Path) -> None:
    write_stack(folder / "particles.mrcs", stack_of(folder)[:10])


def wrong_box(folder: Path) -> None:
    write_stack(folder / "particles.mrcs", stack_of(folder)[:, 8:-8, 8:-8])


def no_defocus(folder: Path) -> None:
    edit(folder / "particles.star", "^_rlnDefocusU ", "_rlnUnused ")


def no_amplitude_contrast(folder: Path) -> None:
    edit(folder / "particles.star", "^_rlnAmplitudeContrast ", "_rlnUnused ")


def no_voltage(folder: Path) -> None:
    edit(folder / "particles.star", "^_rlnVoltage ", "_rlnUnused ")


def no_pixel_size(folder: Path) -> None:
    edit(folder / "particles.star", "^_rlnImagePixelSize ", "_rlnUnused ")


def undefined_optics_group(folder: Path) -> None:
    edit(folder / "particles.star", "(micrograph2.mrc\\s+)1", r"\g<1>3", count=1)


def impossible_number(folder: Path) -> None:
    edit(folder / "particles.star", "10660.000000", "1066O.000000", count=1)


def short_row(folder: Path) -> None:
    edit(folder / "particles.star", r"\s115.000000$", "", count=1)


def not_a_star_file(folder: Path) -> None:
    (folder / "particles.star").write_bytes(bytes(range(256)) * 10)


def no_star_file(folder: Path) -> None:
    (folder / "particles.star").unlink()


def no_rows(folder: Path) -> None:
    edit(folder / "particles.star", "^.*@particles.mrcs.*\n", "")


def unnormalised(folder: Path) -> None:
    write_stack(folder / "particles.mrcs", 5 * stack_of(folder) + 3)


def no_reference(folder: Path) -> None:
    (folder / "ref.mrc").unlink()


def smaller_reference(folder: Path) -> None:
    write_map(folder / "ref.mrc", (64, 64, 64))


def reference_of_another_pixel_size(folder: Path) -> None:
    write_map(folder / "ref.mrc", (BOX, BOX, BOX), 2.0)


def reference_that_is_no_cube(folder: Path) -> None:
    write_map(folder / "ref.mrc", (BOX, BOX, BOX - 2))


def reference_with_nan(folder: Path) -> None:
    volume = np.ones((BOX, BOX, BOX), np.float32)
    volume[3, 2, 1] = np.nan
    with mrcfile.new(folder / "ref.mrc", overwrite=True) as file:
        file.set_data(volume)
        file.voxel_size = PIXEL


def references_of_mixed_pixel_size(folder: Path) -> None:
    write_map(folder / "other.mrc", (BOX, BOX, BOX), 3.4)
    (folder / "refs.star").write_text(
        "data_model_classes\n\nloop_\n_rlnReferenceImage #1\nref.mrc\nother.mrc\n"
    )


def tau2_of_another_box(folder: Path) -> None:
    rows = "\n".join(f"{i} 1.0" for i in range(20))
    head = "data_\n\nloop_\n_rlnSpectralIndex #1\n_rlnReferenceTau2 #2\n"
    (folder / "tau.star").write_text(f"{head}{rows}\n")


def mask_out_of_range(folder: Path) -> None:
    with mrcfile.new(folder / "mask.mrc", overwrite=True) as file:
        file.set_data(np.full((BOX, BOX, BOX), 3.0, np.float32))
        file.voxel_size = PIXEL


def nothing(folder: Path) -> None:
    return None


def all_images_nan(folder: Path) -> None:
    write_stack(folder / "particles.mrcs", np.full((N, BOX, BOX), np.nan))


# What is done to the input, options, and what the one line says: the place, the cure.
CASES: list[tuple[Callable[[Path], None], str, list[str]]] = [
    (missing_stack, "", ["particles.star row 1", "particles.mrcs: no such image file", "correct"]),
    (truncated_stack, "", ["particles.star row 1", "particles.mrcs: is truncated", "again"]),
    (
        stack_that_is_too_short,
        "",
        ["particles.star row 11", "000011@particles.mrcs", "holds only 10 images", "restore"],
    ),
    (wrong_box, "", ["particles.star row 1", "64 x 64 px", "rlnImageSize 80", "correct"]),
    (no_defocus, "", ["particles.star", "_rlnDefocusU", "--ctf", "add the defocus"]),
    (no_amplitude_contrast, "", ["particles.star", "_rlnAmplitudeContrast", "--ctf", "add"]),
    (no_voltage, "", ["particles.star", "rlnVoltage"]),
    (no_pixel_size, "", ["particles.star", "_rlnImagePixelSize", "--angpix"]),
    (undefined_optics_group, "", ["particles.star: row 14", "rlnOpticsGroup is 3", "add"]),
    (impossible_number, "", ["particles.star", "row 1", "rlnDefocusU", "1066O.000000"]),
    (short_row, "", ["particles.star", "row 1"]),
    (not_a_star_file, "", ["particles.star"]),
    (no_star_file, "", ["particles.star", "check the path"]),
    (no_rows, "", ["particles.star", "no rows"]),
    (unnormalised, "", ["particles.star: 24 of 24 images", "row 1", "--dont_check_norm"]),
    (no_reference, "", ["ref.mrc: cannot be read (No such file or directory)", "check the path"]),
    (smaller_reference, "", ["ref.mrc: 64 px of 3.4151", "80 px", "--trust_ref_size"]),
    (reference_of_another_pixel_size, "", ["ref.mrc: 80 px of 2 Å", "3.4151", "--ref_angpix"]),
    (reference_that_is_no_cube, "", ["ref.mrc", "must be a cube of even size, not (80, 80, 78)"]),
    (reference_with_nan, "", ["ref.mrc", "NaN", "make this map again"]),
    (references_of_mixed_pixel_size, "--ref refs.star", ["other.mrc", "3.4 Å", "--ref_angpix"]),
    (nothing, "--sym Q5", ["--sym: unknown point group 'Q5'", "allowed: Cn, Dn"]),
    (nothing, "--sym C4h", ["--sym", "'C4h'", "allowed: Cn, Dn"]),
    (nothing, "--solvent_mask mask.mrc", ["mask.mrc: cannot be read", "check the path"]),
    (nothing, "--tau tau.star", ["tau.star", "check the path"]),
    (tau2_of_another_box, "--tau tau.star", ["tau.star: 20 shells", "41"]),
    (mask_out_of_range, "--solvent_mask mask.mrc", ["mask.mrc", "from 3 to 3", "[0, 1]"]),
    (nothing, "--relax_sym C4", ["--relax_sym", "out of scope"]),
    (nothing, "--max_significants few", ["--maxsig few: not allowed", "a whole number"]),
    (nothing, "--sigma sigma.star", ["sigma.star"]),
    (nothing, "--healpix_order 12", ["--healpix_order 12: not allowed", "at most"]),
    (nothing, "--device PLATO:7", ["PLATO:7"]),
    (nothing, "--continue out/none_optimiser.star", ["out/none_optimiser.star", "check the path"]),
    (all_images_nan, "", ["particles.star: all 24 images read hold NaN", "extract them again"]),
]


def last_line(ended: Ended) -> str:
    """The complaint, after the warnings that a case is expected to have."""
    lines = ended.err.splitlines()
    assert ended.code == 1
    complaints = [line for line in lines if not line.startswith("WARNING: ")]
    assert len(complaints) == 1, ended.err
    assert complaints[0].startswith("clrelion_refine: ")
    assert "unexpected" not in complaints[0], complaints[0]
    return complaints[0]


@pytest.mark.parametrize(
    ("spoil", "options", "says"), CASES, ids=[f"{c[0].__name__}{c[1]}" for c in CASES]
)
def test_one_line_and_nothing_is_lost(
    folder: Path, spoil: Callable[[Path], None], options: str, says: list[str]
) -> None:
    spoil(folder)
    before = contents(folder)
    ended = run_refine(folder, changed(CLASS3D, options))
    line = last_line(ended)
    for part in says:
        assert part in line
    if spoil is not all_images_nan:  # these are listed besides
        assert ended.err.count("\n") == 1
    assert contents(folder) == before


def test_output_folder_that_is_not_writable(folder: Path) -> None:
    # tests may run as root, whom permissions do not stop: a file is in the folder's place
    (folder / "locked").write_text("a file")
    before = contents(folder)
    line = last_line(run_refine(folder, changed(CLASS3D, "--o locked/deep/run")))
    assert "--o locked/deep/run: cannot make locked/deep" in line
    assert contents(folder) == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_output_folder_without_permission(folder: Path) -> None:
    (folder / "locked").mkdir(mode=0o500)
    line = last_line(run_refine(folder, changed(CLASS3D, "--o locked/run")))
    assert "folder locked is not writable" in line


def test_output_file_that_cannot_be_written(folder: Path) -> None:
    """A run that fails on its way leaves whole files only, and says which one failed."""
    (folder / "out" / "run_it001_class001.mrc").unlink()
    (folder / "out" / "run_it001_class001.mrc").mkdir()
    line = last_line(run_refine(folder, CLASS3D))
    assert "out/run_it001_class001.mrc: cannot be written (Is a directory)" in line
    names = {p.name for p in (folder / "out").iterdir()}
    assert not [name for name in names if name.endswith(".tmp")]
    assert "run_it000_optimiser.star" in names
    assert "run_it001_optimiser.star" not in names  # the last file: it stands for all of them
    assert read_particles(folder / "out" / "run_it000_data.star").n == N


def test_unnormalised_particles_may_be_wanted(folder: Path) -> None:
    unnormalised(folder)
    ended = succeed(folder, changed(CLASS3D, "--dont_check_norm --iter 1"))
    assert "normalis" not in ended.err


def test_a_few_unnormalised_particles_are_one_warning(folder: Path) -> None:
    stack = stack_of(folder)
    stack[[4, 9]] *= 7
    write_stack(folder / "particles.mrcs", stack)
    ended = succeed(folder, changed(CLASS3D, "--iter 1"))
    assert ended.err.count("\n") == 1
    assert ended.err.startswith("WARNING: particles.star: 2 of 24 images checked are not normal")
    assert "particles.star row 5 (000005@particles.mrcs)" in ended.err


@pytest.mark.parametrize("command", [CLASS3D, f"{REFINE3D} --auto_iter_max 2"])
def test_particles_with_nan_are_listed_and_left_out(folder: Path, command: str) -> None:
    stack = stack_of(folder)
    stack[3, 5, 7], stack[20, 0, 0] = np.nan, np.inf
    write_stack(folder / "particles.mrcs", stack)
    ended = succeed(folder, command)
    listed = [line for line in ended.err.splitlines() if "NaN or infinite pixels" in line]
    assert sorted(line.split(":")[2] for line in listed) == [
        " 000004@particles.mrcs holds NaN or infinite pixels; this particle is left out",
        " 000021@particles.mrcs holds NaN or infinite pixels; this particle is left out",
    ]
    assert sorted(listed)[1].startswith("WARNING: particles.star row 4: ")
    assert ended.err.count("WARNING: 2 particles were left out of this iteration") == 2
    before = read_particles(folder / "out" / "run_it000_data.star")
    table = read_particles(folder / "out" / "run_it002_data.star")
    assert table.n == N
    assert table.image_name == before.image_name
    moved = table.rot_deg != before.rot_deg
    assert np.flatnonzero(~moved).tolist() == [3, 20]
    assert (table.pmax[moved] > 0).all()
    assert (table.pmax[~moved] == 0).all()


def test_mixed_pixel_sizes_are_allowed_with_a_warning(folder: Path) -> None:
    """RELION takes optics groups of different pixel size; a slip still shows."""
    star = folder / "particles.star"
    optics = re.search("^opticsGroup1.*$", star.read_text(), re.MULTILINE)
    assert optics is not None
    second = optics[0].replace("Group1\t1", "Group2\t2").replace("3.415102", "3.500000")
    edit(star, "^opticsGroup1.*$", f"{optics[0]}\n{second}")
    edit(star, "(micrograph2.mrc\\s+)1", r"\g<1>2")
    ended = succeed(folder, CLASS3D)
    assert ended.err == (
        "WARNING: particles.star: optics groups differ in box or pixel size: 80 px of 3.4151 Å; "
        "80 px of 3.5 Å\n"
    )


def test_failure_marker(folder: Path) -> None:
    missing_stack(folder)
    ended = run_refine(folder, f"{CLASS3D} --pipeline_control job/")
    assert ended.code == 1
    assert [p.name for p in (folder / "job").iterdir()] == ["RELION_JOB_EXIT_FAILURE"]
