"""Columns of rows that each rank has some of, for all ranks.

Ranks of a node read what the others have in memory that they share: nothing is packed or sent.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clrelion.parallel.common_arrays import CommonArrays
from clrelion.parallel.communicator import Communicator

__all__ = ["CommonRows"]


class CommonRows:
    """Joins the rows of all ranks, again and again in the same memory.

    Parameters
    ----------
    comm
        Ranks.
    """

    def __init__(self, comm: Communicator) -> None:
        self._comm = comm
        self._arrays = CommonArrays(comm)

    def of_others(
        self, rows: NDArray[np.int64], columns: Sequence[NDArray[Any]]
    ) -> Iterator[tuple[int, NDArray[np.int64], list[NDArray[Any]]]]:
        """Exchange rows of columns, on all ranks together.

        Parameters
        ----------
        rows
            int64, (n,); numbers of the rows that this rank has.
        columns
            All rows; of the same dtypes on all ranks.

        Yields
        ------
        rank, rows, columns
            Of each other rank, only its rows, in memory that they share: to be read before the
            ranks meet the next time.
        """
        comm = self._comm
        if comm.size == 1:
            return
        dtypes = [rows.dtype, *(column.dtype for column in columns)]
        shape = len(rows), sum(dtype.itemsize for dtype in dtypes)
        rooms = self._arrays.lay_out({comm.rank: (shape, np.uint8)}, range(comm.size))
        numbers, *places = _columns(rooms[comm.rank], dtypes)
        numbers[:] = rows
        for place, column in zip(places, columns, strict=True):
            # "raise" would go through an array of its own
            np.take(column, rows, out=place, mode="clip")
        self._arrays.spread()
        for rank, room in enumerate(rooms):
            if rank != comm.rank:
                of_rank, *values = _columns(room, dtypes)
                yield rank, of_rank, values


def _columns(
    room: NDArray[np.uint8], dtypes: Sequence[np.dtype[Any]]
) -> Iterator[NDArray[Any]]:
    """Views of the columns in a rank's bytes, (n, bytes of a row); the widest ones lie first."""
    n, flat = len(room), room.reshape(-1)
    order = np.argsort([-dtype.itemsize for dtype in dtypes], kind="stable").tolist()
    starts, first = [0] * len(dtypes), 0
    for i in order:
        starts[i] = first
        first += n * dtypes[i].itemsize
    for start, dtype in zip(starts, dtypes, strict=True):
        yield flat[start : start + n * dtype.itemsize].view(dtype)
