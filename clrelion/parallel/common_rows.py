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
        self, columns: Sequence[NDArray[Any]]
    ) -> Iterator[tuple[int, list[NDArray[Any]]]]:
        """Exchange columns, on all ranks together.

        Parameters
        ----------
        columns
            (n,); of one length on a rank, of the same dtypes on all ranks.

        Yields
        ------
        rank, columns
            Those of each other rank, in memory that they share: to be read before the ranks meet
            the next time.
        """
        comm = self._comm
        if comm.size == 1:
            return
        dtypes = [column.dtype for column in columns]
        shape = len(columns[0]), sum(dtype.itemsize for dtype in dtypes)
        rooms = self._arrays.lay_out({comm.rank: (shape, np.uint8)}, range(comm.size))
        for place, column in zip(_columns(rooms[comm.rank], dtypes), columns, strict=True):
            place[:] = column
        self._arrays.spread()
        for rank, room in enumerate(rooms):
            if rank != comm.rank:
                yield rank, list(_columns(room, dtypes))


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
