"""Repeated runs: equal but for rounding; with ``--deterministic`` equal to the last bit."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clrelion.device.session import DeviceSession
from clrelion.io.particle_table import read_particles
from clrelion.refinement import devices
from tests.reference.refine_program import (
    CLASS3D,
    REFINE3D,
    changed,
    map_fsc,
    read_map,
    succeed,
    write_small_set,
)

COMMANDS = {
    "class3d": changed(CLASS3D, "--K 2 --healpix_order 0"),
    "refine3d": changed(REFINE3D, "--healpix_order 0"),
}
LENGTHS = [2, pytest.param(4, marks=pytest.mark.slow)]
N_PARTICLES = 16


def command_of(name: str, n_iterations: int, options: str) -> str:
    flag = "--iter" if name == "class3d" else "--auto_iter_max"
    return changed(COMMANDS[name], f"{flag} {n_iterations} {options}")


@pytest.fixture(params=["device", "card"])
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run the kernels of the test device, or those of graphics cards on it."""

    def opened(*arguments: Any, **names: Any) -> DeviceSession:
        session = DeviceSession(*arguments, **names)
        session.is_cpu = False
        return session

    if request.param == "card":
        monkeypatch.setattr(devices, "DeviceSession", opened)
    kind: str = request.param
    return kind


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Project folder with real particles."""
    write_small_set(tmp_path, N_PARTICLES)
    return tmp_path


def content(path: Path) -> bytes:
    """Read a file, without what names the root of the run or the command."""
    if path.suffix != ".star":
        return path.read_bytes()
    text = re.sub(r"\b\w+/run_it", "ROOT/run_it", path.read_text())
    text = re.sub(r"(rlnOutputRootName\s+)\S+", r"\1ROOT", text)
    return "\n".join(line for line in text.splitlines() if not line.startswith("#")).encode()


def different_files(folder: Path, first: str, second: str, numbers: range) -> list[str]:
    """Names of the STAR files and maps of some iterations that differ between two runs."""
    names = [
        path.name
        for number in numbers
        for path in sorted((folder / first).glob(f"run_it{number:03d}_*"))
        if path.suffix in (".star", ".mrc")
    ]
    assert len(names) >= 5 * len(numbers)
    return [n for n in names if content(folder / first / n) != content(folder / second / n)]


@pytest.mark.parametrize("n_iterations", LENGTHS)
@pytest.mark.parametrize("name", COMMANDS)
def test_deterministic_runs_are_equal_to_the_last_bit(
    folder: Path, name: str, n_iterations: int, kind: str
) -> None:
    """Repeated, and continued after any iteration."""
    succeed(folder, command_of(name, n_iterations, "--deterministic"))
    succeed(folder, command_of(name, n_iterations, "--deterministic --o again/run"))
    assert different_files(folder, "out", "again", range(n_iterations + 1)) == []
    for start in range(1, n_iterations):
        options = f"--o from{start}/run --deterministic --device cpu"
        if name == "refine3d":
            options += f" --auto_iter_max {n_iterations}"
        succeed(folder, f"--continue out/run_it{start:03d}_optimiser.star {options}")
        later = range(start, n_iterations + 1)
        assert different_files(folder, "out", f"from{start}", later) == []


@pytest.mark.parametrize("kind", ["card"], indirect=True)
@pytest.mark.parametrize("n_iterations", LENGTHS)
@pytest.mark.parametrize("name", COMMANDS)
def test_runs_of_one_seed_are_equal_but_for_rounding(
    folder: Path, name: str, n_iterations: int, kind: str
) -> None:
    last = f"run_it{n_iterations:03d}"
    for root in ("out", "again"):
        succeed(folder, command_of(name, n_iterations, f"--o {root}/run"))
    tables = [read_particles(folder / root / f"{last}_data.star") for root in ("out", "again")]
    columns = ("rot_deg", "tilt_deg", "psi_deg", "origin_x_angst", "origin_y_angst", "class_number")
    poses = [np.stack([getattr(table, c) for c in columns]) for table in tables]
    assert np.mean((np.abs(poses[0] - poses[1]) < 1e-3).all(axis=0)) >= 0.999
    maps = list((folder / "out").glob(f"{last}*_class*.mrc"))
    assert len(maps) == 2
    for path in maps:
        fsc = map_fsc(read_map(path), read_map(folder / "again" / path.name))
        assert fsc.min() >= 0.9999


def test_the_seed_of_the_clock_is_named(folder: Path) -> None:
    command = command_of("class3d", 1, "--deterministic").replace("--random_seed 7", "")
    ended = succeed(folder, command)
    seed = re.search(r"--deterministic without --random_seed: .* --random_seed (\d+)", ended.err)
    assert seed is not None
    optimiser = (folder / "out" / "run_it001_optimiser.star").read_text()
    assert re.search(rf"_rlnRandomSeed\s+{seed[1]}\b", optimiser)
