"""The steps on two half-sets whose sums may lie on different ranks.

Each half-set's sums have an owner.  Where both are one rank's, these are the functions of
`clrelion.maximization.volume_steps`; otherwise only what is needed travels: the sphere of low
resolution, the averages for the FSC, and a whole volume when the halves are joined.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clrelion.errors import NumericalError
from clrelion.fourier.shells import round_half_away_int
from clrelion.maximization import volume_steps
from clrelion.maximization.device_fsc import start_averages_fsc
from clrelion.maximization.device_sums import DeviceSums
from clrelion.maximization.half_maps import averages_fsc, downsampled_average
from clrelion.maximization.plane_blocks import (
    add_planes,
    plane_blocks,
    read_box,
    read_planes,
    write_box,
)
from clrelion.maximization.sums import BackprojectionSums
from clrelion.maximization.waiting_sums import VolumeSums, WaitingSums
from clrelion.parallel.communicator import Communicator
from clrelion.parallel.exchange import BlockExchange, receiving, sending, take_turns

__all__ = ["HalfSums"]

_PLANES, _KIND, _AVERAGES, _WHOLE = 21, 22, 23, 24
_AVERAGES_BYTES = 8 * 2**20
"""Averages that travel at a time: one part is read while another is written elsewhere."""


class HalfSums:
    """Sums of the two half-sets, each on its owner.

    Parameters
    ----------
    comm
        Ranks.
    exchange
        Carries volumes.
    owners
        Rank that has the sums of each half-set.
    sums
        Sums of each half-set; None where they are another rank's.
    dtype
        float32 or float64: precision of the run, in which volumes travel.
    """

    def __init__(
        self,
        comm: Communicator,
        exchange: BlockExchange,
        owners: Sequence[int],
        sums: Sequence[VolumeSums | None],
        dtype: Any,
    ) -> None:
        self._comm = comm
        self._exchange = exchange
        self._dtype = np.dtype(dtype)
        self._first, self._second = owners
        self._sums = list(sums)

    @property
    def _mine(self) -> VolumeSums | None:
        """The half-set of which this rank alone is the owner."""
        if self._first == self._second:
            return None
        return next((half for half in self._sums if half is not None), None)

    @property
    def _other_owner(self) -> int:
        return self._second if self._comm.rank == self._first else self._first

    def _both(self) -> tuple[VolumeSums, VolumeSums] | None:
        one, two = self._sums
        return None if one is None or two is None else (one, two)

    def join_low_resolution(self, shell: int) -> None:
        """Average the half-sets within the radius of a shell, in place (specification M 1.5).

        Raises
        ------
        NumericalError
            If the sphere is larger than the data.
        """
        both, mine = self._both(), self._mine
        if both is not None:
            volume_steps.join_low_resolution(*both, shell)
        elif mine is not None and shell >= 0:
            self._join_with_other(mine, shell)

    def _join_with_other(self, mine: VolumeSums, shell: int) -> None:
        if shell > mine.r_max:
            raise NumericalError(
                f"--low_resol_join_halves reaches shell {shell} but the data end at {mine.r_max};"
                " give a larger value in Å"
            )
        radius = round_half_away_int(mine.padding_factor * shell)
        origin = mine.padded_radius + 1
        reach = min(radius, origin)
        corner = origin - reach
        n = 2 * reach + 1
        sphere = np.empty((n, n, reach + 1, 4), dtype=self._dtype)
        read_box(mine, corner, corner, sphere)
        theirs = np.empty_like(sphere)
        self._both_ways(sphere, theirs)
        mean = sphere.dtype.type(0.5) * (sphere + theirs)
        write_box(mine, corner, corner, np.where(_ball(radius, reach), mean, sphere))

    def _both_ways(self, mine: NDArray[Any], theirs: NDArray[Any]) -> None:
        """Swap boxes with the owner of the other half-set, in blocks of planes."""
        parts = list(plane_blocks(mine.shape[:3], mine.dtype))

        def fill(first: int, last: int, block: NDArray[Any]) -> None:
            block[...] = mine[first:last]

        use = partial(_write_rows, theirs)
        other, shape, dtype = self._other_owner, mine.shape[1:], mine.dtype
        tasks = [
            sending(self._exchange, other, _PLANES, parts, shape, dtype, fill),
            receiving(self._exchange, other, _PLANES, parts, shape, dtype, use),
        ]
        take_turns(tasks, self._comm)

    def fsc(self) -> NDArray[np.float64]:
        """Correlate the half-sets, float64 (N/2+1,), on all ranks (specification M 1.6)."""
        both, mine = self._both(), self._mine
        found = np.empty(0)
        if both is not None:
            found = volume_steps.half_set_fsc(*both)
        elif mine is not None and self._comm.rank == self._second:
            self._send_averages(mine)
        elif mine is not None:
            found = self._fsc_with_second(mine)
        return self._comm.bcast(found, self._first)

    def _send_averages(self, mine: VolumeSums) -> None:
        """Send the averages of the second half-set, in the type that they have."""
        sums, averages = _averages(mine)
        kind = np.array([averages.dtype.itemsize], dtype=np.int64)
        self._comm.send(kind, self._first, _KIND)

        def fill(first: int, last: int, block: NDArray[Any]) -> None:
            if isinstance(sums, DeviceSums):
                sums.session.read_rows(averages, first, block)
            else:
                block[...] = averages[first:last]

        task = sending(
            self._exchange, self._first, _AVERAGES, _planes(averages, averages.dtype),
            averages.shape[1:], averages.dtype, fill,
        )  # fmt: skip
        take_turns([task], self._comm)
        if isinstance(sums, DeviceSums):
            # beside the other rank's work
            sums.sum_ahead()

    def _fsc_with_second(self, mine: VolumeSums) -> NDArray[np.float64]:
        """Correlate with the averages of the second half-set, where the first one's are."""
        sums, averages = _averages(mine)
        itemsize = np.empty(1, dtype=np.int64)
        self._comm.receive(itemsize, self._second, _KIND)
        kind = np.dtype(np.complex64 if itemsize[0] == 8 else np.complex128)
        theirs: Any
        if isinstance(sums, DeviceSums):
            # block by block, straight from the memory that the ranks share
            theirs = sums.session.empty(averages.shape, averages.dtype)
            use = partial(sums.session.write_rows, theirs)
        else:
            theirs = np.empty(averages.shape, dtype=averages.dtype)
            use = partial(_write_rows, theirs)
        task = receiving(
            self._exchange, self._second, _AVERAGES, _planes(averages, kind),
            averages.shape[1:], kind, use,
        )  # fmt: skip
        take_turns([task], self._comm)
        if not isinstance(sums, DeviceSums):
            return averages_fsc(averages, theirs, mine.r_max, mine.ori_size)
        found = start_averages_fsc(sums.session, averages, theirs, mine.r_max, mine.ori_size)
        sums.sum_ahead()
        return found()

    def joined(self) -> VolumeSums | None:
        """Add the second half-set to the first; None where another rank has the total."""
        both, mine = self._both(), self._mine
        if both is not None:
            volume_steps.add(*both)
            return both[0]
        if mine is None:
            return None
        shape = mine.data.shape if isinstance(mine, BackprojectionSums) else mine.shape
        blocks = plane_blocks((shape[0], shape[1], shape[2]), self._dtype)
        row = (shape[1], shape[2], 4)
        if self._comm.rank == self._second:
            task = sending(
                self._exchange, self._first, _WHOLE, blocks, row, self._dtype,
                partial(read_planes, mine),
            )  # fmt: skip
        else:
            task = receiving(
                self._exchange, self._second, _WHOLE, blocks, row, self._dtype,
                partial(add_planes, mine),
            )  # fmt: skip
        take_turns([task], self._comm)
        return mine if self._comm.rank == self._first else None


