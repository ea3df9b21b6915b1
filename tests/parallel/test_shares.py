"""Who owns which particles: what follows from it, and when it is found out anew."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from clrelion.parallel.communicator import Communicator
from clrelion.parallel.shares import Shares
from clrelion.parallel.sharing import RankEnd, WorkSharing
from tests.parallel.test_sharing import GROUPS, Board, ThreadRank, run_ranks

N_RANKS = 3


def orders_of(seed: int, n: int = 397) -> list[np.ndarray]:
    """Two shuffled half-sets, optics groups contiguous; nobody can write to them."""
    rng = np.random.default_rng(seed)
    halves = np.split(rng.permutation(n), [n // 3])
    orders = [half[np.argsort(GROUPS[half], kind="stable")] for half in halves]
    for order in orders:
        order.flags.writeable = False
    return orders


def test_what_follows_from_the_owners() -> None:
    rng = np.random.default_rng(1)
    orders = orders_of(0)
    orders[1] = orders[1][5:]  # five take no part
    owners = rng.integers(0, N_RANKS, 397).astype(np.int32)
    owners[GROUPS == 1] = 2
    shares = Shares(orders, owners.copy(), GROUPS, 1, N_RANKS)
    for half, order in enumerate(orders):
        for rank in range(N_RANKS):
            share = order[owners[order] == rank]
            np.testing.assert_array_equal(shares.of(half, rank), share)
            assert shares.counts[half][rank] == len(share)
            groups = GROUPS[share]
            for place, group in enumerate(groups):
                end = place + int(np.argmin([*(groups[place:] == group), False]))
                assert shares.run_at(half, rank, place) == (group, end)
            for group in range(4):
                assert shares.n_in_group(half, rank, group) == (groups == group).sum()
    np.testing.assert_array_equal(shares.own, np.flatnonzero(owners == 1))
    np.testing.assert_array_equal(shares.rows_of_ranks, np.bincount(owners))
    for array in (shares.owners, shares.own):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


def test_shares_are_found_out_anew_where_something_has_changed() -> None:
    orders = orders_of(0)
    sharing = WorkSharing(Communicator(), orders, GROUPS, [1.0])

    def are_new(*arguments: Any) -> bool:
        before = sharing.shares
        sharing.begin(*arguments)
        expected = [o[~np.isin(o, list((*arguments, ())[1]))] for o in arguments[0]]
        for half, order in enumerate(expected):
            np.testing.assert_array_equal(sharing.shares.of(half, 0), order)
        return sharing.shares is not before

    assert not are_new(orders)
    assert are_new(orders, {3, 5})
    assert not are_new(orders, {5: "a", 3: "b"})
    assert are_new(orders)
    assert are_new(orders_of(0))
    assert are_new(orders_of(1))
    assert are_new(orders[:1])
    writable = [order.copy() for order in orders]
    for _ in range(2):
        assert are_new(writable)
        writable[0][:] = writable[0][::-1].copy()


def test_owners_after_an_iteration() -> None:
    """As if each particle were looked at, if there is somebody who was helped or left out."""
    orders = orders_of(2)

    def work(comm: Communicator) -> Any:
        sharing = WorkSharing(comm, orders, GROUPS, [1.0, 2.0, 1.5])
        rng = np.random.default_rng(3)
        for moved in (0.0, 0.3, 0.0, 0.1):
            left_out = set(rng.integers(0, 397, 4).tolist())
            sharing.begin(orders, left_out)
            before = sharing.shares
            done_by = before.owners.copy()
            late = rng.random(397) < moved
            done_by[late] = rng.integers(0, N_RANKS, int(late.sum()))
            done_by[list(left_out)] = -1
            done_by[7] = -1  # without a finite weight
            guests = {
                (half, rank)
                for half in range(2)
                for rank in range(N_RANKS)
                if not before.counts[half][rank]
            } - sharing._guests
            expected = before.owners.copy()
            for half, order in enumerate(before.orders):
                for i in order:
                    if done_by[i] >= 0 and (half, int(done_by[i])) not in guests:
                        expected[i] = done_by[i]
            sharing.finish(done_by, [RankEnd(1.0, 1.0, 100)] * N_RANKS)
            np.testing.assert_array_equal(sharing.shares.owners, expected)
            assert (sharing.shares is before) == (moved == 0.0)
            for half, order in enumerate(before.orders):
                for rank in range(N_RANKS):
                    mine = order[expected[order] == rank]
                    np.testing.assert_array_equal(sharing.shares.of(half, rank), mine)
        return sharing.shares.owners

    found = run_ranks(N_RANKS, work)
    for owners in found:
        np.testing.assert_array_equal(owners, found[0])


def test_who_rests_leaves_its_particles_to_the_one_with_most_of_the_half_set() -> None:
    orders = orders_of(4)
    sharing = WorkSharing(ThreadRank(0, N_RANKS, Board(N_RANKS)), orders, GROUPS, [1.0, 1.0, 2.0])
    counts = np.array(sharing.shares.counts)
    owners = sharing.shares.owners.copy()
    sharing._resting._seconds_to_begin[2] = 1.0
    sharing._inherit()
    for half, order in enumerate(orders):
        heir = int(np.argmax(counts[half, :2]))
        mine = order[owners[order] == 2]
        assert (sharing.shares.owners[mine] == heir).all()
        owners[mine] = heir
    np.testing.assert_array_equal(sharing.shares.owners, owners)
    assert not np.array(sharing.shares.counts)[:, 2].any()
