"""Runs of several ranks find what a run of one process finds."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from clrelion.cli.main import main
from clrelion.io.particle_table import read_particles
from clrelion.io.run_files import read_model
from tests.parallel.conftest import Launcher, RanksEnded, TwoHosts
from tests.reference.refine_program import (
    CLASS3D,
    REFINE3D,
    changed,
    map_fsc,
    read_map,
    succeed,
)

PROGRAM = str(Path(__file__).with_name("faulty_refine.py"))
N_SHELLS = 12  # where these particles hold signal
N_ITERATIONS = 5
# 24 particles in two classes: a rounding error grows a thousandfold in five iterations
N_OF_CLASSES = 2
CLASSES = changed(CLASS3D, f"--K 2 --iter {N_OF_CLASSES} --o class/one")
HALVES = changed(REFINE3D, f"--auto_iter_max {N_ITERATIONS} --o halves/one")


def run_ranks(launcher: Launcher, n: int, folder: Path, command: str) -> RanksEnded:
    done = launcher.run(n, folder, PROGRAM, "nothing", "0", *shlex.split(command))
    assert done.code == 0, done.err[-3000:]
    return done


@pytest.fixture(scope="module")
def alone(small_set: Path) -> Path:
    """Folder of the runs of one process."""
    succeed(small_set, CLASSES)
    succeed(small_set, HALVES)
    return small_set


def assert_same(folder: Path, one: str, several: str, maps: list[str], n_iterations: int) -> None:
    """Maps agree to an FSC of 0.9999, poses and classes for 99.9 % of the particles."""
    number = f"_it{n_iterations:03d}"
    for name in maps:
        first = read_map(folder / f"{one}{number}_{name}.mrc")
        second = read_map(folder / f"{several}{number}_{name}.mrc")
        assert map_fsc(first, second)[1:N_SHELLS].min() > 0.9999
    expected = read_particles(folder / f"{one}{number}_data.star")
    found = read_particles(folder / f"{several}{number}_data.star")
    assert found.image_name == expected.image_name
    for column in ("rot_deg", "tilt_deg", "psi_deg", "origin_x_angst", "origin_y_angst",
                   "class_number", "random_subset"):  # fmt: skip
        difference = np.abs(getattr(found, column) - getattr(expected, column))
        assert (difference < 1e-3).mean() >= 0.999, column
    # from the same references each particle finds the same, whoever works on it; later iterations
    # differ in the order of the sums
    expected = read_particles(folder / f"{one}_it001_data.star")
    found = read_particles(folder / f"{several}_it001_data.star")
    for column in ("rot_deg", "origin_x_angst", "class_number", "pmax", "norm_correction"):
        difference = np.abs(getattr(found, column) - getattr(expected, column))
        assert difference.max() <= 1e-6, column
    assert np.abs(found.log_likelihood - expected.log_likelihood).max() < 0.01


@pytest.mark.parametrize("n_ranks", [4])
def test_classification(launcher: Launcher, alone: Path, n_ranks: int) -> None:
    root = f"class/n{n_ranks}"
    done = run_ranks(launcher, n_ranks, alone, changed(CLASSES, f"--o {root}"))
    assert_same(alone, "class/one", root, ["class001", "class002"], N_OF_CLASSES)
    expected = read_model(alone / f"class/one_it{N_OF_CLASSES:03d}_model.star")
    found = read_model(alone / f"{root}_it{N_OF_CLASSES:03d}_model.star")
    np.testing.assert_allclose(found.pdf_class, expected.pdf_class, atol=1e-4)
    np.testing.assert_allclose(found.sigma2_noise, expected.sigma2_noise, rtol=1e-4)
    # the map of devices and who did what, printed by rank 0 alone
    assert len(re.findall(r"^Device of rank \d on ", done.out, re.MULTILINE)) == n_ranks
    assert f"WARNING: {n_ranks} ranks on " in done.err
    assert "share one device" in done.err
    # and how long each took for what
    tables = re.findall(r"^seconds by rank +0 +1 +2 +3$", done.out, re.MULTILINE)
    waits = re.findall(r"^of it waiting((?: +[0-9.]+){4})$", done.out, re.MULTILINE)
    assert len(tables) == len(waits) == N_OF_CLASSES
    work = re.findall(r"^Particles of rank 0, 1 \.\.\.: (.*)$", done.out, re.MULTILINE)
    assert len(work) == N_OF_CLASSES
    for line in work:
        counts = [int(count) for count in re.findall(r"(\d+) in ", line)]
        assert len(counts) == n_ranks
        assert sum(counts) == 24
    assert done.out.count("Expectation iteration 1 of") == 1


def assert_same_halves(folder: Path, root: str) -> None:
    assert_same(folder, "halves/one", root, ["half1_class001", "half2_class001"], N_ITERATIONS)
    for half in (1, 2):
        name = f"_it{N_ITERATIONS:03d}_half{half}_model.star"
        expected, found = (read_model(folder / f"{r}{name}") for r in ("halves/one", root))
        np.testing.assert_allclose(found.fsc_halves, expected.fsc_halves, atol=1e-4)
        np.testing.assert_allclose(found.tau2, expected.tau2, rtol=1e-3, atol=1e-12)


def test_auto_refine_on_three_ranks(launcher: Launcher, alone: Path) -> None:
    """A half-set and a half for each rank."""
    run_ranks(launcher, 3, alone, changed(HALVES, "--o halves/three"))
    assert_same_halves(alone, "halves/three")


def test_auto_refine_on_two_hosts(two_hosts: TwoHosts, alone: Path) -> None:
    """A half-set on each host, started as by ``mpirun --host a,b``."""
    options = shlex.split(changed(HALVES, "--o halves/two"))
    done = two_hosts.run(alone, PROGRAM, "nothing", "0", *options)
    assert done.code == 0, done.err[-3000:]
    assert "Device of rank 0 on hosta: " in done.out
    assert "Device of rank 1 on hostb: " in done.out
    assert "share one device" not in done.err
    assert "cannot reach rank 0" not in done.err
    assert_same_halves(alone, "halves/two")


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_a_rank_killed_on_another_host(two_hosts: TwoHosts, small_set: Path, rank: int) -> None:
    options = shlex.split(changed(CLASSES, f"--o killed{rank}/run"))
    done = two_hosts.run(small_set, PROGRAM, "kill", str(rank), *options)
    assert done.code != 0
    assert done.seconds < 30.0
    host = ("hosta", "hostb")[rank]
    assert f"clrelion_refine: rank {rank} on {host}: it is gone without a word" in done.err


def test_a_molecule_without_symmetry(launcher: Launcher, tmp_path: Path) -> None:
    """Five iterations of a classification: no pose has an equivalent one to be mistaken for."""
    arguments = "--o sim --molecule seed:42,kda:300 --n 64 --box 24 --angpix 12 --snr 0.2 --j 2"
    assert main(["simulate", *shlex.split(arguments.replace("sim", str(tmp_path / "sim"), 1))]) == 0
    command = changed(
        CLASS3D,
        "--i sim/particles.star --ref sim/ref01.mrc --particle_diameter 190 --iter 5 --o one/run",
    )
    succeed(tmp_path, command)
    run_ranks(launcher, 2, tmp_path, changed(command, "--o two/run"))
    assert_same(tmp_path, "one/run", "two/run", ["class001"], 5)
