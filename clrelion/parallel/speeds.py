"""How fast the ranks are: guessed at first, then as measured."""

from __future__ import annotations

import time
from collections.abc import Container, Sequence

import numpy as np

__all__ = ["RankSpeeds"]


class RankSpeeds:
    """Speeds of all ranks beside each other, and what this one has measured of itself.

    Parameters
    ----------
    weights
        Guessed speed of each rank's device.
    rank
        This rank.

    Attributes
    ----------
    relative
        float64, (n_ranks,); of all ranks.
    are_known
        They were measured, or all devices are alike.
    """

    def __init__(self, weights: Sequence[float], rank: int) -> None:
        self.relative = np.asarray(weights, dtype=np.float64)
        self.are_known = float(np.ptp(self.relative)) == 0.0
        self._rank = rank
        self._started = 0.0
        self._done: list[tuple[float, int]] = []

    def begin(self) -> None:
        """Begin to measure anew."""
        self._started = time.monotonic()
        self._done = []

    @property
    def has_measured(self) -> bool:
        """Whether this rank has done anything in this iteration."""
        return bool(self._done)

    @property
    def seconds(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self._started

    def count(self, n: int) -> None:
        """Remember that this rank has worked through particles."""
        before = self._done[-1][1] if self._done else 0
        self._done.append((time.monotonic(), before + n))

    def measured(self) -> float:
        """Particles a second that this rank has done in this iteration; 0: none so far.

        The first batch, in which kernels may be built, counts only as long as there is no other.
        """
        if not self._done:
            return 0.0
        since, first = self._done[0] if len(self._done) > 1 else (self._started, 0)
        until, last = self._done[-1]
        return (last - first) / max(1e-3, until - since)

    def of(self, rank: int) -> float:
        """Particles a second of a rank, going by what this one has done; 0: not known."""
        return float(self.measured() * self.relative[rank] / self.relative[self._rank])

    def take(self, rates: Sequence[float], resting: Container[int]) -> None:
        """Take speeds from what was measured; ranks that rested keep theirs beside the others'.

        Parameters
        ----------
        rates
            `measured` of each rank.
        resting
            Ranks that rested.
        """
        found = np.asarray(rates, dtype=np.float64)
        worked = found > 0.0
        if all(worked[rank] or rank in resting for rank in range(len(found))):
            before = self.relative / self.relative[worked].sum()
            speeds = np.where(worked, found / found.sum(), before)
            self.relative, self.are_known = speeds / speeds.sum(), True
