"""Threads that take turns at one device: while one waits for an answer, another gives it work."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["BATCHES_IN_FLIGHT", "Turns"]

BATCHES_IN_FLIGHT = 2
"""Batches that are under way at a time on devices other than CPUs."""


class Turns:
    """The right to use a session's queue, held by one thread at a time.

    All commands of the threads go to one in-order queue, in the order in which the host made them,
    so that freed memory may be used again at once and kernels may share their arguments, as with
    one thread.  A thread gives its turn up only inside a session's call that waits for the device,
    and at the places named by ``given_up``: between those nobody else changes anything.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._holder: int | None = None
        self._n_kept = 0

    @property
    def is_mine(self) -> bool:
        """Whether this thread has the turn."""
        return self._holder == threading.get_ident()

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Wait for the turn and hold it; nothing to do for the thread that has it."""
        if self.is_mine:
            yield
            return
        self._take()
        try:
            yield
        finally:
            self._give()

    @contextmanager
    def given_up(self) -> Iterator[None]:
        """Let other threads use the queue in this block, which must not; then wait for the turn.

        Nothing changes for a thread that has no turn, or keeps it.
        """
        if not self.is_mine or self._n_kept:
            yield
            return
        self._give()
        try:
            yield
        finally:
            self._take()

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Give the turn up nowhere in this block: what is made in it must not be made twice."""
        if not self.is_mine:
            yield
            return
        self._n_kept += 1
        try:
            yield
        finally:
            self._n_kept -= 1

    def _take(self) -> None:
        self._lock.acquire()
        self._holder = threading.get_ident()

    def _give(self) -> None:
        self._holder = None
        self._lock.release()
