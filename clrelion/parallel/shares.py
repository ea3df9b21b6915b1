"""Who owns which particles, and what follows from it: found out once, as it seldom changes."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

__all__ = ["Shares", "fixed"]


def fixed(array: NDArray[np.int32]) -> NDArray[np.int32]:
    """Give an array that nobody can change any more."""
    array.flags.writeable = False
    return array


class Shares:
    """Shares of all ranks.

    Nothing here changes: other owners, or other particles that take part, are other shares.

    Parameters
    ----------
    orders
        int64; particles of each half-set that take part, in processing order, optics groups
        contiguous.
    owners
        int32, (n,); rank that owns each particle of the table, -1 for those in no half-set.
    optics_group
        int64, (n,); of every row of the particle table.
    rank, n_ranks
        This rank and the number of all.

    Attributes
    ----------
    orders, owners
        As given, read-only.
    counts
        Particles that each rank owns, by half-set and rank.
    """

    def __init__(
        self,
        orders: Sequence[NDArray[np.int64]],
        owners: NDArray[np.int32],
        optics_group: NDArray[np.int64],
        rank: int,
        n_ranks: int,
    ) -> None:
        self.orders = list(orders)
        self.owners = fixed(owners)
        self._rank = rank
        self._n_ranks = n_ranks
        self._parts: list[list[NDArray[np.int64]]] = []
        self._ends: list[list[list[int]]] = []
        self._groups: list[list[list[int]]] = []
        for order in self.orders:
            of_order = owners[order]
            parts = [order[of_order == rank] for rank in range(n_ranks)]
            runs = [_runs(optics_group[part]) for part in parts]
            self._parts.append(parts)
            self._ends.append([ends for ends, _ in runs])
            self._groups.append([groups for _, groups in runs])
        self.counts = [[len(part) for part in parts] for parts in self._parts]

    def of(self, half: int, rank: int) -> NDArray[np.int64]:
        """Particles of a half-set that a rank owns, in processing order."""
        return self._parts[half][rank]

    def run_at(self, half: int, rank: int, place: int) -> tuple[int, int]:
        """Optics group (0-based) at a place of a share, and where its particles end there."""
        ends = self._ends[half][rank]
        run = bisect_right(ends, place)
        return self._groups[half][rank][run], ends[run]

    def n_in_group(self, half: int, rank: int, group: int) -> int:
        """Number of particles of an optics group in a share."""
        first, n = 0, 0
        for end, of_run in zip(self._ends[half][rank], self._groups[half][rank], strict=True):
            n += (end - first) * (of_run == group)
            first = end
        return n

    @cached_property
    def own(self) -> NDArray[np.int64]:
        """int64; rows of the table that this rank owns, those left out as well."""
        own = np.flatnonzero(self.owners == self._rank)
        own.flags.writeable = False
        return own

    @cached_property
    def rows_of_ranks(self) -> NDArray[np.int64]:
        """int64, (n_ranks,); number of rows that each rank owns, those left out as well."""
        return np.bincount(self.owners[self.owners >= 0], minlength=self._n_ranks)


def _runs(groups: NDArray[np.int64]) -> tuple[list[int], list[int]]:
    """Where each run of equal numbers ends, and its number."""
    if not len(groups):
        return [], []
    ends = [*(np.flatnonzero(np.diff(groups)) + 1).tolist(), len(groups)]
    return ends, [int(groups[end - 1]) for end in ends]
