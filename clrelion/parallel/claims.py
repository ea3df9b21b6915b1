"""Claims of a rank on particles, batch by batch: of its own share first, then of others'."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from clrelion.parallel.sharing import WorkSharing

__all__ = ["ShareClaims"]


class ShareClaims:
    """Claims of one rank on the particles of one half-set.

    Parameters
    ----------
    sharing
        Shares and counters of the iteration.
    half
        Index of the half-set.
    helps
        Claim from others' shares once the own one is done.

    Notes
    -----
    A claim never mixes optics groups.
    """

    def __init__(self, sharing: WorkSharing, half: int, helps: bool) -> None:
        self._sharing = sharing
        self._half = half
        self._helps = helps
        self._claimed: deque[tuple[int, NDArray[np.int64]]] = deque()

    def next_group(self) -> int | None:
        """Optics group (0-based) of what there is to claim; None at the end."""
        if self._claimed:
            return self._claimed[0][0]
        found = self._source()
        if found is None:
            return None
        rank, start = found
        return self._sharing.shares.run_at(self._half, rank, start)[0]

    def expected(self, group: int) -> int:
        """Particles of an optics group that this rank will have to do, about."""
        shares, half = self._sharing.shares, self._half
        own = self._sharing.rank
        ranks = [own] if shares.counts[half][own] else range(len(shares.counts[half]))
        return max(1, sum(shares.n_in_group(half, rank, group) for rank in ranks))

    def claim(self, group: int, limit: int) -> NDArray[np.int64]:
        """Take up to ``limit`` particles of one optics group; none if others were faster."""
        while not self._claimed:
            found = self._source()
            if found is None:
                break
            self._fetch(*found, limit)
        if not self._claimed or self._claimed[0][0] != group:
            return np.empty(0, dtype=np.int64)
        _, ids = self._claimed.popleft()
        if len(ids) > limit:
            self._claimed.appendleft((group, ids[limit:]))
        return ids[:limit]

    def _source(self) -> tuple[int, int] | None:
        """Whose share to claim from, and how far it is claimed."""
        sharing, half = self._sharing, self._half
        start = sharing.claimed(half, sharing.rank)
        if start < sharing.shares.counts[half][sharing.rank]:
            return sharing.rank, start
        return sharing.largest_rest(half) if self._helps else None

    def _fetch(self, rank: int, start: int, limit: int) -> None:
        sharing, half = self._sharing, self._half
        shares = sharing.shares
        n = shares.counts[half][rank]
        size = sharing.claim_size(rank, n - start, limit)
        size = min(size, shares.run_at(half, rank, start)[1] - start)
        # others may have claimed meanwhile: these may be of more than one optics group
        first = sharing.take(half, rank, size)
        end = min(first + size, n)
        while first < end:
            group, last = shares.run_at(half, rank, first)
            last = min(last, end)
            self._claimed.append((group, shares.of(half, rank)[first:last]))
            first = last
