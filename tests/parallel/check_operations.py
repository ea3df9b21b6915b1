"""What the communicator promises, checked by each of several ranks: run under mpirun.

    mpirun -n 3 python tests/parallel/check_operations.py
"""

from __future__ import annotations

import os
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
from numpy.typing import NDArray

from clrelion.errors import OptionsError, PeerFailed
from clrelion.expectation.whole_sums import WholeSums, WholeUnits
from clrelion.fourier.padded import centred_shape
from clrelion.maximization.across_ranks import HalfSums
from clrelion.maximization.half_maps import half_set_fsc
from clrelion.maximization.reduction import VolumeReduction
from clrelion.maximization.sums import BackprojectionSums, join_low_resolution
from clrelion.parallel.common_arrays import CommonArrays
from clrelion.parallel.common_columns import CommonColumns
from clrelion.parallel.common_rows import CommonRows
from clrelion.parallel.communicator import Communicator
from clrelion.parallel.exchange import BlockExchange
from clrelion.parallel.launch import join_ranks
from clrelion.parallel.mpi import MpiCommunicator

PADDING, R_MAX, ORI_SIZE = 2.0, 6, 16
SHAPE = centred_shape(PADDING, R_MAX)


def volume(seed: int) -> BackprojectionSums:
    """Random sums in single precision."""
    rng = np.random.default_rng(seed)
    data = rng.normal(size=SHAPE) + 1j * rng.normal(size=SHAPE)
    weight = rng.uniform(0.5, 1.5, size=SHAPE)
    return BackprojectionSums(
        data.astype(np.complex64), weight.astype(np.float32), PADDING, R_MAX, ORI_SIZE
    )


def messages(comm: Communicator) -> None:
    """Values and arrays arrive, from every rank and larger than one piece."""
    n = comm.size
    for root in range(n):
        found = comm.bcast({"from": comm.rank, "text": "Å" * 1000}, root)
        assert found["from"] == root
    assert comm.allgather([comm.rank] * comm.rank) == [[r] * r for r in range(n)]
    large = np.full(9 * 2**20, comm.rank, dtype=np.float64)  # more than one piece
    comm.bcast_array(large, n - 1)
    assert (large == n - 1).all()
    of_ranks = comm.allgather((comm.rank, large[: 3 * 2**20] + comm.rank))
    for rank, (number, part) in enumerate(of_ranks):
        assert number == rank
        assert (part == n - 1 + rank).all()


def rows(comm: Communicator) -> None:
    """Columns of the other ranks, one of which has none; of all widths, and again and again."""
    n = comm.size
    common = CommonRows(comm)
    for turn in range(4):
        numbers = range(turn, turn + n)
        # every other row, the last ones first, of columns with more rows
        mine = 2 * np.arange(numbers[comm.rank] if comm.rank else 0)[::-1] + 1
        every = np.arange(2 * (turn + n) + 2)
        others = []
        for rank, ids, (flags, values) in common.of_others(
            mine, [every % 3 == 1, every + comm.rank / 8]
        ):
            others.append(rank)
            count = numbers[rank] if rank else 0
            expected = [2 * i + 1 for i in reversed(range(count))]
            assert ids.tolist() == expected
            assert values.tolist() == [i + rank / 8 for i in expected]
            assert flags.tolist() == [i % 3 == 1 for i in expected]
            assert [one.dtype.str for one in (ids, flags, values)] == ["<i8", "|b1", "<f8"]
        assert others == [rank for rank in range(n) if rank != comm.rank]
        comm.barrier()


def columns(comm: Communicator) -> None:
    """Rows that each rank has filled are there on all; what was filled before stays as it was."""
    n = comm.size
    common = CommonColumns(comm, 1001, [np.float64, np.int64])
    every = np.arange(1001)
    filler = (7 * every + 3) % (n + 1) - 1  # -1: nobody
    before = np.zeros(1001)
    present, kept = before, before
    for turn in range(4):
        filled = common.begin(present)
        comm.barrier()
        assert (filled.done_by == -1).all()
        comm.barrier()
        mine = np.flatnonzero(filler == comm.rank)
        filled.values[0][mine] = turn + mine / 8
        filled.values[1][mine] = turn - mine
        filled.done_by[mine] = comm.rank
        comm.barrier()
        common.join(filled)
        assert (filled.done_by == filler).all()
        is_done = filler >= 0
        assert (filled.values[0][is_done] == (turn + every / 8)[is_done]).all()
        assert (filled.values[1][is_done] == (turn - every)[is_done]).all()
        np.testing.assert_array_equal(present, kept)
        if turn != 1:  # once it is tried again
            present = filled.values[0]
        kept = present.copy()
        comm.barrier()


