"""Back-projection sums of several ranks, added up where they are reconstructed.

Each volume has an owner.  A rank sends the volumes of others block by block as soon as it has
nothing more to claim; a thread of the owner adds them up meanwhile, in host memory, and in the end
to its own.  An owner holds one volume more for each that it owns, however many ranks there are.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
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

__all__ = ["VolumeReduction"]

_HEADER, _BLOCK = 11, 12
_POLL_SECONDS = 1e-3


class VolumeReduction:
    """The volumes of one expectation step.

    Parameters
    ----------
    comm
        Ranks.
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
        owners: Sequence[int],
        padding_factor: float,
        r_max: int,
        ori_size: int,
        dtype: Any,
        is_ordered: bool,
    ) -> None:
        self._comm = comm
        self._owners = list(owners)
        self._geometry = padding_factor, r_max, ori_size
        self._shape = centred_shape(padding_factor, r_max)
        self._dtype = np.dtype(dtype)
        self._is_ordered = is_ordered
        self._own = [i for i, owner in enumerate(owners) if owner == comm.rank]
        self._received: dict[int, NDArray[Any]] = {}
        self._error: BaseException | None = None
        self._ended = False
        self._thread: threading.Thread | None = None
        if comm.size > 1 and self._own:
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
        comm = self._comm
        for step in range(1, comm.size):
            self._send(volumes, (comm.rank + step) % comm.size)
        if self._thread is not None:
            with comm.activity.waiting():
                self._thread.join()
            if self._error is not None:
                raise self._error
        return {
            number: self._joined(volumes.get(number), self._received.pop(number, None))
            for number in self._own
            if number in volumes or number in self._received
        }

    def __enter__(self) -> VolumeReduction:
        return self

    def __exit__(self, *_: object) -> None:
        self._ended = True  # a rank that fails receives nothing more

    def _joined(self, own: VolumeSums | None, received: NDArray[Any] | None) -> VolumeSums:
        if received is None:
            assert own is not None
            return own
        if own is None:
            return from_planes(received, *self._geometry)
        for first, last in plane_blocks(self._shape, self._dtype):
            add_planes(own, first, received[first:last])
        return own

    def _send(self, volumes: Mapping[int, VolumeSums], owner: int) -> None:
        """Send one owner what it owns: first what there is, then the blocks."""
        wanted = [i for i, other in enumerate(self._owners) if other == owner]
        if not wanted:
            return
        header = np.array([i in volumes for i in wanted], dtype=np.int8)
        self._comm.send(header, owner, _HEADER)
        for number in wanted:
            if number in volumes:
                for first, last in plane_blocks(self._shape, self._dtype):
                    block = read_planes(volumes[number], first, last)
                    self._comm.send(block.astype(self._dtype, copy=False), owner, _BLOCK)
                    self._comm.activity.tick("reduction")

    def _receive(self) -> None:
        """Take in the volumes of the others, in a thread."""
        try:
            comm = self._comm
            waiting = [rank for rank in range(comm.size) if rank != comm.rank]
            while waiting and not self._ended:
                candidates = waiting[:1] if self._is_ordered else waiting
                ready = next((r for r in candidates if comm.has_message(r, _HEADER)), None)
                if ready is None:
                    time.sleep(_POLL_SECONDS)
                    continue
                waiting.remove(ready)
                self._receive_from(ready)
        except BaseException as error:
            self._error = error

    def _receive_from(self, rank: int) -> None:
        header = np.zeros(len(self._own), dtype=np.int8)
        self._comm.receive(header, rank, _HEADER)
        for number, is_there in zip(self._own, header, strict=True):
            if not is_there:
                continue
            total = self._received.get(number)
            if total is None:
                total = self._received[number] = np.empty((*self._shape, 4), dtype=self._dtype)
                for first, last in plane_blocks(self._shape, self._dtype):
                    self._comm.receive(total[first:last], rank, _BLOCK)
                continue
            for first, last in plane_blocks(self._shape, self._dtype):
                block = np.empty((last - first, *self._shape[1:], 4), dtype=self._dtype)
                self._comm.receive(block, rank, _BLOCK)
                total[first:last] += block
