"""How ranks talk to each other; here, the communicator of a run of one process."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from numpy.typing import NDArray

from clrelion.errors import ClrelionError, PeerFailed
from clrelion.parallel.activity import Activity

__all__ = ["Communicator", "Counters"]

Value = TypeVar("Value")


class Counters:
    """A few counters on each rank that any rank may read and raise.

    Parameters
    ----------
    n
        Counters of a rank.
    """

    def __init__(self, n: int) -> None:
        self._values = [0] * n

    def reset(self) -> None:
        """Set all to zero, on all ranks together."""
        self._values = [0] * len(self._values)

    def add(self, rank: int, index: int, amount: int) -> int:
        """Raise a counter and give the value it had before, in one step that nothing divides."""
        before = self._values[index]
        self._values[index] += amount
        return before

    def close(self) -> None:
        """Give the counters up, on all ranks together."""


class Communicator:
    """A group of ranks; of one rank here, so that every operation is trivial.

    Attributes
    ----------
    rank, size
        This rank and their number.
    local_rank, local_size
        The same among the ranks of this node.
    hosts
        Name of each rank's host.
    nodes
        Lowest rank on each rank's node: ranks with the same number share a node.
    activity
        What this rank is doing.
    """

    rank = 0
    size = 1
    local_rank = 0
    local_size = 1

    has_agreed_to_fail = False
    """All ranks know that the run cannot go on, and end without being killed."""

    def __init__(self) -> None:
        self.hosts = [socket.gethostname()]
        self.nodes = [0]
        self.activity = Activity()

    @property
    def is_first(self) -> bool:
        """Whether this is rank 0, which decides, prints and writes."""
        return self.rank == 0

    def where(self, rank: int) -> str:
        """Name a rank for people: ``rank 3 on node7``."""
        return f"rank {rank} on {self.hosts[rank]}"

    def bcast(self, value: Value, root: int = 0) -> Value:
        """Give all ranks the value that ``root`` has."""
        return value

    def bcast_array(self, array: NDArray[Any], root: int = 0) -> None:
        """Overwrite a C-contiguous array with that of ``root``; of one size on all ranks."""

    def spread(self, arrays: Sequence[NDArray[Any]], owners: Sequence[int]) -> None:
        """Let all ranks see arrays that lie in memory of their node and that one rank has filled.

        Parameters
        ----------
        arrays
            C-contiguous, of the same sizes on all ranks; the same memory for ranks of one node.
        owners
            Rank that has filled each of them.
        """

    def allgather(self, value: Value) -> list[Value]:
        """Give all ranks the values of all, by rank."""
        return [value]

    def barrier(self) -> None:
        """Wait until all ranks are here."""

    def send(self, array: NDArray[Any], rank: int, tag: int) -> None:
        """Send a C-contiguous array; other threads of this rank may communicate meanwhile."""
        raise ValueError("a run of one process has nobody to send to")

    def receive(self, array: NDArray[Any], rank: int, tag: int) -> None:
        """Fill a C-contiguous array with the one that a rank sends."""
        raise ValueError("a run of one process has nobody to receive from")

    def start_send(self, array: NDArray[Any], rank: int, tag: int) -> Callable[[], bool]:
        """Begin to send a C-contiguous array, which must stay as it is until the result is true."""
        raise ValueError("a run of one process has nobody to send to")

    def start_receive(self, array: NDArray[Any], rank: int, tag: int) -> Callable[[], bool]:
        """Begin to fill a C-contiguous array, which is complete once the result is true."""
        raise ValueError("a run of one process has nobody to receive from")

    def has_message(self, rank: int, tag: int) -> bool:
        """Tell whether a rank is sending something with this tag."""
        return False

    def counters(self, n: int) -> Counters:
        """Make counters, on all ranks together."""
        return Counters(n)

    @contextmanager
    def progressing(self) -> Iterator[None]:
        """Serve other ranks' one-sided operations while this one computes."""
        yield

    def abort(self, code: int) -> None:
        """End all ranks at once; with one process, the caller ends it."""

    def from_first(self, make: Callable[[], Value]) -> Value:
        """Let rank 0 make a value, and give it to all.

        Raises
        ------
        PeerFailed
            On the other ranks, if rank 0 could not make it; there the error itself is raised.
        """
        found: Any = None
        failed: BaseException | None = None
        if self.is_first:
            try:
                found = make()
            except BaseException as error:
                failed = error
        has_failed, found = self.bcast((failed is not None, found))
        self.has_agreed_to_fail = has_failed
        if failed is not None:
            raise failed
        if has_failed:
            raise PeerFailed("rank 0 could not set up the run and says why")
        return found  # type: ignore[no-any-return]

    def on_all(self, make: Callable[[], Value]) -> Value:
        """Let each rank make a value of its own.

        Raises
        ------
        ClrelionError
            On the first rank that could not make it.
        PeerFailed
            On all others then.
        """
        failed: ClrelionError | None = None
        try:
            found = make()
        except ClrelionError as error:
            failed = error
        failures = self.allgather(failed is not None)
        if not any(failures):
            return found
        self.has_agreed_to_fail = True
        first = failures.index(True)
        if self.rank == first and failed is not None:
            raise failed
        raise PeerFailed(f"{self.where(first)} could not set up its part and says why")
