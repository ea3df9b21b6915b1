"""A rank that dies, fails or stands still ends the job, which can be continued."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from tests.parallel.conftest import Launcher
from tests.reference.refine_program import CLASS3D, changed, succeed

PROGRAM = str(Path(__file__).with_name("faulty_refine.py"))
COMMAND = changed(CLASS3D, "--iter 3 --zero_mask --pipeline_control job/")
MOST_SECONDS = 30.0


@pytest.mark.parametrize(
    ("fault", "rank", "n_ranks", "cause"),
    [
        ("kill", 1, 3, "it is gone without a word"),
        ("kill", 0, 2, "it is gone without a word"),
        ("lose_the_device", 1, 2, "unexpected RuntimeError: clFinish failed: OUT_OF_RESOURCES"),
        ("stand_still", 1, 2, "no progress for 3 s in "),
        pytest.param(
            "divide_by_zero", 0, 2, "unexpected ZeroDivisionError", marks=pytest.mark.slow
        ),
        pytest.param("stop", 1, 2, "nothing heard of it (stopped, ", marks=pytest.mark.slow),
        pytest.param("stop", 0, 2, "nothing heard of it (stopped, ", marks=pytest.mark.slow),
    ],
)
def test_fault(
    launcher: Launcher, small_set: Path, fault: str, rank: int, n_ranks: int, cause: str
) -> None:
    root = f"{fault}{rank}/run"
    timeout = "3" if fault in ("stand_still", "stop") else "300"
    options = changed(COMMAND, f"--o {root} --stall_timeout {timeout}")
    done = launcher.run(n_ranks, small_set, PROGRAM, fault, str(rank), *shlex.split(options))
    assert done.code != 0
    assert done.seconds < MOST_SECONDS  # start and first iteration included
    # launchers may put something before it
    line = re.search(rf"clrelion_refine: rank {rank} on \S+: (.*)$", done.err, re.MULTILINE)
    assert line is not None, done.err[-2000:]
    assert line[1].startswith(cause)
    assert (small_set / "job" / "RELION_JOB_EXIT_FAILURE").exists()
    # iteration 1 is whole, of iteration 2 there is nothing
    written = sorted(path.name for path in (small_set / root).parent.glob("run_it*"))
    assert {name[:9] for name in written} == {"run_it000", "run_it001"}
    assert "run_it001_optimiser.star" in written
    if n_ranks == 3:
        # goes on with another number of ranks
        succeed(small_set, f"--continue {root}_it001_optimiser.star --o {root} --iter 2")
        assert (small_set / f"{root}_it002_optimiser.star").exists()


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ("--i none.star", "none.star: cannot be read"),
        pytest.param(
            "--device gpu:7,cpu", "no such OpenCL device", marks=pytest.mark.slow
        ),
        ("--gpu one", "--gpu 'one': not allowed"),
    ],
)
def test_mistakes_are_told_once(
    launcher: Launcher, small_set: Path, options: str, line: str
) -> None:
    command = changed(COMMAND, f"--o mistake/run {options}")
    if "--gpu" in options:
        command = command.replace("--device cpu", "")
    done = launcher.run(2, small_set, PROGRAM, "late", "0", *shlex.split(command))
    assert done.code == 1
    assert done.seconds < MOST_SECONDS
    told = [text for text in done.err.splitlines() if text.startswith("clrelion_refine: ")]
    assert len(told) == 1
    assert line in told[0]
    assert "MPI_ABORT" not in done.err
    assert not list(small_set.glob("mistake/run_it*"))
