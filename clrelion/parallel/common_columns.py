"""Columns of a table of which each rank fills some rows, and all ranks read all.

Ranks of a node fill and read the same memory: nothing is packed, sent or put in place.  Rows from
other nodes travel, once to each node.
"""

from __future__ import annotations

import mmap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clrelion.parallel.common_rows import CommonRows
from clrelion.parallel.communicator import Communicator
from clrelion.parallel.node_memory import NodeMemory, node_memory

__all__ = ["CommonColumns", "FilledColumns"]


_NOBODY = -1


@dataclass(frozen=True)
class FilledColumns:
    """Columns to be filled.

    Attributes
    ----------
    values
        One array a column, (n,); rows that nobody fills are undefined.
    done_by
        int32, (n,); rank that has filled each row, to be set with it; -1: none.
    """

    values: list[NDArray[Any]]
    done_by: NDArray[np.int32]


class CommonColumns:
    """Memory for columns of a run's table; made on all ranks together, and used again and again.

    Parameters
    ----------
    comm
        Ranks.
    n_rows
        Rows of the table.
    dtypes
        Of the columns.
    """

    def __init__(self, comm: Communicator, n_rows: int, dtypes: Sequence[Any]) -> None:
        self._comm = comm
        self._n_rows = n_rows
        self._dtypes: list[np.dtype[Any]] = [np.dtype(one) for one in (*dtypes, np.int32)]
        sizes = [n_rows * dtype.itemsize for dtype in self._dtypes]
        rounded = [-(-size // mmap.PAGESIZE) * mmap.PAGESIZE for size in sizes]
        self._starts = np.cumsum([0, *rounded]).tolist()
        # one holds the present values of the table, the other the coming ones
        self._pieces = [node_memory(comm, self._starts[-1]) for _ in range(2)]
        self._rows = CommonRows(comm)

    def begin(self, present: NDArray[Any]) -> FilledColumns:
        """Give columns that are undefined, of which nobody has done a row.

        The ranks have to meet before any of them fills a row.  What was filled in the memory that
        is used now, before the present values, is lost: nobody may read it any more.

        Parameters
        ----------
        present
            A column of the table with its present values, which stay as they are.
        """
        piece = next(p for p in self._pieces if not p.holds(present))
        columns = [
            piece.array(dtype, self._n_rows, start)
            for dtype, start in zip(self._dtypes, self._starts[:-1], strict=True)
        ]
        *values, done_by = columns
        if self._peers(piece)[0] == self._comm.rank:
            done_by.fill(_NOBODY)
        return FilledColumns(values, done_by)

    def join(self, columns: FilledColumns) -> None:
        """Let all ranks have the rows of all, on all ranks together.

        The ranks have to have met since any of them filled a row.
        """
        comm = self._comm
        piece = next(p for p in self._pieces if p.holds(columns.done_by))
        peers = self._peers(piece)
        if len(peers) == comm.size:
            return
        mine = np.flatnonzero(columns.done_by == comm.rank)
        for rank, rows, values in self._rows.of_others(mine, columns.values):
            # peers take turns to put what comes from elsewhere in their common place
            if rank in peers or peers[rank % len(peers)] != comm.rank:
                continue
            columns.done_by[rows] = rank
            for column, of_rank in zip(columns.values, values, strict=True):
                column[rows] = of_rank
        comm.barrier()

    def _peers(self, piece: NodeMemory) -> list[int]:
        """Ranks that see the same memory."""
        comm = self._comm
        if not piece.is_common:
            return [comm.rank]
        node = comm.nodes[comm.rank]
        return [rank for rank, other in enumerate(comm.nodes) if other == node]
