"""Data sets on disk: the same files from any number of processes, read back by the io room."""

from __future__ import annotations

from pathlib import Path

import mrcfile
import numpy as np
import pytest

from clrelion.cli.simulate import simulate
from clrelion.io.mrc import read_map
from clrelion.io.mrc_stack import ImageReader
from clrelion.io.particle_table import read_particles
from clrelion.simulation.dataset import simulate as make_data_set
from clrelion.simulation.images import ImageMaker
from clrelion.simulation.models import open_models
from clrelion.simulation.settings import SimulatedOptics, SimulationSettings
from clrelion.simulation.truth import draw_truth

ARGUMENTS = (
    "--molecule seed:4,kda:60 --molecule seed:4,kda:60,drop:1 --n 40 --box 48 --angpix 3 "
    "--optics box:40,angpix:3.6,voltage:200,cs:2.0 --particles_per_micrograph 10 --snr 0.3"
)


def run(folder: Path, extra: str = "", arguments: str = ARGUMENTS) -> None:
    assert simulate([*arguments.split(), "--o", str(folder), *extra.split()]) == 0


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("set")
    run(path, "--j 1")
    return path


def test_files_do_not_depend_on_the_number_of_workers(folder: Path, tmp_path: Path) -> None:
    run(tmp_path, "--j 3")
    names = sorted(path.name for path in folder.iterdir())
    assert names == [
        "particles.mrcs", "particles.star", "particles02.mrcs", "ref01.mrc", "ref02.mrc",
        "refs.star", "truth.star", "truth01.mrc", "truth02.mrc",
    ]  # fmt: skip
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    for name in names:
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes(), name


def test_another_seed_is_another_set(folder: Path, tmp_path: Path) -> None:
    run(tmp_path, "--j 1 --seed 2")
    first, second = (ImageReader(f / "truth.star").read(["000001@particles.mrcs"])
                     for f in (folder, tmp_path))  # fmt: skip
    assert np.abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 0.3


def test_star_files(folder: Path) -> None:
    given, truth = (
        read_particles(folder / f"{name}.star", None, True) for name in ("particles", "truth")
    )
    assert given.image_name == truth.image_name
    assert not given.rot_deg.any()
    assert truth.rot_deg.any()
    assert sorted(set(truth.class_number.tolist())) == [0, 1]
    assert [g.box_px for g in given.optics] == [48, 40]
    assert [g.pixel_size_angst for g in given.optics] == [3.0, 3.6]
    assert [g.voltage_kv for g in given.optics] == [300.0, 200.0]
    assert given.optics[1].spherical_aberration_mm == 2.0
    assert len(given.group_names) == 4
    images = ImageReader(given.star_path).read(given.image_name[20:], box_px=40)
    assert images.std() == pytest.approx(1.0, abs=0.2)
    assert (given.defocus_u_angst > 7000).all()


def test_stacks_and_maps_are_valid(folder: Path) -> None:
    for name in ("particles.mrcs", "particles02.mrcs", "truth01.mrc", "ref02.mrc"):
        assert mrcfile.validate(folder / name)
    with mrcfile.open(folder / "particles02.mrcs") as stack:
        assert stack.is_image_stack()
        assert stack.data.shape == (20, 40, 40)
        assert float(stack.voxel_size.x) == pytest.approx(3.6)
        assert float(stack.header.rms) == pytest.approx(stack.data.std(), rel=1e-4)
        assert float(stack.header.dmax) == stack.data.max()
    whole, part = (read_map(folder / f"truth0{i}.mrc") for i in (1, 2))
    assert whole.pixel_size_angst == pytest.approx(3.0)
    assert 0.5 < np.corrcoef(whole.data.ravel(), part.data.ravel())[0, 1] < 0.98


def test_float16(folder: Path, tmp_path: Path) -> None:
    run(tmp_path, "--j 1 --float16")
    names = ["000003@particles.mrcs"]
    full, half = (ImageReader(f / "truth.star").read(names) for f in (folder, tmp_path))
    assert 0 < np.abs(full - half).max() < 4e-3
    with mrcfile.open(tmp_path / "particles.mrcs") as stack:
        assert stack.header.mode == 12


def test_from_a_map(folder: Path, tmp_path: Path) -> None:
    arguments = f"--model {folder}/truth01.mrc --n 6 --box 48 --angpix 3 --snr inf --bfactor 0"
    run(tmp_path, "--j 1 --no_ctf --solvent 0", arguments)
    run(tmp_path / "two", "--j 2 --no_ctf --solvent 0", arguments)
    assert (tmp_path / "particles.mrcs").read_bytes() == (
        tmp_path / "two" / "particles.mrcs"
    ).read_bytes()
    assert not list(tmp_path.glob(".*"))
    true, again = read_map(folder / "truth01.mrc").data, read_map(tmp_path / "truth01.mrc").data
    assert np.corrcoef(true.ravel(), again.ravel())[0, 1] > 0.9999


@pytest.mark.parametrize(("arguments", "message"), [
    ("--n 10", "give what to image"),
    ("--molecule seed:1", "write it like"),
    ("--model none.pdb", "none.pdb: cannot be read"),
    ("--molecule seed:1,kda:50 --optics boxx:3", "'boxx:3' is not one of box, angpix"),
    ("--molecule seed:1,kda:50 --preferred rot:3", "give rot, tilt, spread, share"),
    ("--molecule seed:1,kda:400 --box 32", "give a larger --box"),
])  # fmt: skip
def test_one_line_says_what_is_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: str, message: str
) -> None:
    assert simulate([*arguments.split(), "--o", str(tmp_path), "--j", "1"]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_each_row_has_its_own_image(tmp_path: Path) -> None:
    """Image and row belong together, in each of two stacks."""
    optics = (SimulatedOptics(48, 3.0), SimulatedOptics(40, 3.6))
    settings = SimulationSettings(8, optics, snr=0.5, particles_per_micrograph=2)
    files = make_data_set(["seed:4,kda:60"], settings, tmp_path)
    table = read_particles(files.truth_star)
    truth = draw_truth(settings, 1)
    maker = ImageMaker(settings, open_models(["seed:4,kda:60"], tmp_path), truth)
    reader = ImageReader(table.star_path)
    for i, name in enumerate(table.image_name):
        np.testing.assert_array_equal(reader.read([name])[0], maker.image(i))
    for label in ("rot_deg", "tilt_deg", "psi_deg", "origin_x_angst", "defocus_v_angst"):
        np.testing.assert_allclose(getattr(table, label), getattr(truth, label), atol=1e-5)
