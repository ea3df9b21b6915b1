"""Arrays that one rank fills and all ranks read, maps mostly.

Ranks of a node read the same memory.  It is used again and again: arrays are valid until the
second next ones are laid out.
"""

from __future__ import annotations

import logging
import mmap
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clrelion.parallel.communicator import Communicator
from clrelion.parallel.node_memory import NodeMemory, node_memory

__all__ = ["CommonArrays"]

_log = logging.getLogger(__name__)


class CommonArrays:
    """Shares arrays between the ranks.

    Parameters
    ----------
    comm
        Ranks.
    prepare
        Is given each new piece of memory; what it returns is kept for as long as the memory.
    """

    def __init__(
        self, comm: Communicator, prepare: Callable[[Any], object] = lambda _: None
    ) -> None:
        self._comm = comm
        self._prepare = prepare
        self._memory: list[NodeMemory | None] = [None, None]
        self._prepared: list[object] = [None, None]
        self._turn = 0
        self._arrays: list[NDArray[Any]] = []
        self._owners: list[int] = []
        self._is_common = False
        self._has_warned = False

    def lay_out(
        self, mine: Mapping[int, tuple[tuple[int, ...], Any]], owners: Sequence[int]
    ) -> list[NDArray[Any]]:
        """Make room for arrays, on all ranks together.

        Parameters
        ----------
        mine
            Shape and dtype of those that this rank fills, by number.
        owners
            Rank that fills each array.

        Returns
        -------
        list of ndarray
            By number; content undefined.  Each is its owner's to fill, before `spread`.
        """
        of_ranks = self._comm.allgather(
            {number: (shape, np.dtype(dtype).str) for number, (shape, dtype) in mine.items()}
        )
        kinds = [of_ranks[owner][number] for number, owner in enumerate(owners)]
        self._owners = list(owners)
        self._arrays = self._placed([(shape, np.dtype(kind)) for shape, kind in kinds])
        return self._arrays

    def spread(self) -> None:
        """Let all ranks have what the owners have filled; nobody may change it from now on."""
        if self._is_common:
            self._comm.spread(self._arrays, self._owners)
        else:
            for array, owner in zip(self._arrays, self._owners, strict=True):
                self._comm.bcast_array(array, owner)
        for array in self._arrays:
            array.flags.writeable = False
        self._arrays = []

    def _placed(self, kinds: Sequence[tuple[tuple[int, ...], np.dtype[Any]]]) -> list[NDArray[Any]]:
        """Place arrays in the older of the two pieces of memory."""
        sizes = [int(np.prod(shape, dtype=np.int64)) * dtype.itemsize for shape, dtype in kinds]
        rounded = [-(-size // mmap.PAGESIZE) * mmap.PAGESIZE for size in sizes]
        starts = np.cumsum([0, *rounded]).tolist()
        self._turn = 1 - self._turn
        memory = self._memory[self._turn]
        if memory is None or memory.n_bytes < starts[-1]:
            # before the next one is allocated
            self._prepared[self._turn] = self._memory[self._turn] = None
            memory = self._memory[self._turn] = self._allocated(starts[-1])
            self._prepared[self._turn] = self._prepare(memory.buffer)
        self._is_common = memory.is_common
        return [
            memory.array(dtype, size // dtype.itemsize, start).reshape(shape)
            for (shape, dtype), size, start in zip(kinds, sizes, starts[:-1], strict=True)
        ]

    def _allocated(self, n_bytes: int) -> NodeMemory:
        comm = self._comm
        memory = node_memory(comm, n_bytes)
        has_several = len(set(comm.nodes)) < comm.size
        if has_several and not memory.is_common and comm.is_first and not self._has_warned:
            self._has_warned = True
            _log.warning(
                "/dev/shm of a node has no room for %d MB for its ranks: each has its own copy",
                n_bytes // 10**6,
            )
        return memory