def two_nodes(comm: Communicator) -> None:
    """As if the last rank were on a node of its own."""
    assert isinstance(comm, MpiCommunicator)
    nodes, leaders, last = comm.nodes, comm._leaders, comm.size - 1
    is_leader = comm.rank in (0, last)
    comm._leaders = comm._comm.Split(0 if is_leader else comm._mpi.UNDEFINED)
    comm.nodes = [0] * last + [last]
    rows(comm)
    columns(comm)
    common_arrays(comm)
    comm.nodes, comm._leaders = nodes, leaders


def failures(comm: Communicator) -> None:
    """What goes wrong on one rank is known to all."""

    def wrong() -> None:
        raise OptionsError("wrong")

    for attempt in (
        lambda: comm.from_first(wrong),
        lambda: comm.on_all(wrong if comm.rank == 0 else lambda: None),
    ):
        expected = OptionsError if comm.is_first else PeerFailed
        with pytest.raises(expected, match="wrong" if comm.is_first else "rank 0"):
            attempt()
        assert comm.has_agreed_to_fail
        comm.has_agreed_to_fail = False
    assert comm.from_first(lambda: comm.rank) == 0
    assert comm.on_all(lambda: comm.rank) == comm.rank


def counters(comm: Communicator) -> None:
    """Every number is given out once, whoever asks."""
    counts = comm.counters(2)
    with comm.progressing():
        for _ in range(4):
            counts.reset()
            mine = [counts.add(comm.size - 1, 1, 3) for _ in range(200)]
            everybody = sorted(value for part in comm.allgather(mine) for value in part)
            assert everybody == list(range(0, 3 * 200 * comm.size, 3))
            assert counts.add(0, 0, 0) == 0
    counts.close()


def reduction(comm: Communicator, exchange: BlockExchange, is_ordered: bool) -> None:
    """Volumes arrive where they belong, while their owner is still at work."""
    n = comm.size
    owners = [r % n for r in range(n + 1)]
    # rank r has all volumes but number r
    mine = {i: volume(100 * comm.rank + i) for i in range(n + 1) if i != comm.rank}
    with VolumeReduction(
        comm, exchange, owners, PADDING, R_MAX, ORI_SIZE, np.float32, is_ordered
    ) as adding:
        time.sleep(0.05 * comm.rank)
        total = adding.finish(mine)
    assert sorted(total) == [i for i in range(n + 1) if owners[i] == comm.rank]
    for number, found in total.items():
        parts = [volume(100 * r + number) for r in range(n) if r != number]
        assert isinstance(found, BackprojectionSums)
        expected = sum(part.data.astype(np.complex128) for part in parts)
        np.testing.assert_allclose(found.data, expected, atol=1e-5)
        np.testing.assert_allclose(found.weight, sum(p.weight for p in parts), atol=1e-5)
    assert not any(thread.name == "reduction" for thread in threading.enumerate())


class Counted:
    """Whole numbers of all classes, in place of those of a device."""

    edge = SHAPE[0]

    def __init__(self, numbers: NDArray[np.int64], units: WholeUnits | None) -> None:
        self.numbers, self._units = numbers, units

    def whole_units(self) -> WholeUnits | None:
        return self._units

    def read_whole(self, first: int, last: int, block: NDArray[np.int64]) -> None:
        block[...] = self.numbers[first:last]

    def add_whole(self, first: int, block: NDArray[np.int64]) -> None:
        self.numbers[first : first + len(block)] += block

    def sums(self) -> list[BackprojectionSums]:
        numbers = (2.0**-40 * self.numbers).astype(np.float32).reshape(-1, *SHAPE, 3)
        return [
            BackprojectionSums(
                one[..., 0] + 1j * one[..., 1], one[..., 2], PADDING, R_MAX, ORI_SIZE
            )
            for one in numbers
        ]


def whole_numbers(comm: Communicator, exchange: BlockExchange) -> None:
    """Whole numbers add up exactly; where the ranks do not agree on their units, reals do."""
    n, owners = comm.size, [1 % comm.size, 0]
    shape = 2 * SHAPE[0], *SHAPE[1:], 3
    everybody = [
        np.random.default_rng(r).integers(-(2**40), 2**40, shape) + (r == 0) for r in range(n)
    ]
    for agrees in (True, False):
        room = 0.9 / n if agrees else 0.9
        units = WholeUnits((2.0**40, 2.0**40), (room, room))
        own: Any = Counted(everybody[comm.rank].copy(), units)
        mine = {place: WholeSums(own, place) for place in range(2)}
        with VolumeReduction(
            comm, exchange, owners, PADDING, R_MAX, ORI_SIZE, np.float32, True
        ) as adding:
            total = adding.finish(mine)
        assert sorted(total) == [i for i in range(2) if owners[i] == comm.rank]
        expected = Counted(np.sum(everybody, axis=0), None).sums()
        for number, found in total.items():
            assert isinstance(found, BackprojectionSums)
            if agrees:
                np.testing.assert_array_equal(found.data, expected[number].data)
                np.testing.assert_array_equal(found.weight, expected[number].weight)
            else:
                np.testing.assert_allclose(found.data, expected[number].data, atol=1e-6)
                assert n == 1 or (found.data != expected[number].data).any()


