"""Shares of particles and claims on them, with ranks that are threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from clrelion.parallel.communicator import Communicator, Counters
from clrelion.parallel.first_shares import initial_owners
from clrelion.parallel.sharing import RankEnd, WorkSharing
from tests.expectation.small_run import claims_on_all


class Board:
    """What the threads share."""

    def __init__(self, size: int) -> None:
        self.lock = threading.Lock()
        self.values = np.zeros((size, 2), dtype=np.int64)
        # a rank that fails must not let the others wait
        self.barrier = threading.Barrier(size, timeout=30)
        self.results: list[Any] = [None] * size


class BoardCounters(Counters):
    """Counters that any thread may raise."""

    def __init__(self, board: Board) -> None:
        self._board = board

    def reset(self) -> None:
        self._board.barrier.wait()
        self._board.values[:] = 0
        self._board.barrier.wait()

    def add(self, rank: int, index: int, amount: int) -> int:
        with self._board.lock:
            before = int(self._board.values[rank, index])
            self._board.values[rank, index] += amount
        return before


class ThreadRank(Communicator):
    """One of several ranks of this process."""

    def __init__(self, rank: int, size: int, board: Board) -> None:
        super().__init__()
        self.rank, self.size = rank, size
        self._board = board

    def counters(self, n: int) -> Counters:
        return BoardCounters(self._board)


def run_ranks(size: int, work: Callable[[Communicator], Any]) -> list[Any]:
    """Let each of several threads do the work of a rank; raise the error of one that fails."""
    board = Board(size)
    with ThreadPoolExecutor(size) as pool:
        of_ranks = [pool.submit(work, ThreadRank(rank, size, board)) for rank in range(size)]
        return [of_rank.result() for of_rank in of_ranks]


ORDERS = [np.arange(0, 200)[::-1], np.arange(200, 397)]
GROUPS = np.repeat([0, 1, 2], [100, 150, 147])


@pytest.mark.parametrize("n_ranks", [1, 2, 3, 4, 7])
def test_shares_follow_the_weights(n_ranks: int) -> None:
    weights = np.linspace(1.0, 2.0, n_ranks)
    owners = initial_owners(ORDERS, 400, weights.tolist())
    assert (owners[397:] == -1).all()
    counts = np.bincount(owners[:397], minlength=n_ranks)
    assert np.abs(counts / 397 - weights / weights.sum()).max() < 0.06
    # a rank's particles of a half-set are neighbours in its processing order
    for order in ORDERS:
        assert (np.diff(owners[order]) >= 0).all()


def test_equal_ranks_have_a_half_set_each() -> None:
    """Also where the half-sets are not quite equal: one particle more is not worth a volume."""
    owners = initial_owners(ORDERS, 397, [1.0, 1.0])
    assert set(owners[ORDERS[0]]) == {0}
    assert set(owners[ORDERS[1]]) == {1}


def claim_everything(comm: Communicator, limit: int) -> Any:
    """Work through some iterations; give the claims of the last, and the owners."""
    sharing = WorkSharing(comm, ORDERS, GROUPS, [1.0] * comm.size)
    claimed: list[np.ndarray] = []
    for _ in range(4):
        sharing.begin(ORDERS)
        visits = sharing.visits()
        claimed = []
        while visits:
            half, helps = visits.pop(0)
            claims = sharing.claims(half, helps)
            while (group := claims.next_group()) is not None:
                while len(ids := claims.claim(group, limit)):
                    assert (GROUPS[ids] == group).all()
                    assert len(ids) <= limit
                    claimed.append(ids)
            if not visits and (behind := sharing.half_to_help(0.0)) is not None:
                visits = [(behind, True)]
        mine = np.concatenate(claimed) if claimed else np.empty(0, dtype=np.int64)
        everybody = share_results(comm, mine)
        done_by = np.full(397, -1, dtype=np.int32)
        for rank, ids in enumerate(everybody):
            done_by[ids] = rank
        sharing.finish(done_by, [RankEnd(1.0, 1.0, len(ids)) for ids in everybody])
    return mine, sharing.shares.owners


def share_results(comm: Communicator, mine: np.ndarray) -> list[np.ndarray]:
    """Give each thread what all have done."""
    if comm.size == 1:
        return [mine]
    assert isinstance(comm, ThreadRank)
    board = comm._board
    board.results[comm.rank] = mine
    board.barrier.wait()
    found = list(board.results)
    board.barrier.wait()
    return found


@pytest.mark.parametrize("n_ranks", [1, 2, 3, 5])
@pytest.mark.parametrize("limit", [1000, 7])
def test_each_particle_is_claimed_once(n_ranks: int, limit: int) -> None:
    found = run_ranks(n_ranks, lambda comm: claim_everything(comm, limit))
    claimed = np.concatenate([mine for mine, _ in found])
    assert sorted(claimed.tolist()) == list(range(397))
    for _, owners in found[1:]:
        np.testing.assert_array_equal(owners, found[0][1])


class ClockedRank(ThreadRank):
    """A rank in a simulation, in which one thread plays all ranks."""

    def counters(self, n: int) -> Counters:
        counters = BoardCounters(self._board)
        counters.reset = lambda: None  # type: ignore[method-assign]
        return counters


def work_by_claims(sharing: WorkSharing, seconds: float, done: list[int]) -> Iterator[float]:
    """Work through an iteration, and tell how long each claim takes."""
    visits = sharing.visits()
    while visits:
        half, helps = visits.pop(0)
        claims = sharing.claims(half, helps)
        while (group := claims.next_group()) is not None:
            while len(ids := claims.claim(group, 1000)):
                done += ids.tolist()
                yield seconds * len(ids)
                sharing.count_done(len(ids))
        if not visits and (behind := sharing.half_to_help(0.0)) is not None:
            visits = [(behind, True)]


def test_unequal_ranks_end_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rank five times as fast does about five times as much, and keeps it."""
    seconds, board, now = [1.0, 5.0], Board(2), [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    ranks = [WorkSharing(ClockedRank(r, 2, board), ORDERS, GROUPS, [1.0, 1.0]) for r in (0, 1)]
    for _ in range(4):
        board.values[:] = 0
        now[0] = 0.0
        for one in ranks:
            one.begin(ORDERS)
        done: list[list[int]] = [[], []]
        work = [work_by_claims(ranks[r], seconds[r], done[r]) for r in (0, 1)]
        ended = clocked(work, now)
        done_by = np.full(397, -1, dtype=np.int32)
        for rank in (0, 1):
            done_by[done[rank]] = rank
        assert (done_by >= 0).all()
        ends = [ranks[r].end_of_rank(ended[r], len(done[r])) for r in (0, 1)]
        for one in ranks:
            one.finish(done_by, ends)
    # 331 seconds if nothing were lost; with equal shares it would be 990
    assert max(ended) < 1.15 * 397 * 5 / 6
    assert max(ended) - min(ended) < 45  # the last claim of the slow one
    assert 4.0 < len(done[0]) / len(done[1]) < 6.0
    assert (ranks[0].shares.owners == done_by).all()


def work_ahead(
    sharing: WorkSharing, cost: tuple[float, float, float], done: list[int]
) -> Iterator[float]:
    """Work as a device does that reads its images: each batch is claimed before the last is done.

    ``cost`` is seconds of the first batch beside its particles, of each batch, and a particle.
    """
    first, each, particle = cost
    visits = sharing.visits()
    while True:
        if not visits and (behind := sharing.half_to_help(0.0)) is not None:
            visits = [(behind, True)]
        if not visits:
            return
        half, helps = visits.pop(0)
        claims = sharing.claims(half, helps)
        while (group := claims.next_group()) is not None:
            current = claims.claim(group, 2000)
            while len(current):
                following = claims.claim(group, 2000)
                done += current.tolist()
                yield first + each + particle * len(current)
                first = 0.0
                sharing.count_done(len(current))
                current = following if len(following) else claims.claim(group, 2000)


@pytest.mark.parametrize("slowness", [5, 40, 200])
@pytest.mark.parametrize("guess", [0.5, 0.064])
def test_a_device_of_unknown_speed(
    monkeypatch: pytest.MonkeyPatch, slowness: int, guess: float
) -> None:
    """It ends with the others, the first iteration but for what its first batches take."""
    n, seconds, batch, built = 20000, 5e-4, 0.02, 3.0
    order, groups = [np.arange(n)], np.zeros(n, dtype=np.int64)
    costs = [(built, batch, seconds), (built, batch, slowness * seconds)]
    board, now = Board(2), [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    ranks = [WorkSharing(ClockedRank(r, 2, board), order, groups, [1.0, guess]) for r in (0, 1)]
    for iteration in range(4):
        board.values[:] = 0
        now[0] = 0.0
        for one in ranks:
            one.begin(order)
        done: list[list[int]] = [[], []]
        work = [work_ahead(ranks[r], costs[r], done[r]) for r in (0, 1)]
        ended = clocked(work, now)
        counts = [len(of_rank) for of_rank in done]
        assert sum(counts) == n
        done_by = np.zeros(n, dtype=np.int32)
        done_by[done[1]] = 1
        ends = [ranks[r].end_of_rank(ended[r], len(done[r])) for r in (0, 1)]
        for one in ranks:
            one.finish(done_by, ends)
        ideal = n * seconds * slowness / (slowness + 1)
        late = built if iteration == 0 else 0.0
        assert max(ended) - min(ended) < 0.1 * ideal + late
        if iteration > 0:
            assert max(ended) < 1.15 * ideal + batch * n / 2000
        costs = [(0.0, *cost[1:]) for cost in costs]


def test_a_device_that_takes_longer_to_begin_than_the_others_for_everything(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It rests, is tried again now and then, and takes part once steps are long enough."""
    n, seconds, begins = 20000, (5e-5, 1e-3), (0.02, 1.5)
    order, groups = [np.arange(n)], np.zeros(n, dtype=np.int64)
    board, now = Board(2), [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    ranks = [WorkSharing(ClockedRank(r, 2, board), order, groups, [1.0, 0.06]) for r in (0, 1)]
    counts, times = [], []
    for iteration in range(16):
        longer = 1.0 if iteration < 10 else 10.0  # finer sampling
        board.values[:] = 0
        now[0] = 0.0
        for one in ranks:
            one.begin(order)
        done: list[list[int]] = [[], []]
        work = [
            work_ahead(ranks[r], (begins[r], 0.02, longer * seconds[r]), done[r]) for r in (0, 1)
        ]
        ended = clocked(work, now)
        done_by = np.zeros(n, dtype=np.int32)
        done_by[done[1]] = 1
        ends = [ranks[r].end_of_rank(ended[r], len(done[r])) for r in (0, 1)]
        for one in ranks:
            one.finish(done_by, ends)
        assert (ranks[0].shares.owners == ranks[1].shares.owners).all()
        assert sum(map(len, done)) == n
        counts.append(len(done[1]))
        times.append(max(ended) / longer)
    alone = n * seconds[0]
    rested = [count == 0 for count in counts]
    assert not rested[1]
    assert sum(rested[2:10]) >= 6
    assert all(took < 1.3 * alone for took, rests in zip(times, rested, strict=True) if rests)
    # beside the other for 8.5 s of 10 it does some 800
    assert counts[-1] > 400
    assert max(times[-2:]) < 1.02 * alone


def clocked(work: Sequence[Iterator[float]], now: list[float]) -> list[float]:
    """Let ranks work side by side; tell when each ends."""
    clocks, ended = dict.fromkeys(range(len(work)), 0.0), [0.0] * len(work)
    while clocks:
        rank = min(clocks, key=lambda r: clocks[r])
        now[0] = clocks[rank]
        took = next(work[rank], None)
        if took is None:
            ended[rank] = clocks.pop(rank)
        else:
            clocks[rank] += took
    return ended


@pytest.mark.parametrize(
    ("seconds_each", "n_batches"),
    [(1e-4, 4), (1.0, 9)],  # all within a tenth of a second; small enough to end together
)
def test_batches_are_small_only_where_that_takes_time(
    monkeypatch: pytest.MonkeyPatch, seconds_each: float, n_batches: int
) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    sharing = WorkSharing(ClockedRank(0, 2, Board(2)), ORDERS, GROUPS, [1.0, 1.0])
    sharing.begin(ORDERS)
    half = sharing.visits()[0][0]
    claims, sizes = sharing.claims(half, helps=False), []
    while (group := claims.next_group()) is not None:
        while n := len(claims.claim(group, 64)):
            sizes.append(n)
            now[0] += seconds_each * n
            sharing.count_done(n)
    assert sum(sizes) == len(sharing.shares.of(half, 0)) > 3 * 64
    assert len(sizes) == n_batches
    if n_batches == 4:  # of about one size, but for the border of an optics group
        assert min(sizes) > 40


def test_help_for_once_moves_nothing() -> None:
    """Where all are equally fast, an iteration that one rank is late leaves the shares alone."""

    def work(comm: Communicator) -> Any:
        sharing = WorkSharing(comm, ORDERS, GROUPS, [1.0, 1.0])
        before = sharing.shares.owners.copy()
        late = before.copy()
        late[ORDERS[0][:40]] = 1  # rank 1 did these of rank 0's half-set
        moved = []
        for done_by in (late, before, late, before, late, late):
            sharing.begin(ORDERS)
            sharing.finish(done_by, [RankEnd(1.0, 1.0, 200)] * 2)
            moved.append(int((sharing.shares.owners != before).sum()))
        return moved

    for moved in run_ranks(2, work):
        assert moved == [0, 0, 0, 0, 0, 40]


def test_help_that_costs_more_than_it_gains_is_not_given() -> None:
    """What its owner does from its device at once is not read again by another."""
    sharing = WorkSharing(ThreadRank(0, 2, Board(2)), ORDERS, GROUPS, [1.0, 1.0])
    sharing._speeds._started = time.monotonic() - 1.0
    sharing.count_done(1000)  # particles a second, of both ranks
    assert sharing._help_with(1, 50) in (25, 26)
    sharing.seconds_to_fetch = 1e-3
    assert sharing._help_with(1, 50) == 0
    assert 300 < sharing._help_with(1, 1000) < 350


def test_a_single_process_takes_whole_batches_in_order() -> None:
    claims = claims_on_all(ORDERS[0], GROUPS)
    taken = []
    while (group := claims.next_group()) is not None:
        while len(ids := claims.claim(group, 64)):
            taken.append(ids)
    np.testing.assert_array_equal(np.concatenate(taken), ORDERS[0])
    assert [len(ids) for ids in taken] == [64, 36, 64, 36]


def test_static_shares_are_not_helped_with() -> None:
    def work(comm: Communicator) -> Any:
        sharing = WorkSharing(comm, ORDERS, GROUPS, [1.0, 3.0], is_static=True)
        sharing.begin(ORDERS)
        assert all(not helps for _, helps in sharing.visits())
        assert sharing.half_to_help(0.0) is None
        claims = sharing.claims(0, helps=True)
        taken = 0
        while (group := claims.next_group()) is not None:
            taken += len(claims.claim(group, 10**6))
        return taken, len(sharing.shares.of(0, comm.rank))

    for taken, share in run_ranks(2, work):
        assert taken == share
