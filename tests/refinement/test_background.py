"""BackgroundWriter: order, results and errors."""

import threading

import pytest

from clrelion.refinement.background import BackgroundWriter


def test_work_runs_beside_and_in_order() -> None:
    writer: BackgroundWriter[int] = BackgroundWriter()
    gate, seen = threading.Event(), []

    def first() -> int:
        gate.wait(10)
        seen.append(1)
        return 1

    writer.submit(first)
    assert seen == []  # submit did not wait for the work
    def second() -> int:
        seen.append(2)
        return 2

    gate.set()
    writer.submit(second)
    assert writer.wait() == 2
    assert seen == [1, 2]
    assert writer.wait() is None
    writer.close()


def test_an_error_is_raised_at_the_next_call() -> None:
    writer: BackgroundWriter[None] = BackgroundWriter()

    def fail() -> None:
        raise OSError("disk full")

    writer.submit(fail)
    with pytest.raises(OSError, match="disk full"):
        writer.submit(lambda: None)
    writer.close()


def test_close_lets_the_work_finish() -> None:
    writer: BackgroundWriter[None] = BackgroundWriter()
    seen = []
    writer.submit(lambda: seen.append("written"))
    writer.close()
    assert seen == ["written"]
