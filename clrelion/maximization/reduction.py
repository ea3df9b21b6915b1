"""Back-projection sums of several ranks, added up where they are reconstructed.

Each volume has an owner.  A rank sends the volumes of others block by block as soon as it has
nothing more to claim.  As long as the owner is at work itself, a thread of it adds them up in host
memory; then it adds what comes straight to its own.  An owner holds one volume more at most for
each that it owns, however many ranks there are.

Sums of whole numbers are added as such, so that they do not depend on the number of ranks.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clrelion.expectation.whole_sums import WholeSums, WholeUnits
from clrelion.fourier.padded import centred_shape
from clrelion.maximization.plane_blocks import (
    add_planes,
    from_planes,
    plane_blocks,
    read_planes,
)
from clrelion.maximization.waiting_sums import VolumeSums
from clrelion.parallel.communicator import Communicator
from clrelion.parallel.exchange import BlockExchange, receiving, sending, take_turns

__all__ = ["VolumeReduction"]

_HEADER, _BLOCK = 11, 12


class VolumeReduction:
    """The volumes of one expectation step.

    Parameters
    ----------
    comm
        Ranks.
    exchange
        Carries the blocks.
    owners
        Rank that each volume goes to.
    padding_factor, r_max, ori_size
        Geometry of the volumes.
    dtype
        float32 or float64.
    is_ordered
        Add in the order of the ranks, once all are through, so that a repeat gives the same bits;
        else in the order in which they are ready.
    """

    def __init__(
        self,
        comm: Communicator,
        exchange: BlockExchange,
        owners: Sequence[int],
        padding_factor: float,
        r_max: int,
        ori_size: int,
        dtype: Any,
        is_ordered: bool,
    ) -> None:
        self._comm = comm
        self._exchange = exchange
        self._owners = list(owners)
        self._geometry = padding_factor, r_max, ori_size
        self._shape = centred_shape(padding_factor, r_max)
        self._dtype = np.dtype(dtype)
        self._is_ordered = is_ordered
        self._own = [i for i, owner in enumerate(owners) if owner == comm.rank]
        self._on_host: dict[int, dict[int, NDArray[Any]]] = {}
        self._mine: Mapping[int, VolumeSums] = {}
        self._whole: dict[int, WholeSums | None] = {}
        self._error: BaseException | None = None
        self._ended = False
        others = [rank for rank in range(comm.size) if rank != comm.rank]
        self._receives: list[Iterator[bool]] = []
        if self._own and is_ordered:
            self._receives = [self._one_after_the_other(others)]
        elif self._own:
            self._receives = [self._receiving(rank) for rank in others]
        self._thread: threading.Thread | None = None
        if self._receives and not is_ordered:
            self._thread = threading.Thread(target=self._receive, name="reduction", daemon=True)
            self._thread.start()

    def finish(self, volumes: Mapping[int, VolumeSums | WholeSums]) -> dict[int, VolumeSums]:
        """Send what others own and add up what this rank owns.

        Parameters
        ----------
        volumes
            What this rank has, by number; may be changed.

        Returns
        -------
        dict
            Sums of all ranks of the volumes that this rank owns; those nobody has are missing.
        """
        self._stop()
        reals = self._agreed(volumes)
        if not self._is_ordered:
            self._mine = reals
        take_turns([self._sending(volumes.keys(), reals), *self._receives], self._comm)
        for number in self._own:
            whole = self._whole.get(number)
            if whole is not None:
                reals[number] = whole.to_reals()
        return {
            number: self._joined(reals.get(number), self._on_host.pop(number, {}))
            for number in self._own
            if number in reals or number in self._on_host
        }

    def _agreed(self, volumes: Mapping[int, VolumeSums | WholeSums]) -> dict[int, VolumeSums]:
        """Find out which volumes all ranks can add as whole numbers; give the others as reals."""
        reals = {i: v for i, v in volumes.items() if not isinstance(v, WholeSums)}
        if not self._is_ordered:
            return reals
        mine = {i: v.units if isinstance(v, WholeSums) else None for i, v in volumes.items()}
        of_ranks: list[dict[int, WholeUnits | None]] = self._comm.allgather(mine)
        for number, owner in enumerate(self._owners):
            units = [one[number] for one in of_ranks if number in one]
            own = volumes.get(number)
            if number in of_ranks[owner] and WholeUnits.agree(units):
                self._whole[number] = own if isinstance(own, WholeSums) else None
            elif isinstance(own, WholeSums):
                reals[number] = own.to_reals()
        return reals

    def __enter__(self) -> VolumeReduction:
        return self

    def __exit__(self, *_: object) -> None:
        self._ended = True  # a rank that fails receives nothing more

    def _stop(self) -> None:
        """Let the thread leave what is still to come to this one."""
        self._ended = True
        if self._thread is not None:
            self._thread.join()
        if self._error is not None:
            raise self._error

    def _receive(self) -> None:
        """Take in the volumes of the others, in a thread."""
        try:
            take_turns(self._receives, self._comm, lambda: self._ended, in_background=True)
        except BaseException as error:
            self._error = error

    def _sending(self, numbers: Set[int], reals: Mapping[int, VolumeSums]) -> Iterator[bool]:
        """Send each owner what it owns: first what there is, then the blocks."""
        comm = self._comm
        for step in range(1, comm.size):
            owner = (comm.rank + step) % comm.size
            wanted = [i for i, other in enumerate(self._owners) if other == owner]
            if not wanted:
                continue
            header = np.array([i in numbers for i in wanted], dtype=np.int8)
            is_sent = comm.start_send(header, owner, _HEADER)
            for number in wanted:
                if number in numbers:
                    yield from self._sending_one(number, reals.get(number), owner)
            while not is_sent():
                yield False

    def _sending_one(self, number: int, real: VolumeSums | None, owner: int) -> Iterator[bool]:
        fill: Callable[[int, int, NDArray[Any]], None]
        whole = self._whole.get(number)
        if whole is not None:
            fill = whole.read_planes
        else:
            assert real is not None
            fill = partial(read_planes, real)
        blocks, row, dtype = self._parts(number)
        return sending(self._exchange, owner, _BLOCK, blocks, row, dtype, fill)

    def _parts(self, number: int) -> tuple[Iterator[tuple[int, int]], tuple[int, ...], Any]:
        """Blocks in which a volume travels, shape of a plane, and type."""
        dtype = np.dtype(np.int64) if number in self._whole else self._dtype
        row = (*self._shape[1:], 3 if number in self._whole else 4)
        return plane_blocks(self._shape, dtype), row, dtype

    def _one_after_the_other(self, ranks: Sequence[int]) -> Iterator[bool]:
        for rank in ranks:
            yield from self._receiving(rank)

    def _receiving(self, rank: int) -> Iterator[bool]:
        while not self._comm.has_message(rank, _HEADER):
            yield False
        header = np.zeros(len(self._own), dtype=np.int8)
        self._comm.receive(header, rank, _HEADER)
        for number, is_there in zip(self._own, header, strict=True):
            if is_there:
                whole = self._whole.get(number)
                add = partial(self._add, number) if whole is None else whole.add_planes
                blocks, row, dtype = self._parts(number)
                yield from receiving(self._exchange, rank, _BLOCK, blocks, row, dtype, add)

    def _add(self, number: int, first: int, block: NDArray[Any]) -> None:
        """Add a block to this rank's own volume, or to what waits for it on the host."""
        own = self._mine.get(number)
        if own is not None:
            add_planes(own, first, block)
            return
        waiting = self._on_host.setdefault(number, {})
        if first in waiting:
            waiting[first] += block
        else:
            waiting[first] = block.copy()

    def _joined(self, own: VolumeSums | None, waiting: dict[int, NDArray[Any]]) -> VolumeSums:
        if own is None:
            planes = [waiting[first] for first in sorted(waiting)]
            return from_planes(np.concatenate(planes), *self._geometry)
        for first in sorted(waiting):
            add_planes(own, first, waiting.pop(first))
        return own
