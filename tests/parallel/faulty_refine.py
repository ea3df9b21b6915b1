"""The program with a fault in one rank: ``faulty_refine.py FAULT RANK ARGUMENTS``.

The fault happens in the second iteration, in the middle of the expectation step; no report is
drawn.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any
from unittest import mock

import pyopencl as cl

from clrelion.cli import refine
from clrelion.expectation.batch_work import BatchWork
from clrelion.expectation.step import ExpectationStep
from clrelion.parallel.launch import launched_rank


def nothing() -> None:
    """Go on."""


def late() -> None:
    """Go on; the rank has begun later than the others."""


def kill() -> None:
    """End as the kernel ends a process that is out of memory."""
    os.kill(os.getpid(), signal.SIGKILL)


def stand_still() -> None:
    """Do nothing, as in a file system or a driver that hangs."""
    time.sleep(1000)


def stop() -> None:
    """Stop the whole process, all its threads."""
    os.kill(os.getpid(), signal.SIGSTOP)


def lose_the_device() -> None:
    """Fail as a driver does whose device has fallen off the bus."""
    raise cl.RuntimeError("clFinish failed: OUT_OF_RESOURCES")


def divide_by_zero() -> None:
    """Fail by a mistake of the program."""
    sys.exit(1 // 0)


FAULTS: dict[str, Callable[[], None]] = {
    f.__name__: f for f in (nothing, late, kill, stand_still, stop, lose_the_device, divide_by_zero)
}


def main() -> int:
    """Run ``clrelion_refine`` with the fault."""
    fault, rank, *arguments = sys.argv[1:]
    mock.patch("clrelion.report.live.write_report", return_value=None).start()
    if launched_rank() == int(rank):
        if fault == "late":
            time.sleep(1.5)
        process, run = BatchWork._process_ids, ExpectationStep.start
        steps: list[Any] = []

        def counting(self: Any, *args: Any) -> Any:
            steps.append(self)
            return run(self, *args)

        def faulty(self: Any, *args: Any) -> Any:
            if len(steps) > 1:
                FAULTS[fault]()
            return process(self, *args)

        ExpectationStep.start = counting  # type: ignore[method-assign, assignment]
        BatchWork._process_ids = faulty  # type: ignore[method-assign, assignment]
    return refine.refine(arguments, program="clrelion_refine")


if __name__ == "__main__":
    sys.exit(main())
