"""The communicator of several ranks, over MPI.

All calls of MPI go through one lock, so that any thread level from "serialized" up will do.  What
may take long is polled with the lock open, so that a thread that receives never waits for one that
sends.
"""

from __future__ import annotations

import os
import pickle
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from clrelion.parallel.communicator import Communicator, Counters

__all__ = ["MpiCommunicator"]

Value = TypeVar("Value")

_PIECE_BYTES = 1 << 26
"""Broadcasts go in pieces of this size: counts of MPI 3 end at 2^31."""
_APART_BYTES = 1 << 24
"""Arrays of this size are broadcast apart from the value that has them."""
_SPIN_SECONDS = 0.05
"""Large messages go on only while somebody asks for them: at first without a pause."""
_SHORTEST_SLEEP, _LONGEST_SLEEP = 2e-5, 1e-3
_PROGRESS_INTERVAL = 2e-3
_ABORT_SECONDS = 5.0


class MpiCommunicator(Communicator):
    """All ranks of an MPI job.

    Parameters
    ----------
    mpi
        The module ``mpi4py.MPI``.
    """

    def __init__(self, mpi: Any) -> None:
        super().__init__()
        self._mpi = mpi
        self._comm = mpi.COMM_WORLD.Dup()
        self._lock = threading.RLock()
        self.rank, self.size = int(self._comm.rank), int(self._comm.size)
        local = self._comm.Split_type(mpi.COMM_TYPE_SHARED)
        self.local_rank, self.local_size = int(local.rank), int(local.size)
        node = int(local.bcast(self.rank, 0))
        local.Free()
        self._leaders = self._comm.Split(0 if node == self.rank else mpi.UNDEFINED)
        found = self._comm.allgather((self.hosts[0], node))
        self.hosts = [host for host, _ in found]
        self.nodes = [node for _, node in found]

    def bcast(self, value: Value, root: int = 0) -> Value:
        """Give all ranks the value that ``root`` has."""
        packed, arrays = _packed(value) if self.rank == root else (b"", [])
        self.barrier()
        with self._lock, self.activity.waiting():
            packed, sizes = self._comm.bcast((packed, [array.size for array in arrays]), root)
        if self.rank != root:
            arrays = [np.empty(size, dtype=np.uint8) for size in sizes]
        for array in arrays:
            self.bcast_array(array, root)
        if self.rank == root:
            return value
        return pickle.loads(packed, buffers=arrays)  # type: ignore[no-any-return]  # our own job's

    def bcast_array(self, array: NDArray[Any], root: int = 0) -> None:
        """Overwrite a C-contiguous array with that of ``root``; of one size on all ranks."""
        self._bcast_bytes(self._comm, array, root)

    def _bcast_bytes(self, comm: Any, array: NDArray[Any], root: int) -> None:
        flat = _as_bytes(array)
        with self._lock, self.activity.waiting():
            for start in range(0, flat.size, _PIECE_BYTES):
                piece = flat[start : start + _PIECE_BYTES]
                comm.Bcast([piece, self._mpi.BYTE], root)

    def spread(self, arrays: Sequence[NDArray[Any]], owners: Sequence[int]) -> None:
        """Let all ranks see arrays that lie in memory of their node and that one rank has filled.

        One rank of each node receives from the owner's node.
        """
        self.barrier()
        leaders = sorted(set(self.nodes))
        if len(leaders) > 1:
            if self.rank in leaders:
                for array, owner in zip(arrays, owners, strict=True):
                    self._bcast_bytes(self._leaders, array, leaders.index(self.nodes[owner]))
            self.barrier()

    def allgather(self, value: Value) -> list[Value]:
        """Give all ranks the values of all, by rank."""
        packed, arrays = _packed(value)
        self.barrier()
        with self._lock, self.activity.waiting():
            everybody = self._comm.allgather((packed, [array.size for array in arrays]))
        values = []
        for rank, (of_rank, sizes) in enumerate(everybody):
            if rank != self.rank:
                arrays_of_rank = [np.empty(size, dtype=np.uint8) for size in sizes]
            else:
                arrays_of_rank = arrays
            for array in arrays_of_rank:
                self.bcast_array(array, rank)
            values.append(
                value if rank == self.rank else pickle.loads(of_rank, buffers=arrays_of_rank)
            )
        return values

    def barrier(self) -> None:
        """Wait until all ranks are here, without keeping a core busy."""
        with self._lock:
            request = self._comm.Ibarrier()
        self._wait(self._asking(request))

    def send(self, array: NDArray[Any], rank: int, tag: int) -> None:
        """Send a C-contiguous array; other threads of this rank may communicate meanwhile."""
        self._wait(self.start_send(array, rank, tag))

    def receive(self, array: NDArray[Any], rank: int, tag: int) -> None:
        """Fill a C-contiguous array with the one that a rank sends."""
        self._wait(self.start_receive(array, rank, tag))

    def start_send(self, array: NDArray[Any], rank: int, tag: int) -> Callable[[], bool]:
        """Begin to send a C-contiguous array, which must stay as it is until the result is true."""
        with self._lock:
            return self._asking(self._comm.Isend([_as_bytes(array), self._mpi.BYTE], rank, tag))

    def start_receive(self, array: NDArray[Any], rank: int, tag: int) -> Callable[[], bool]:
        """Begin to fill a C-contiguous array, which is complete once the result is true."""
        with self._lock:
            return self._asking(self._comm.Irecv([_as_bytes(array), self._mpi.BYTE], rank, tag))

    def _asking(self, request: Any) -> Callable[[], bool]:
        """Make the question whether a request is complete."""

        def is_complete() -> bool:
            with self._lock:
                return bool(request.Test())

        return is_complete

    def has_message(self, rank: int, tag: int) -> bool:
        """Tell whether a rank is sending something with this tag."""
        with self._lock:
            return bool(self._comm.Iprobe(rank, tag))

    def _wait(self, is_complete: Callable[[], bool]) -> None:
        """Wait for a request; the longer it takes, the less often it is asked for."""
        sleep, spins_until = _SHORTEST_SLEEP, time.monotonic() + _SPIN_SECONDS
        is_main = threading.current_thread() is threading.main_thread()
        with self.activity.waiting() if is_main else _nothing():
            while not is_complete():
                if time.monotonic() < spins_until:
                    time.sleep(0)
                    continue
                time.sleep(sleep)
                sleep = min(1.5 * sleep, _LONGEST_SLEEP)

    def counters(self, n: int) -> Counters:
        """Make counters, on all ranks together."""
        return _WindowCounters(self._mpi, self._comm, self._lock, self.barrier, n)

    @contextmanager
    def progressing(self) -> Iterator[None]:
        """Serve other ranks' one-sided operations while this one computes.

        Over a network many MPI libraries answer them only within some call of MPI; within a node
        they lie in memory that all ranks share.
        """
        if len(set(self.nodes)) == 1:
            yield
            return
        ended = threading.Event()

        def poll() -> None:
            while not ended.wait(_PROGRESS_INTERVAL):
                if self._lock.acquire(blocking=False):
                    try:
                        self._comm.Iprobe()
                    finally:
                        self._lock.release()

        thread = threading.Thread(target=poll, name="mpi-progress", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def abort(self, code: int) -> None:
        """End all ranks at once, whatever they and the MPI library are doing."""
        # without the lock: it may be held by a thread that will never return
        ending = threading.Thread(target=self._mpi.COMM_WORLD.Abort, args=(code,), daemon=True)
        ending.start()
        ending.join(_ABORT_SECONDS)
        os._exit(code)


class _WindowCounters(Counters):
    """Counters in windows of MPI, raised by one-sided fetch-and-add."""

    def __init__(self, mpi: Any, comm: Any, lock: Any, barrier: Any, n: int) -> None:
        super().__init__(n)
        self._mpi, self._lock, self._barrier = mpi, lock, barrier
        self._rank = int(comm.rank)
        item = np.dtype(np.int64).itemsize
        with lock:
            self._window = mpi.Win.Allocate(2 * n * item, item, comm=comm)
            self._window.Lock_all()
        self._n, self._first = n, 0
        self._clear(0)
        self._clear(n)
        barrier()

    def reset(self) -> None:
        """Set all to zero, on all ranks together."""
        self._barrier()
        # those in use from now on were cleared before; nobody uses the others any more
        self._clear(self._first)
        self._first = self._n - self._first

    def _clear(self, first: int) -> None:
        for index in range(first, first + self._n):
            self._fetch(self._rank, index, 0, self._mpi.REPLACE)

    def add(self, rank: int, index: int, amount: int) -> int:
        """Raise a counter and give the value it had before, in one step that nothing divides."""
        return self._fetch(rank, self._first + index, amount, self._mpi.SUM)

    def _fetch(self, rank: int, index: int, amount: int, operation: Any) -> int:
        given, before = np.array(amount, dtype=np.int64), np.zeros(1, dtype=np.int64)
        with self._lock:
            self._window.Fetch_and_op(given, before, rank, index, operation)
            self._window.Flush(rank)
        return int(before[0])

    def close(self) -> None:
        """Give the counters up, on all ranks together."""
        self._barrier()
        with self._lock:
            self._window.Unlock_all()
            self._window.Free()


def _packed(value: Any) -> tuple[bytes, list[NDArray[np.uint8]]]:
    """Pack a value; its large arrays go beside it, without a copy."""
    apart: list[NDArray[np.uint8]] = []

    def is_small(buffer: pickle.PickleBuffer) -> bool:
        array = np.frombuffer(buffer.raw(), dtype=np.uint8)
        if array.size >= _APART_BYTES:
            apart.append(array)
        return array.size < _APART_BYTES

    return pickle.dumps(value, protocol=5, buffer_callback=is_small), apart


def _as_bytes(array: NDArray[Any]) -> NDArray[np.uint8]:
    if not array.flags.c_contiguous:
        raise ValueError("only C-contiguous arrays travel between ranks")
    return array.reshape(-1).view(np.uint8)


@contextmanager
def _nothing() -> Iterator[None]:
    yield