def halves(comm: Communicator, exchange: BlockExchange) -> None:
    """Half-sets on two ranks are joined and compared as on one."""
    one, two = volume(1), volume(2)
    two.data += 2.0 * one.data  # something in common
    join_low_resolution(one, two, 3)
    expected = half_set_fsc(one, two)
    for owners in ((0, comm.size - 1), (comm.size - 1, 0), (0, 0)):
        first, second = volume(1), volume(2)
        second.data += 2.0 * first.data
        given = [
            half if owner == comm.rank else None
            for half, owner in zip((first, second), owners, strict=True)
        ]
        across = HalfSums(comm, exchange, owners, given, np.float32)
        across.join_low_resolution(3)
        np.testing.assert_allclose(across.fsc(), expected, atol=1e-6)
        total = across.joined()
        assert (total is not None) == (comm.rank == owners[0])
        if total is not None:
            assert isinstance(total, BackprojectionSums)
            np.testing.assert_allclose(total.data, one.data + two.data, atol=1e-5)
            np.testing.assert_allclose(total.weight, one.weight + two.weight, atol=1e-5)


def common_arrays(comm: Communicator) -> None:
    """All ranks see what each has filled; what was shared before stays as it was."""
    common = CommonArrays(comm)
    owners = [comm.size - 1, 0, 0]
    before: list[np.ndarray] = []
    for turn in range(4):
        mine = {
            i: ((3 + i, 5), np.float32 if i else np.float64)
            for i, owner in enumerate(owners)
            if owner == comm.rank
        }
        arrays = common.lay_out(mine, owners)
        for i in mine:
            arrays[i][...] = 100 * turn + 10 * comm.rank + i
        common.spread()
        for i, array in enumerate(arrays):
            assert array.shape == (3 + i, 5)
            assert array.dtype == (np.float32 if i else np.float64)
            assert (array == 100 * turn + 10 * owners[i] + i).all()
        if before:
            assert (before[0] == 100 * (turn - 1) + 10 * owners[0]).all()
        before = arrays
        comm.barrier()


def no_room_on_the_node(comm: Communicator) -> None:
    """Without memory in common everything goes by messages, of which rank 0 tells once."""
    folder = Path("/dev/shm")
    assert not list(folder.glob(f"clrelion-{os.getpid()}-*"))
    comm.barrier()
    told = mock.Mock()
    # on one node of several, say
    place = Path("/no/such/folder") if comm.rank == comm.nodes[comm.rank] else folder
    with (
        mock.patch("clrelion.parallel.node_memory._FOLDER", place),
        mock.patch("clrelion.parallel.exchange._log.warning", told),
        mock.patch("clrelion.parallel.common_arrays._log.warning", told),
    ):
        exchange = BlockExchange(comm, 2**20)
        reduction(comm, exchange, is_ordered=False)
        halves(comm, exchange)
        common_arrays(comm)
        columns(comm)
        exchange.close()
    # the exchange, the arrays, and those that carry the rows of the columns
    assert told.call_count == (3 if comm.is_first else 0)


def main() -> int:
    """Check everything on this rank; if it is not content, no rank waits for it."""
    comm = join_ranks()
    try:
        check(comm)
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        comm.abort(1)
    sys.stdout.write(f"rank {comm.rank} of {comm.size} is content\n")
    return 0


def check(comm: Communicator) -> None:
    """Check everything."""
    assert comm.size == int(sys.argv[1]), comm.size
    assert (comm.local_rank, comm.local_size) == (comm.rank, comm.size)
    messages(comm)
    rows(comm)
    columns(comm)
    two_nodes(comm)
    failures(comm)
    counters(comm)
    # through memory of the node, and by messages as between nodes
    for block_bytes in (2**20, 1):
        exchange = BlockExchange(comm, block_bytes)
        for is_ordered in (False, True):
            reduction(comm, exchange, is_ordered)
        whole_numbers(comm, exchange)
        halves(comm, exchange)
        exchange.close()
    common_arrays(comm)
    no_room_on_the_node(comm)
    comm.barrier()


if __name__ == "__main__":
    sys.exit(main())
