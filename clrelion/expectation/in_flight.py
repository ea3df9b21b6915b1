"""Several batches under way at a time, so that the device has work while the host reads answers."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType

    from clrelion.device.session import DeviceSession

__all__ = ["BatchesInFlight"]


class BatchesInFlight:
    """Runs the work of batches in threads that take turns at the device.

    A context: at its end all work is done, or, after an error, none is under way any more.

    Parameters
    ----------
    session
        Device.
    n
        Most batches under way at a time; 1: all work is done by the caller's thread.
    """

    def __init__(self, session: DeviceSession, n: int) -> None:
        self._session = session
        self._n = n
        self._under_way: set[Future[None]] = set()
        self._pool: ThreadPoolExecutor | None = None

    def __enter__(self) -> BatchesInFlight:
        if self._n > 1:
            self._pool = ThreadPoolExecutor(self._n, thread_name_prefix="batch")
            self._session.profile.is_shared = True
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._pool is None:
            return
        try:
            if error is None:
                self._wait_for_fewer_than(1)
        finally:
            # what has begun ends: its buffers must not be freed under it
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._session.profile.is_shared = False

    def submit(self, work: Callable[[], None]) -> None:
        """Begin a batch; waits while as many as allowed are under way.

        Raises
        ------
        Exception
            What the work of an earlier batch raised.
        """
        if self._pool is None:
            work()
            return
        self._wait_for_fewer_than(self._n)
        self._under_way.add(self._pool.submit(self._in_turn, work))

    def _in_turn(self, work: Callable[[], None]) -> None:
        with self._session.turns.taken():
            work()

    def _wait_for_fewer_than(self, n: int) -> None:
        done, self._under_way = wait(self._under_way, timeout=0)
        while len(self._under_way) >= n:
            more, self._under_way = wait(self._under_way, return_when=FIRST_COMPLETED)
            done |= more
        for one in done:
            one.result()