@lru_cache(maxsize=2)
def _ball(radius: int, reach: int) -> NDArray[np.bool_]:
    """Whether voxels lie within a radius, (2 reach + 1, 2 reach + 1, reach + 1, 1)."""
    axis = np.arange(-reach, reach + 1) ** 2
    squared = axis[:, None, None] + axis[:, None] + np.arange(reach + 1) ** 2
    inside = (squared <= radius**2)[..., None]
    inside.setflags(write=False)
    return inside


def _averages(sums: VolumeSums) -> tuple[VolumeSums, Any]:
    """Weighted averages over unpadded Fourier voxels, complex (2r+1, 2r+1, r+1), where they are."""
    if isinstance(sums, WaitingSums):
        sums = sums.on_device()
    if isinstance(sums, DeviceSums):
        return sums, sums.downsampled()
    return sums, downsampled_average(sums)


def _write_rows(rows: NDArray[Any], first: int, block: NDArray[Any]) -> None:
    rows[first : first + len(block)] = block


def _planes(averages: Any, dtype: Any) -> Iterator[tuple[int, int]]:
    """Blocks of planes of averages in the type in which they travel."""
    n, ny, nx = averages.shape
    step = max(1, _AVERAGES_BYTES // (np.dtype(dtype).itemsize * ny * nx))
    for first in range(0, n, step):
        yield first, min(n, first + step)
