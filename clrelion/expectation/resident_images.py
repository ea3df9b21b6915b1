"""Particle images that stay on the device from the first iteration on, where they fit."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from clrelion.device.memory import MemoryBudget, format_bytes
from clrelion.errors import DeviceMemoryError
from clrelion.io.particle_table import ParticleTable

if TYPE_CHECKING:
    from pyopencl.array import Array

    from clrelion.device.session import DeviceSession

__all__ = ["ResidentImages", "ResidentSlice"]

_log = logging.getLogger(__name__)

_SHARE = 0.25
"""Part of the budget that images may take."""

_ROOM_FOR_MORE = 1.25
"""Room for images relative to those of the share as it is at first."""


@dataclass(frozen=True)
class ResidentSlice:
    """Images of some particles, on the device.

    Attributes
    ----------
    ids
        int64, (n,); the particles.
    images
        float32 device array, (n_held, box, box); images of an optics group, as read.
    places
        int32, (n,); which of them are meant.
    """

    ids: NDArray[np.int64]
    images: Array
    places: NDArray[np.int32]

    def __getitem__(self, span: slice) -> ResidentSlice:
        """Images of a part of the particles."""
        return ResidentSlice(self.ids[span], self.images, self.places[span])


class ResidentImages:
    """Images of this rank's share on the device, filled as they are read for the first time.

    Parameters
    ----------
    session
        Device; on CPUs nothing is held, since the files are in the same memory already.
    table
        Particles.
    budget
        Memory that the run may use.
    own
        int64; particles of this rank's share.

    Attributes
    ----------
    is_on
        Images are held.
    """

    def __init__(
        self,
        session: DeviceSession,
        table: ParticleTable,
        budget: MemoryBudget,
        own: NDArray[np.int64],
    ) -> None:
        self._session = session
        self._table = table
        self._places = np.full(table.n, -1, dtype=np.int32)
        self._stacks: dict[int, list[Array]] = {}
        n_groups = len(table.optics)
        counts = np.bincount(table.optics_group[own], minlength=n_groups)
        everybody = np.bincount(table.optics_group, minlength=n_groups)
        # shares move a little with the speeds of the devices
        counts = np.minimum(everybody, np.ceil(_ROOM_FOR_MORE * counts).astype(np.int64))
        self._counts = counts
        images = [4 * o.box_px**2 for o in table.optics]
        self._n_bytes = sum(int(n) * size for n, size in zip(counts, images, strict=True))
        largest = budget.largest_allocation_bytes
        self._rows = [max(1, largest // size) for size in images]
        self.is_on = (
            not session.is_cpu
            and self._n_bytes <= _SHARE * budget.bytes
            and max(images, default=0) <= largest
        )
        self._free: dict[int, NDArray[np.int32]] = {}

    @property
    def is_empty(self) -> bool:
        """Whether no image has been read yet."""
        return not self._stacks

    def is_filling(self, group: int) -> bool:
        """Tell whether no image of an optics group has been read yet."""
        return self.is_on and group not in self._stacks

    @property
    def bytes_to_come(self) -> int:
        """Bytes of images that will be held and have no place on the device yet."""
        if not self.is_on:
            return 0
        held = sum(int(part.nbytes) for stack in self._stacks.values() for part in stack)
        return max(0, self._n_bytes - held)

    def find(self, ids: NDArray[np.int64]) -> list[ResidentSlice] | None:
        """Give the images of particles of one optics group, or None if any is not held.

        Returns
        -------
        list
            Parts that lie in one buffer each; together all particles, in another order perhaps.
        """
        if not self.is_on or not len(ids) or (self._places[ids] < 0).any():
            return None
        group = int(self._table.optics_group[ids[0]])
        stack, row = np.divmod(self._places[ids], self._rows[group])
        return [
            ResidentSlice(ids[stack == i], self._stacks[group][i], row[stack == i])
            for i in np.unique(stack).tolist()
        ]

    def keep(self, ids: NDArray[np.int64], images: NDArray[np.float32]) -> None:
        """Hold images of particles of one optics group that have just been read, if there is room.

        Parameters
        ----------
        images
            float32, (n, box, box).
        """
        fresh = np.flatnonzero(self._places[ids] < 0)
        if not self.is_on or not len(fresh):
            return
        group = int(self._table.optics_group[ids[0]])
        try:
            if group not in self._stacks:
                self._make_stacks(group)
            places = self._free[group][: len(fresh)]
            fresh = fresh[: len(places)]
            stack, row = np.divmod(places, self._rows[group])
            # places in a row are written at once
            cuts = np.flatnonzero((np.diff(places) != 1) | (np.diff(stack) != 0)) + 1
            for run in np.split(np.arange(len(places)), cuts):
                if len(run):
                    array = self._stacks[group][int(stack[run[0]])]
                    self._session.write_rows(array, int(row[run[0]]), images[fresh[run]])
        except DeviceMemoryError:
            self.release()
            return
        self._places[ids[fresh]] = places
        self._free[group] = self._free[group][len(places) :]

    def _make_stacks(self, group: int) -> None:
        """Allocate room for an optics group, in as many buffers as it takes."""
        if not self._stacks:
            _log.info("Particle images stay on the device: %s", format_bytes(self._n_bytes))
        n, box, rows = int(self._counts[group]), self._table.optics[group].box_px, self._rows[group]
        self._stacks[group] = [
            self._session.empty((min(rows, n - first), box, box), np.float32)
            for first in range(0, n, rows)
        ]
        self._free[group] = np.arange(n, dtype=np.int32)

    def retain(self, own: NDArray[np.int64]) -> None:
        """Make room: particles that are not of this rank's share any more are held no longer."""
        is_own = np.zeros(len(self._places), dtype=np.bool_)
        is_own[own] = True
        gone = np.flatnonzero((self._places >= 0) & ~is_own)
        for group in self._free:
            freed = gone[self._table.optics_group[gone] == group]
            self._free[group] = np.sort(np.append(self._free[group], self._places[freed]))
        self._places[gone] = -1

    def release(self) -> None:
        """Hold nothing from now on."""
        _log.info("Particle images do not stay on the device: the memory is needed")
        self.is_on = False
        self._stacks.clear()
        self._free.clear()
        self._places[:] = -1
