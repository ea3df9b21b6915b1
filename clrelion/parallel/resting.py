"""Ranks that take no part in an iteration, since they would hold the others up.

A device has to build tables before its first particle.  Where all others are through with
everything before that, it is of no use, and who waits for it loses time.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["RestingRanks"]

_LATE = 1.1
"""A rank is late that takes so many times as long as the slowest of the others."""
_LITTLE = 0.02
"""Part of the particles that is not worth waiting for."""
_WORTH_TRYING = 2.0
"""Steps this many times as long as a rank takes to begin leave it something to do."""
_FIRST_REST, _LONGEST_REST = 4, 32
"""Iterations after which it is tried again, as what it takes to begin may have been a guess."""


class RestingRanks:
    """Decides who rests; alike on all ranks, from the same times.

    Parameters
    ----------
    n_ranks
        Number of ranks.
    """

    def __init__(self, n_ranks: int) -> None:
        self._n_ranks = n_ranks
        self._seconds_to_begin: dict[int, float] = {}
        self._left: dict[int, int] = {}
        self._patience = [_FIRST_REST] * n_ranks

    def __contains__(self, rank: object) -> bool:
        return rank in self._seconds_to_begin

    def end_iteration(self, seconds: Sequence[float], counts: Sequence[int]) -> None:
        """Decide who rests in the next iteration.

        Parameters
        ----------
        seconds
            Until each rank had nothing left to claim.
        counts
            Particles that each rank has done.
        """
        working = [rank for rank in range(self._n_ranks) if rank not in self]
        longest = max(seconds[rank] for rank in working)
        for rank in list(self._left):
            self._left[rank] -= 1
            if longest > _WORTH_TRYING * self._seconds_to_begin[rank] or self._left[rank] <= 0:
                del self._left[rank], self._seconds_to_begin[rank]
        for rank in working:
            others = [seconds[other] for other in working if other != rank]
            is_late = bool(others) and seconds[rank] > _LATE * max(others)
            if is_late and counts[rank] <= _LITTLE * sum(counts):
                self._seconds_to_begin[rank] = seconds[rank]
                self._left[rank] = self._patience[rank]
                self._patience[rank] = min(2 * self._patience[rank], _LONGEST_REST)

    def heirs(
        self, counts: Sequence[Sequence[int]], speeds: NDArray[np.float64]
    ) -> list[tuple[int, int, int]]:
        """Tell who gets the particles of those who rest: who has most of their half-set.

        Parameters
        ----------
        counts
            Particles that each rank owns, by half-set and rank.
        speeds
            float64, (n_ranks,); who inherits where nobody else has any.

        Returns
        -------
        list of tuple
            Half-set, rank that rests, heir; of those only that have any.
        """
        working = np.array([rank not in self for rank in range(self._n_ranks)])
        found = []
        for half, of_half in enumerate(counts):
            of_working = np.array(of_half) * working
            heir = int(np.argmax(of_working if of_working.any() else speeds * working))
            found += [
                (half, rank, heir) for rank, n in enumerate(of_half) if n and not working[rank]
            ]
        return found
