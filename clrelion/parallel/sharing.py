"""Who works on which particles: shares, claims from counters, help for those who are behind.

Each rank owns a share of the particles, whose images it has read and may keep on its device.  It
claims its own share batch by batch from a counter; a rank that is done claims from the counters of
others.  What it worked on is its own the next time: shares adapt to the speeds of the devices by
themselves.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from clrelion.parallel.communicator import Communicator
from clrelion.parallel.first_shares import initial_owners
from clrelion.parallel.resting import RestingRanks

__all__ = ["ShareClaims", "WorkSharing", "claims_on_all"]

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
        self._claimed: deque[NDArray[np.int64]] = deque()

    def next_group(self) -> int | None:
        """Optics group (0-based) of what there is to claim; None at the end."""
        groups = self._sharing.groups
        if self._claimed:
            return int(groups[self._claimed[0][0]])
        found = self._source()
        if found is None:
            return None
        rank, start = found
        return int(groups[self._sharing.share(self._half, rank)[start]])

    def expected(self, group: int) -> int:
        """Particles of an optics group that this rank will have to do, about."""
        rank = self._sharing.rank
        own = self._sharing.share(self._half, rank)
        if not len(own):
            own = self._sharing.orders[self._half]
        return max(1, int((self._sharing.groups[own] == group).sum()))

    def claim(self, group: int, limit: int) -> NDArray[np.int64]:
        """Take up to ``limit`` particles of one optics group; none if others were faster."""
        while not self._claimed:
            found = self._source()
            if found is None:
                break
            self._fetch(*found, limit)
        if not self._claimed or self._sharing.groups[self._claimed[0][0]] != group:
            return np.empty(0, dtype=np.int64)
        ids = self._claimed.popleft()
        if len(ids) > limit:
            self._claimed.appendleft(ids[limit:])
        return ids[:limit]

    def _source(self) -> tuple[int, int] | None:
        """Whose share to claim from, and how far it is claimed."""
        sharing, half = self._sharing, self._half
        own = sharing.share(half, sharing.rank)
        start = sharing.claimed(half, sharing.rank)
        if start < len(own):
            return sharing.rank, start
        return sharing.largest_rest(half) if self._helps else None

    def _fetch(self, rank: int, start: int, limit: int) -> None:
        sharing, half = self._sharing, self._half
        share = sharing.share(half, rank)
        size = sharing.claim_size(rank, len(share) - start, limit)
        ahead = sharing.groups[share[start : start + size]]
        size = int((ahead == ahead[0]).sum())  # optics groups are contiguous
        first = sharing.take(half, rank, size)
        ids = share[first : first + size]
        if len(ids):
            borders = np.flatnonzero(np.diff(sharing.groups[ids])) + 1
            self._claimed.extend(np.split(ids, borders))


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
    owners
        int32, (n,); rank that owns each particle.
    groups
        Optics group of every particle.
    orders
        Particles of each half-set that take part in this iteration.
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
        self.groups = optics_group
        self.owners = initial_owners(orders, len(optics_group), weights)
        self.orders = list(orders)
        self._speeds = np.asarray(weights, dtype=np.float64)
        self._speeds_are_known = float(np.ptp(self._speeds)) == 0.0
        self._is_static = is_static
        self._resting = RestingRanks(comm.size)
        self._counters = comm.counters(len(orders))
        self._shares: list[list[NDArray[np.int64]]] = []
        self._started, self._is_first = 0.0, True
        self._done: list[tuple[float, int]] = []
        self._guests: set[tuple[int, int]] = set()
        self.seconds_to_fetch = 0.0
        """Extra time for a particle of another rank's share: its image is not on the device."""

    @property
    def own(self) -> NDArray[np.int64]:
        """Rows of the table that this rank owns."""
        return np.flatnonzero(self.owners == self.rank)

    def begin(self, usable: NDArray[np.bool_], orders: Sequence[NDArray[np.int64]]) -> None:
        """Start an iteration, on all ranks together.

        Parameters
        ----------
        usable
            bool, (n,); particles that take part.
        orders
            Processing order of each half-set.
        """
        self.orders = [order[usable[order]] for order in orders]
        self._shares = [
            [order[self.owners[order] == rank] for rank in range(self._comm.size)]
            for order in self.orders
        ]
        self._counters.reset()
        self._started = time.monotonic()
        self._done = []

    def share(self, half: int, rank: int) -> NDArray[np.int64]:
        """Particles of a half-set that a rank owns, in processing order."""
        return self._shares[half][rank]

    def n_ranks_of(self, half: int) -> int:
        """Ranks that own particles of a half-set."""
        return sum(len(share) > 0 for share in self._shares[half])

    def visits(self) -> list[tuple[int, bool]]:
        """Half-sets this rank has particles of, and whether to help there when they are done.

        The one it has most of comes last: there it helps at once.
        """
        sizes = [len(self.share(half, self.rank)) for half in range(len(self.orders))]
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
        seconds = [self._seconds_left(half) for half in range(len(self.orders))]
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
        if not self._done:
            return np.inf  # this rank has had nothing to do at all
        rates = np.array([self._rate(rank) for rank in range(self._comm.size)])
        return float(rests.sum() / rates[rests > 0].sum())

    def _own_part_of_rest(self) -> float:
        """Particles that this rank does while all together do what nobody has claimed yet, about.

        As long as speeds are guessed, by its own and by what all have claimed so far.
        """
        rest = sum(int(self._rests(half).sum()) for half in range(len(self.orders)))
        if self._speeds_are_known:
            return float(rest * self._speeds[self.rank] / self._speeds.sum())
        seconds = max(1e-3, time.monotonic() - self._started)
        return self.measured_rate() * seconds * rest / max(1, self.claimed_by_all())

    def _rests(self, half: int) -> NDArray[np.int64]:
        shares = enumerate(self._shares[half])
        return np.array(
            [max(0, len(s) - self.claimed(half, rank)) if len(s) else 0 for rank, s in shares]
        )

    def largest_rest(self, half: int) -> tuple[int, int] | None:
        """Rank with most left to claim of a half-set, and how far it is; None if nobody has."""
        if self._is_static or self._comm.size == 1:
            return None
        rests = self._rests(half)
        rank = int(np.argmax(rests))
        if not rests[rank] or self._help_with(rank, int(rests[rank])) == 0:
            return None
        return rank, len(self.share(half, rank)) - int(rests[rank])

    def _rate(self, rank: int) -> float:
        """Particles a second of a rank, going by what this one has done; 0: not known."""
        return float(self.measured_rate() * self._speeds[rank] / self._speeds[self.rank])

    def measured_rate(self) -> float:
        """Particles a second that this rank has done in this iteration; 0: none so far.

        The first batch, in which kernels may be built, counts only as long as there is no other.
        """
        if not self._done:
            return 0.0
        since, first = self._done[0] if len(self._done) > 1 else (self._started, 0)
        until, last = self._done[-1]
        return (last - first) / max(1e-3, until - since)

    def _help_with(self, rank: int, rest: int) -> int:
        """Particles to take from what is left of a share, so that both end at one time."""
        mine, theirs = self._rate(self.rank), self._rate(rank)
        if mine == 0.0:  # this rank has had nothing to do at all
            speeds = self._speeds[[self.rank, rank]]
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
        before = self._done[-1][1] if self._done else 0
        self._done.append((time.monotonic(), before + n))

    def claimed_by_all(self) -> int:
        """Particles claimed so far by all ranks together."""
        return sum(
            min(len(share), self.claimed(half, rank))
            for half, shares in enumerate(self._shares)
            for rank, share in enumerate(shares)
            if len(share)
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
        own = sum(len(shares[self.rank]) for shares in self._shares)
        smallest = min(limit // _SMALLEST_PART_OF_BATCH, own // _SMALLEST_PART_OF_SHARE)
        if not self._speeds_are_known:  # a wrong guess must not last
            smallest = min(smallest, sum(map(len, self.orders)) // _SMALLEST_PART_OF_ALL)
        smallest = max(smallest, int(_SMALLEST_SECONDS * self.measured_rate()))
        part = 1.0 / (_LATER_PART if self._speeds_are_known else _FIRST_PART)
        if rank != self.rank:
            rest = self._help_with(rank, rest)
        size = min(max(smallest, int(np.ceil(part * rest))), rest)
        size = min(size, max(smallest, int(_PART_OF_ALL * self._own_part_of_rest())))
        # what is no less than a batch goes in batches of one size
        return max(1, size if size < limit else -(-rest // -(-rest // limit)))

    def finish(
        self, done_by: NDArray[np.int32], rates: Sequence[float], seconds: Sequence[float]
    ) -> None:
        """End an iteration: particles belong to the ranks that worked on them.

        Parameters
        ----------
        done_by
            int32, (n,); rank that worked on each particle, -1 for none; alike on all ranks.
        rates
            `measured_rate` of each rank.
        seconds
            Until each rank had nothing left to claim.
        """
        if self._is_static or self._comm.size == 1:
            return
        # what equal devices did in the first iteration depends on who compiled and read faster
        is_first, self._is_first = self._is_first, False
        if is_first and self._speeds_are_known:
            return
        guests = set()
        # mostly everybody has kept to the own share
        for half, order in enumerate(self.orders if (done_by != self.owners).any() else ()):
            for rank in range(self._comm.size):
                mine = order[done_by[order] == rank]
                if not len(self._shares[half][rank]) and len(mine):
                    guests.add((half, rank))
                    if (half, rank) not in self._guests:
                        continue  # a half-set more takes a volume more: not for once
                self.owners[mine] = rank
        self._guests = guests
        self._take_speeds(np.asarray(rates, dtype=np.float64))
        if not is_first:  # in which kernels are built
            counts = np.bincount(done_by[done_by >= 0], minlength=self._comm.size)
            self._resting.end_iteration(seconds, counts.tolist())
            self._resting.relieve(self.owners, self.orders, self._speeds)

    def _take_speeds(self, rates: NDArray[np.float64]) -> None:
        """Take speeds from what was measured; ranks that rested keep theirs beside the others'."""
        worked = rates > 0.0
        if all(worked[rank] or rank in self._resting for rank in range(self._comm.size)):
            before = self._speeds / self._speeds[worked].sum()
            speeds = np.where(worked, rates / rates.sum(), before)
            self._speeds, self._speeds_are_known = speeds / speeds.sum(), True

    def close(self) -> None:
        """Give the counters up, on all ranks together."""
        self._counters.close()


def claims_on_all(order: NDArray[np.int64], optics_group: NDArray[np.int64]) -> ShareClaims:
    """Claims of a single process on a list of particles."""
    sharing = WorkSharing(Communicator(), [order], optics_group, [1.0])
    sharing.begin(np.ones(len(optics_group), dtype=np.bool_), [order])
    return sharing.claims(0, helps=False)
