"""Back-projection sums of several ranks, added up where they are reconstructed.

Each volume has an owner.  A rank sends the volumes of others block by block as soon as it has
nothing more to claim.  As long as the owner is at work itself, a thread of it adds them up in host
memory; then it adds what comes straight to its own.  An owner holds one volume more at most for
each that it owns, however many ranks there are.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

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
        Add in the order of the ranks, so that a repeat gives the same bits; else in the order in
        which they are ready.
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
        self._error: BaseException | None = None
        self._ended = False
        others = [rank for rank in range(comm.size) if rank != comm.rank]
        self._receives: list[Iterator[bool]] = []
        if self._own and is_ordered:
            self._receives = [self._one_after_the_other(others)]
        elif self._own:
            self._receives = [self._receiving(rank) for rank in others]
        self._thread: threading.Thread | None = None
        if self._receives:
            self._thread = threading.Thread(target=self._receive, name="reduction", daemon=True)
            self._thread.start()

    def finish(self, volumes: Mapping[int, VolumeSums]) -> dict[int, VolumeSums]:
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
        if not self._is_ordered:
            self._mine = volumes
        take_turns([self._sending(volumes), *self._receives], self._comm)
        return {
            number: self._joined(volumes.get(number), self._on_host.pop(number, {}))
            for number in self._own
            if number in volumes or number in self._on_host
        }

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

    def _blocks(self) -> Iterator[tuple[int, int]]:
        return plane_blocks(self._shape, self._dtype)

    def _sending(self, volumes: Mapping[int, VolumeSums]) -> Iterator[bool]:
        """Send each owner what it owns: first what there is, then the blocks."""
        comm = self._comm
        for step in range(1, comm.size):
            owner = (comm.rank + step) % comm.size
            wanted = [i for i, other in enumerate(self._owners) if other == owner]
            if not wanted:
                continue
            header = np.array([i in volumes for i in wanted], dtype=np.int8)
            is_sent = comm.start_send(header, owner, _HEADER)
            for number in wanted:
                if number in volumes:
                    yield from self._sending_one(volumes[number], owner)
            while not is_sent():
                yield False

    def _sending_one(self, volume: VolumeSums, owner: int) -> Iterator[bool]:
        row, fill = (*self._shape[1:], 4), partial(read_planes, volume)
        return sending(self._exchange, owner, _BLOCK, self._blocks(), row, self._dtype, fill)

    def _one_after_the_other(self, ranks: Sequence[int]) -> Iterator[bool]:
        for rank in ranks:
            yield from self._receiving(rank)

    def _receiving(self, rank: int) -> Iterator[bool]:
        while not self._comm.has_message(rank, _HEADER):
            yield False
        header = np.zeros(len(self._own), dtype=np.int8)
        self._comm.receive(header, rank, _HEADER)
        row = (*self._shape[1:], 4)
        for number, is_there in zip(self._own, header, strict=True):
            if is_there:
                yield from receiving(
                    self._exchange, rank, _BLOCK, self._blocks(), row, self._dtype,
                    partial(self._add, number),
                )  # fmt: skip

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
