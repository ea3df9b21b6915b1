"""The steps on two half-sets whose sums may lie on different ranks.

Each half-set's sums have an owner.  Where both are one rank's, these are the functions of
`clrelion.maximization.volume_steps`; otherwise only what is needed travels: the sphere of low
resolution, the averages for the FSC, and a whole volume when the halves are joined.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clrelion.errors import NumericalError
from clrelion.fourier.shells import round_half_away_int
from clrelion.maximization import volume_steps
from clrelion.maximization.device_sums import DeviceSums
from clrelion.maximization.half_maps import averages_fsc, downsampled_average
from clrelion.maximization.plane_blocks import (
    add_planes,
    plane_blocks,
    read_planes,
    write_planes,
)
from clrelion.maximization.sums import BackprojectionSums
from clrelion.maximization.waiting_sums import VolumeSums, WaitingSums
from clrelion.parallel.communicator import Communicator

__all__ = ["HalfSums"]

_PLANES, _AVERAGES, _WHOLE = 21, 22, 23


class HalfSums:
    """Sums of the two half-sets, each on its owner.

    Parameters
    ----------
    comm
        Ranks.
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
        owners: Sequence[int],
        sums: Sequence[VolumeSums | None],
        dtype: Any,
    ) -> None:
        self._comm = comm
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
        own = read_planes(mine, origin - reach, origin + reach + 1)
        own = own.astype(self._dtype, copy=False)
        centre = slice(origin - reach, origin + reach + 1)
        sphere = np.ascontiguousarray(own[:, centre, : reach + 1])
        theirs = np.empty_like(sphere)
        self._exchange(sphere, theirs, _PLANES)
        axis = np.arange(-reach, reach + 1) ** 2
        squared = axis[:, None, None] + axis[:, None] + np.arange(reach + 1) ** 2
        inside = (squared <= radius**2)[..., None]
        mean = sphere.dtype.type(0.5) * (sphere + theirs)
        own[:, centre, : reach + 1] = np.where(inside, mean, sphere)
        write_planes(mine, origin - reach, own)

    def _exchange(self, mine: NDArray[Any], theirs: NDArray[Any], tag: int) -> None:
        """Swap arrays with the owner of the other half-set; the lower rank sends first."""
        comm, other = self._comm, self._other_owner
        if comm.rank < other:
            comm.send(mine, other, tag)
            comm.receive(theirs, other, tag)
        else:
            comm.receive(theirs, other, tag)
            comm.send(mine, other, tag)

    def fsc(self) -> NDArray[np.float64]:
        """Correlate the half-sets, float64 (N/2+1,), on all ranks (specification M 1.6)."""
        both, mine = self._both(), self._mine
        found = np.empty(0)
        if both is not None:
            found = volume_steps.half_set_fsc(*both)
        elif mine is not None:
            averages = _averages(mine)
            if self._comm.rank == self._second:
                self._comm.send(averages, self._first, _AVERAGES)
            else:
                theirs = np.empty_like(averages)
                self._comm.receive(theirs, self._second, _AVERAGES)
                found = averages_fsc(averages, theirs, mine.r_max, mine.ori_size)
        return self._comm.bcast(found, self._first)

    def joined(self) -> VolumeSums | None:
        """Add the second half-set to the first; None where another rank has the total."""
        both, mine = self._both(), self._mine
        if both is not None:
            volume_steps.add(*both)
            return both[0]
        if mine is None:
            return None
        shape = mine.data.shape if isinstance(mine, BackprojectionSums) else mine.shape
        for first, last in plane_blocks((shape[0], shape[1], shape[2]), self._dtype):
            if self._comm.rank == self._second:
                block = read_planes(mine, first, last).astype(self._dtype, copy=False)
                self._comm.send(block, self._first, _WHOLE)
                continue
            block = np.empty((last - first, shape[1], shape[2], 4), dtype=self._dtype)
            self._comm.receive(block, self._second, _WHOLE)
            add_planes(mine, first, block)
        return mine if self._comm.rank == self._first else None


def _averages(sums: VolumeSums) -> NDArray[np.complex128]:
    """Weighted averages over unpadded Fourier voxels, complex128 (2r+1, 2r+1, r+1)."""
    if isinstance(sums, WaitingSums):
        sums = sums.on_device()
    if isinstance(sums, DeviceSums):
        return np.ascontiguousarray(sums.session.to_host(sums.downsampled()), dtype=np.complex128)
    return downsampled_average(sums)
