"""The thread that keeps the sums over particles."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from clrelion.expectation.bookkeeping import Bookkeeping


class Sums:
    """Stands for the accumulator."""

    def __init__(self) -> None:
        self.added: list[int] = []
        self.threads: set[int] = set()
        self.settled: list[int] = []

    def add(self, setup: Any, part: int, tables: Any) -> None:
        if part < 0:
            raise ValueError("part below zero")
        time.sleep(0.001 * (part % 3))
        self.threads.add(threading.get_ident())
        self.added.append(part)

    def settle(self) -> None:
        self.settled.append(len(self.added))

    def skip(self, particle: int, reason: str, is_told: bool) -> None:
        self.added.append(-particle)


def test_parts_are_added_in_their_order() -> None:
    sums = Sums()
    accumulator: Any = sums
    nothing: Any = None
    with Bookkeeping(accumulator) as books:
        for part in range(20):
            books.add(nothing, part, nothing)  # type: ignore[arg-type]
            if part == 7:
                books.skip(99, "blank")
        found: Any = books.finish()
    assert found is sums
    assert sums.added == [*range(8), -99, *range(8, 20)]
    assert sums.settled == [21]
    assert sums.threads
    assert threading.get_ident() not in sums.threads


def test_what_goes_wrong_is_raised() -> None:
    sums: Any = Sums()
    nothing: Any = None

    def run() -> None:
        with Bookkeeping(sums) as books:
            books.add(nothing, -1, nothing)  # type: ignore[arg-type]
            books.finish()

    with pytest.raises(ValueError, match="below zero"):
        run()
