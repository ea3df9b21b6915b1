"""The sums over particles are kept by a thread of their own, which waits for the device."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

from clrelion.expectation.accumulate import Accumulator
from clrelion.expectation.part_numbers import PendingPart

if TYPE_CHECKING:
    from types import TracebackType

    from clrelion.expectation.optics_setup import OpticsSetup
    from clrelion.expectation.sampling_tables import OrientationTables

__all__ = ["Bookkeeping"]


class Bookkeeping:
    """Adds parts of batches to the sums, one after the other, in the order in which they come.

    A context; what waits when an error ends it is dropped.

    Parameters
    ----------
    accumulator
        The sums.
    """

    def __init__(self, accumulator: Accumulator) -> None:
        self._accumulator = accumulator
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="bookkeeping")
        self._waiting: deque[Future[None]] = deque()

    def __enter__(self) -> Bookkeeping:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._thread.shutdown(wait=True, cancel_futures=True)

    def add(self, setup: OpticsSetup, part: PendingPart, tables: OrientationTables) -> None:
        """Hand a part over.

        Raises
        ------
        Exception
            What went wrong with an earlier part.
        """
        self._look()
        self._waiting.append(self._thread.submit(self._accumulator.add, setup, part, tables))

    def skip(self, particle: int, reason: str, is_told: bool = False) -> None:
        """Leave a particle out of this iteration."""
        skip = self._accumulator.skip
        self._waiting.append(self._thread.submit(skip, particle, reason, is_told))

    def finish(self) -> Accumulator:
        """Wait until everything has been added; give the sums.

        Raises
        ------
        Exception
            What went wrong with a part.
        """
        while self._waiting:
            self._waiting.popleft().result()
        self._accumulator.settle()
        return self._accumulator

    def _look(self) -> None:
        """Raise what the parts that are done have raised."""
        while self._waiting and self._waiting[0].done():
            self._waiting.popleft().result()
