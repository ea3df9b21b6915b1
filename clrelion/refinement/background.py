"""Writes the files of an iteration while the next one computes."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

__all__ = ["BackgroundWriter"]

Result = TypeVar("Result")


class BackgroundWriter(Generic[Result]):
    """Does one piece of work at a time, in order, beside the main thread.

    What the work reads must not change meanwhile: hand it a snapshot.
    """

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="writer")
        self._pending: Future[Result] | None = None

    def submit(self, work: Callable[[], Result]) -> None:
        """Start ``work`` once the piece before it is done; an error of that one is raised here."""
        self.wait()
        self._pending = self._pool.submit(work)

    def wait(self) -> Result | None:
        """Wait for the work under way; give its result, or raise its error.

        Returns
        -------
        object or None
            None if nothing was under way.
        """
        if self._pending is None:
            return None
        pending, self._pending = self._pending, None
        return pending.result()

    def close(self) -> None:
        """Let the work under way finish; take no more."""
        self._pool.shutdown(wait=True)
