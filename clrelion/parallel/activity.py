"""What a rank is doing, for those who watch it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["Activity"]


class Activity:
    """Progress of one rank; written by its main thread, read by its watchdog.

    Attributes
    ----------
    step
        What it does, in the words of the time table.
    count
        Grows with each bit of work done.
    is_waiting
        It waits for other ranks: if nothing moves, the fault is not its own.
    waited_seconds
        Time spent so, in all.
    """

    def __init__(self) -> None:
        self.step = "setting up"
        self.count = 0
        self.is_waiting = False
        self.waited_seconds = 0.0

    def tick(self, step: str) -> None:
        """Tell that work goes on."""
        self.step = step
        self.count += 1

    @contextmanager
    def waiting(self) -> Iterator[None]:
        """Tell that what follows depends on other ranks."""
        before, since = self.is_waiting, time.perf_counter()
        self.is_waiting = True
        try:
            yield
        finally:
            self.is_waiting = before
            self.count += 1
            if not before:
                self.waited_seconds += time.perf_counter() - since
