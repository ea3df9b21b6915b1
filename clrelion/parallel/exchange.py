"""Blocks of arrays on their way from rank to rank, none of which waits for another.

Between ranks of a node a block lies in memory that both see: the sender fills it, the receiver
reads it there, and only its number travels.  Between nodes, and where a node has no such memory,
blocks are messages.
"""

from __future__ import annotations

import logging
import math
import mmap
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clrelion.parallel.communicator import Communicator
from clrelion.parallel.node_memory import allocate_on_nodes

__all__ = ["Block", "BlockExchange", "receiving", "sending", "take_turns"]

_log = logging.getLogger(__name__)

_N_SLOTS = 4
"""Blocks of a rank that may be on their way at a time."""
_FREE = 31
"""Tag of the numbers of blocks that have been read."""
_SPIN_SECONDS = 0.05
_SHORTEST_SLEEP, _LONGEST_SLEEP = 2e-5, 1e-3
_BACKGROUND_SLEEP = 5e-3
"""Each look takes the interpreter from the thread that gives the device its work."""

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Block:
    """A block to be filled or read.

    Attributes
    ----------
    array
        C-contiguous.
    slot
        Its number in the memory of the node; None: a message.
    """

    array: NDArray[Any]
    slot: int | None


class BlockExchange:
    """Sends and receives blocks; made on all ranks together, used by one thread at a time.

    Parameters
    ----------
    comm
        Ranks.
    block_bytes
        Largest block that goes through the memory of a node.  A rank takes four of these there,
        however many ranks there are.
    prepare
        Is given that memory; what it returns is kept for as long as the memory.
    """

    def __init__(
        self,
        comm: Communicator,
        block_bytes: int,
        prepare: Callable[[Any], object] = lambda _: None,
    ) -> None:
        self._comm = comm
        self._block_bytes = -(-block_bytes // mmap.PAGESIZE) * mmap.PAGESIZE
        self._memory: mmap.mmap | None = None
        if len(set(comm.nodes)) < comm.size:
            of_rank = _N_SLOTS * self._block_bytes
            self._memory = allocate_on_nodes(comm, of_rank * comm.local_size)
            if self._memory is None and comm.is_first:
                _log.warning(
                    "/dev/shm of a node has no room for %d MB a rank: ranks of a node exchange "
                    "volumes by messages, which is slower (in a container: --shm-size, --ipc=host)",
                    of_rank // 10**6,
                )
        self._prepared = None if self._memory is None else prepare(self._memory)
        peers = [r for r, node in enumerate(comm.nodes) if node == comm.nodes[comm.rank]]
        self._place = {rank: i for i, rank in enumerate(peers)}
        self._unused = list(range(_N_SLOTS))
        self._lent: dict[int, int] = {}
        self._sends: list[tuple[Callable[[], bool], NDArray[Any]]] = []
        self._receives: dict[tuple[int, int], tuple[Callable[[], bool], NDArray[Any]]] = {}

    def _is_shared(self, rank: int, n_bytes: int) -> bool:
        return self._memory is not None and rank in self._place and n_bytes <= self._block_bytes

    def _view(self, rank: int, slot: int, shape: Shape, dtype: Any) -> NDArray[Any]:
        assert self._memory is not None
        start = (self._place[rank] * _N_SLOTS + slot) * self._block_bytes
        array = np.frombuffer(self._memory, dtype, math.prod(shape), start)
        return array.reshape(shape)

    def room(self, rank: int, shape: Shape, dtype: Any) -> Block | None:
        """Give a block to fill for a rank; None as long as too many are on their way."""
        self._take_back()
        if not self._is_shared(rank, _n_bytes(shape, dtype)):
            if len(self._sends) >= _N_SLOTS:
                return None
            return Block(np.empty(shape, dtype), None)
        if not self._unused:
            return None
        slot = self._unused[-1]
        return Block(self._view(self._comm.rank, slot, shape, dtype), slot)

    def post(self, rank: int, tag: int, block: Block) -> None:
        """Send a block that has been filled; it is the receiver's from now on."""
        if block.slot is None:
            self._start(block.array, rank, tag)
            return
        self._unused.remove(block.slot)
        self._lent[block.slot] = rank
        self._start(np.array([block.slot], dtype=np.int64), rank, tag)

    def arrived(self, rank: int, tag: int, shape: Shape, dtype: Any) -> Block | None:
        """Give the next block that a rank has sent with a tag; None as long as there is none."""
        is_shared = self._is_shared(rank, _n_bytes(shape, dtype))
        pending = self._receives.get((rank, tag))
        if pending is None:
            if not self._comm.has_message(rank, tag):
                return None
            target = np.empty(1, dtype=np.int64) if is_shared else np.empty(shape, dtype)
            pending = self._comm.start_receive(target, rank, tag), target
            self._receives[rank, tag] = pending
        is_complete, target = pending
        if not is_complete():
            return None
        del self._receives[rank, tag]
        if not is_shared:
            return Block(target, None)
        slot = int(target[0])
        return Block(self._view(rank, slot, shape, dtype), slot)

    def release(self, rank: int, block: Block) -> None:
        """Tell the sender that a block has been read."""
        if block.slot is not None:
            self._start(np.array([block.slot], dtype=np.int64), rank, _FREE)

    def _start(self, array: NDArray[Any], rank: int, tag: int) -> None:
        self._sends.append((self._comm.start_send(array, rank, tag), array))

    def _take_back(self) -> None:
        """Note which of this rank's blocks have been sent and read."""
        self._sends = [pending for pending in self._sends if not pending[0]()]
        for rank in set(self._lent.values()):
            while self._comm.has_message(rank, _FREE):
                number = np.empty(1, dtype=np.int64)
                self._comm.receive(number, rank, _FREE)
                del self._lent[int(number[0])]
                self._unused.append(int(number[0]))

    def has_sent_all(self) -> bool:
        """Tell whether nothing of this rank is on its way any more."""
        self._take_back()
        return not self._sends and not self._lent

    def close(self) -> None:
        """Give the memory up, once everything has arrived, on all ranks together."""
        take_turns([self._flushing()], self._comm)
        self._comm.barrier()
        self._prepared = self._memory = None

    def _flushing(self) -> Iterator[bool]:
        while not self.has_sent_all():
            yield False


def sending(
    exchange: BlockExchange,
    rank: int,
    tag: int,
    parts: Iterable[tuple[int, int]],
    shape: Shape,
    dtype: Any,
    fill: Callable[[int, int, NDArray[Any]], None],
) -> Iterator[bool]:
    """Send rows first .. last - 1 of something, part by part.

    Parameters
    ----------
    parts
        First and last row of each block, the last exclusive.
    shape, dtype
        Of a row.
    fill
        Writes rows first .. last - 1 to an array.

    Yields
    ------
    bool
        Whether it got on.
    """
    for first, last in parts:
        while (block := exchange.room(rank, (last - first, *shape), dtype)) is None:
            yield False
        fill(first, last, block.array)
        exchange.post(rank, tag, block)
        yield True


def receiving(
    exchange: BlockExchange,
    rank: int,
    tag: int,
    parts: Iterable[tuple[int, int]],
    shape: Shape,
    dtype: Any,
    use: Callable[[int, NDArray[Any]], None],
) -> Iterator[bool]:
    """Receive what `sending` sends; ``use`` gets the first row of each block, and the block."""
    for first, last in parts:
        while (block := exchange.arrived(rank, tag, (last - first, *shape), dtype)) is None:
            yield False
        use(first, block.array)
        exchange.release(rank, block)
        yield True


def take_turns(
    tasks: list[Iterator[bool]],
    comm: Communicator,
    is_stopped: Callable[[], bool] = lambda: False,
    *,
    in_background: bool = False,
) -> None:
    """Get on with whatever can get on, until all is done.

    Parameters
    ----------
    tasks
        Each yields whether it got on; those that are done are taken out.
    comm
        Ranks; the main thread tells that it waits for others.
    is_stopped
        Leave the rest where it is.
    in_background
        For another thread: rest whenever there is nothing to do.
    """
    while tasks and not is_stopped():
        if _get_on(tasks):
            if not in_background:
                comm.activity.tick(comm.activity.step)
            continue
        with nullcontext() if in_background else comm.activity.waiting():
            _wait_for_one(tasks, is_stopped, in_background)


def _get_on(tasks: list[Iterator[bool]]) -> bool:
    """Give each task a turn; tells whether any got on."""
    got_on = False
    for task in list(tasks):
        try:
            got_on |= next(task)
        except StopIteration:
            tasks.remove(task)
            got_on = True
    return got_on


def _wait_for_one(
    tasks: list[Iterator[bool]], is_stopped: Callable[[], bool], in_background: bool
) -> None:
    """Ask until one of the tasks gets on; the longer it takes, the less often."""
    sleep, spins_until = _SHORTEST_SLEEP, time.monotonic() + _SPIN_SECONDS
    while not is_stopped() and not _get_on(tasks):
        if in_background:
            time.sleep(_BACKGROUND_SLEEP)
        elif time.monotonic() < spins_until:
            time.sleep(0)
        else:
            time.sleep(sleep)
            sleep = min(1.5 * sleep, _LONGEST_SLEEP)


def _n_bytes(shape: Shape, dtype: Any) -> int:
    return math.prod(shape) * int(np.dtype(dtype).itemsize)
