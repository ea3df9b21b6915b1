"""With ``--deterministic`` any number of ranks finds the same to the last bit."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from tests.parallel.conftest import Launcher
from tests.reference.refine_program import CLASS3D, REFINE3D, changed
from tests.refinement.test_deterministic import different_files

PROGRAMS = {
    "card": Path(__file__).with_name("card_refine.py"),
    "device": Path(__file__).with_name("faulty_refine.py"),
}
COMMANDS = {
    "class3d": changed(CLASS3D, "--K 2 --healpix_order 0 --iter 2 --deterministic"),
    "refine3d": changed(REFINE3D, "--healpix_order 0 --auto_iter_max 2 --deterministic"),
}


@pytest.mark.parametrize(
    ("name", "kind", "numbers"),
    [
        ("class3d", "card", [2]),
        pytest.param("class3d", "card", [3], marks=pytest.mark.slow),
        pytest.param("refine3d", "card", [3], marks=pytest.mark.slow),
        pytest.param("class3d", "device", [2], marks=pytest.mark.slow),
    ],
)
def test_ranks_are_equal_to_the_last_bit(
    launcher: Launcher, small_set: Path, name: str, kind: str, numbers: list[int]
) -> None:
    fault = ["nothing", "0"] if kind == "device" else []
    program = [str(PROGRAMS[kind]), *fault]
    for n in [1, *numbers]:
        command = changed(COMMANDS[name], f"--o {kind}{name}{n}/run")
        done = launcher.run(n, small_set, *program, *shlex.split(command))
        assert done.code == 0, done.err[-3000:]
    for n in numbers:
        assert different_files(small_set, f"{kind}{name}1", f"{kind}{name}{n}", range(1, 3)) == []
