"""Who works on which particles: shares, claims from counters, help for those who are behind.

Each rank owns a share of the particles, whose images it has read and may keep on its device.  It
claims its own share batch by batch from a counter; a rank that is done claims from the counters of
others.  What it worked on is its own the next time: shares adapt to the speeds of the devices by
themselves.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clrelion.parallel.claims import ShareClaims
from clrelion.parallel.communicator import Communicator
from clrelion.parallel.first_shares import initial_owners
from clrelion.parallel.resting import RestingRanks
from clrelion.parallel.shares import Shares
from clrelion.parallel.speeds import RankSpeeds

__all__ = ["RankEnd", "WorkSharing"]

_SMALLEST_PART_OF_BATCH = 16
_SMALLEST_PART_OF_SHARE = 32
_FIRST_PART = 8
"""While speeds are not known, a claim takes one part in so many of what is left."""
_LATER_PART = 2
_PART_OF_ALL = 0.25
"""Part of what is left for a rank that it claims at a time: the next claim is made meanwhile."""
_SMALLEST_PART_OF_ALL = 2000
_SMALLEST_SECONDS = 0.1
"""A batch keeps a GPU busy for some 30 ms however few particles it has."""
_LEAST_SECONDS_LEFT = 0.1
"""Nobody helps with what its owner does in so short a time."""


@dataclass(frozen=True)
class RankEnd:
    """How a rank's part of an iteration has ended.

    Attributes
    ----------
    seconds
        Until it had nothing left to claim.
    rate
        Particles a second that it has done; 0: none.
    n_done
        Particles that it has done.
    """

    seconds: float
    rate: float
    n_done: int


class WorkSharing:
    """Shares of all ranks and the counters to claim from.

    Parameters
    ----------
    comm
        Ranks.
    orders
        int64; particles of each half-set in processing order, optics groups contiguous.
    optics_group
        int64, (n,); of every row of the particle table.
    weights
        Guessed speed of each rank's device.
    is_static
        Nobody claims from others' shares, so that repeats of a run are alike.

    Attributes
    ----------
    rank
        This one.
    shares
        Shares as they are now, of the particles that take part in the iteration.
    """

    def __init__(
        self,
        comm: Communicator,
        orders: Sequence[NDArray[np.int64]],
        optics_group: NDArray[np.int64],
        weights: Sequence[float],
        is_static: bool = False,
    ) -> None:
        self._comm = comm
        self.rank = comm.rank
        self._optics_group = optics_group
        self._given, self._left_out = list(orders), frozenset[int]()
        self.shares = self._shared(orders, initial_owners(orders, len(optics_group), weights))
        self._speeds = RankSpeeds(weights, comm.rank)
        self._is_static = is_static
        self._resting = RestingRanks(comm.size)
        self._counters = comm.counters(len(orders))
        self._is_first = True
        self._guests: set[tuple[int, int]] = set()
        self.seconds_to_fetch = 0.0
        """Extra time for a particle of another rank's share: its image is not on the device."""

    def _shared(self, orders: Sequence[NDArray[np.int64]], owners: NDArray[np.int32]) -> Shares:
        return Shares(orders, owners, self._optics_group, self.rank, self._comm.size)

    @property
    def own(self) -> NDArray[np.int64]:
        """int64; rows of the table that this rank owns, read-only."""
        return self.shares.own

    def begin(self, orders: Sequence[NDArray[np.int64]], left_out: Collection[int] = ()) -> None:
        """Start an iteration, on all ranks together.

        Parameters
        ----------
        orders
            int64; processing order of each half-set.  If these are the arrays of the iteration
            before, and nobody can write to them, the shares are the same, too.
        left_out
            Rows that do not take part.
        """
        if not (self._left_out == set(left_out) and _are_same(self._given, orders)):
            takes_part = np.ones(len(self._optics_group), dtype=np.bool_)
            takes_part[list(left_out)] = False
            usable = [order[takes_part[order]] for order in orders]
            self.shares = self._shared(usable, self.shares.owners)
            self._given, self._left_out = list(orders), frozenset(left_out)
        self._counters.reset()
        self._speeds.begin()

    def n_ranks_of(self, half: int) -> int:
        """Ranks that own particles of a half-set."""
        return sum(n > 0 for n in self.shares.counts[half])

    def visits(self) -> list[tuple[int, bool]]:
        """Half-sets this rank has particles of, and whether to help there when they are done.

        The one it has most of comes last: there it helps at once.
        """
        sizes = [of_half[self.rank] for of_half in self.shares.counts]
        own = [half for half, size in enumerate(sizes) if size]
        if self.rank in self._resting:
            return []
        if self._comm.size == 1 or self._is_static:
            return [(half, False) for half in own]
        own.sort(key=lambda half: sizes[half])
        return [(half, place == len(own) - 1) for place, half in enumerate(own)]

    def claims(self, half: int, helps: bool) -> ShareClaims:
        """Claims of this rank on a half-set."""
        return ShareClaims(self, half, helps)

    def half_to_help(self, cost_seconds: float) -> int | None:
        """Half-set whose ranks are so far behind that help pays, or None.

        Parameters
        ----------
        cost_seconds
            What it takes to begin on another half-set and to add up one more set of volumes.
        """
        if self._is_static or self._comm.size == 1 or self.rank in self._resting:
            return None
        seconds = [self._seconds_left(half) for half in self._halves]
        half = int(np.argmax(seconds))
        least = 2.0 * cost_seconds
        if self.seconds_to_fetch > 0.0:
            least = max(least, _LEAST_SECONDS_LEFT)
        return half if seconds[half] > least else None

    def _seconds_left(self, half: int) -> float:
        """Time its owners need for the rest of a half-set, about."""
        rests = self._rests(half)
        if not rests.any():
            return 0.0
        if not self._speeds.has_measured:
            return np.inf  # this rank has had nothing to do at all
        rates = np.array([self._speeds.of(rank) for rank in range(self._comm.size)])
        return float(rests.sum() / rates[rests > 0].sum())

    def _own_part_of_rest(self) -> float:
        """Particles that this rank does while all together do what nobody has claimed yet, about.

        As long as speeds are guessed, by its own and by what all have claimed so far.
        """
        rest = sum(int(self._rests(half).sum()) for half in self._halves)
        speeds = self._speeds
        if speeds.are_known:
            return float(rest * speeds.relative[self.rank] / speeds.relative.sum())
        seconds = max(1e-3, speeds.seconds)
        return speeds.measured() * seconds * rest / max(1, self.claimed_by_all())

    @property
    def _halves(self) -> range:
        return range(len(self.shares.counts))

    def _rests(self, half: int) -> NDArray[np.int64]:
        """Particles of each share of a half-set that nobody has claimed yet."""
        counts = enumerate(self.shares.counts[half])
        return np.array([max(0, n - self.claimed(half, rank)) if n else 0 for rank, n in counts])

    def largest_rest(self, half: int) -> tuple[int, int] | None:
        """Rank with most left to claim of a half-set, and how far it is; None if nobody has."""
        if self._is_static or self._comm.size == 1:
            return None
        rests = self._rests(half)
        rank = int(np.argmax(rests))
        if not rests[rank] or self._help_with(rank, int(rests[rank])) == 0:
            return None
        return rank, self.shares.counts[half][rank] - int(rests[rank])

    def _help_with(self, rank: int, rest: int) -> int:
        """Particles to take from what is left of a share, so that both end at one time."""
        mine, theirs = self._speeds.of(self.rank), self._speeds.of(rank)
        if mine == 0.0:  # this rank has had nothing to do at all
            speeds = self._speeds.relative[[self.rank, rank]]
            return int(np.ceil(rest * speeds[0] / speeds.sum()))
        if self.seconds_to_fetch > 0.0 and rest < theirs * _LEAST_SECONDS_LEFT:
            return 0
        seconds_each = 1.0 / mine + self.seconds_to_fetch
        return int(np.ceil(rest / (1.0 + theirs * seconds_each)))

    def claimed(self, half: int, rank: int) -> int:
        """How far a share is claimed; may be more than it holds."""
        return self._counters.add(rank, half, 0)

    def take(self, half: int, rank: int, size: int) -> int:
        """Claim the next ``size`` particles of a share; give the place of the first."""
        return self._counters.add(rank, half, size)

    def count_done(self, n: int) -> None:
        """Remember that this rank has worked through particles, for its speed."""
        self._speeds.count(n)

    def claimed_by_all(self) -> int:
        """Particles claimed so far by all ranks together."""
        return sum(
            min(n, self.claimed(half, rank))
            for half, counts in enumerate(self.shares.counts)
            for rank, n in enumerate(counts)
            if n
        )

    def claim_size(self, rank: int, rest: int, limit: int) -> int:
        """Particles to claim at a time: fewer towards the end, so that all end together.

        Parameters
        ----------
        rank
            Whose share it is.
        rest
            What is left of it.
        limit
            What suits this rank's device.
        """
        if self._comm.size == 1 or self._is_static:
            return limit
        own = sum(counts[self.rank] for counts in self.shares.counts)
        smallest = min(limit // _SMALLEST_PART_OF_BATCH, own // _SMALLEST_PART_OF_SHARE)
        if not self._speeds.are_known:  # a wrong guess must not last
            smallest = min(smallest, sum(map(sum, self.shares.counts)) // _SMALLEST_PART_OF_ALL)
        smallest = max(smallest, int(_SMALLEST_SECONDS * self._speeds.measured()))
        part = 1.0 / (_LATER_PART if self._speeds.are_known else _FIRST_PART)
        if rank != self.rank:
            rest = self._help_with(rank, rest)
        size = min(max(smallest, int(np.ceil(part * rest))), rest)
        size = min(size, max(smallest, int(_PART_OF_ALL * self._own_part_of_rest())))
        # what is no less than a batch goes in batches of one size
        return max(1, size if size < limit else -(-rest // -(-rest // limit)))

    def end_of_rank(self, seconds: float, n_done: int) -> RankEnd:
        """Tell how this rank's part of the iteration has ended.

        Parameters
        ----------
        seconds
            Until it had nothing left to claim.
        n_done
            Particles that it has done.
        """
        return RankEnd(seconds, self._speeds.measured(), n_done)

    def finish(self, done_by: NDArray[np.int32], ends: Sequence[RankEnd]) -> None:
        """End an iteration: particles belong to the ranks that worked on them.

        Parameters
        ----------
        done_by
            int32, (n,); rank that worked on each particle, -1 for none; alike on all ranks.
        ends
            How each rank's part has ended.
        """
        if self._is_static or self._comm.size == 1:
            return
        # what equal devices did in the first iteration depends on who compiled and read faster
        is_first, self._is_first = self._is_first, False
        if is_first and self._speeds.are_known:
            return
        # mostly everybody has kept to the own share
        has_moved = ((done_by >= 0) & (done_by != self.shares.owners)).any()
        self._guests = self._move(done_by) if has_moved else set()
        self._speeds.take([end.rate for end in ends], self._resting)
        if not is_first:  # in which kernels are built
            self._resting.end_iteration([end.seconds for end in ends], [end.n_done for end in ends])
            self._inherit()

    def _move(self, done_by: NDArray[np.int32]) -> set[tuple[int, int]]:
        """Give particles to those who worked on them; tell who was a guest in which half-set."""
        shares, owners, guests = self.shares, self.shares.owners.copy(), set()
        for half, order in enumerate(shares.orders):
            for rank in range(self._comm.size):
                mine = order[done_by[order] == rank]
                if not shares.counts[half][rank] and len(mine):
                    guests.add((half, rank))
                    if (half, rank) not in self._guests:
                        continue  # a half-set more takes a volume more: not for once
                owners[mine] = rank
        self.shares = self._shared(shares.orders, owners)
        return guests

    def _inherit(self) -> None:
        """Give the particles of those who rest to others."""
        shares = self.shares
        heirs = self._resting.heirs(shares.counts, self._speeds.relative)
        if heirs:
            owners = shares.owners.copy()
            for half, rank, heir in heirs:
                owners[shares.of(half, rank)] = heir
            self.shares = self._shared(shares.orders, owners)

    def close(self) -> None:
        """Give the counters up, on all ranks together."""
        self._counters.close()


def _are_same(before: Sequence[NDArray[Any]], now: Sequence[NDArray[Any]]) -> bool:
    """Whether these are the same arrays, and nobody can have written to them meanwhile."""
    return len(before) == len(now) and all(
        one is other and not one.flags.writeable for one, other in zip(before, now, strict=True)
    )
