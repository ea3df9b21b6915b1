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


@dataclass(frozen=True)
class ResidentSlice:
    """Images of some particles, on the device.

    Attributes
    ----------
    images
        float32 device array, (n_held, box, box); all images of an optics group, as read.
    places
        int32, (n,); which of them are meant.
    """

    images: Array
    places: NDArray[np.int32]

    def __getitem__(self, span: slice) -> ResidentSlice:
        """Images of a part of the particles."""
        return ResidentSlice(self.images, self.places[span])


class ResidentImages:
    """All images of a run on the device, filled as they are read for the first time.

    Parameters
    ----------
    session
        Device; on CPUs nothing is held, since the files are in the same memory already.
    table
        Particles.
    budget
        Memory that the run may use.

    Attributes
    ----------
    is_on
        Images are held.
    """

    def __init__(self, session: DeviceSession, table: ParticleTable, budget: MemoryBudget) -> None:
        self._session = session
        self._table = table
        self._places = np.full(table.n, -1, dtype=np.int32)
        self._stacks: dict[int, Array] = {}
        counts = np.bincount(table.optics_group, minlength=len(table.optics))
        self._shapes = [
            (int(n), o.box_px, o.box_px) for n, o in zip(counts, table.optics, strict=True)
        ]
        sizes = [4 * int(np.prod(shape, dtype=np.int64)) for shape in self._shapes]
        self.is_on = (
            not session.is_cpu
            and sum(sizes) <= _SHARE * budget.bytes
            and max(sizes, default=0) <= budget.largest_allocation_bytes
        )
        self._n_bytes = sum(sizes)
        self._n_held = np.zeros(len(table.optics), dtype=np.int64)

    def find(self, ids: NDArray[np.int64]) -> ResidentSlice | None:
        """Give the images of particles of one optics group, or None if any is not held."""
        if not self.is_on or not len(ids) or (self._places[ids] < 0).any():
            return None
        group = int(self._table.optics_group[ids[0]])
        return ResidentSlice(self._stacks[group], self._places[ids])

    def keep(self, ids: NDArray[np.int64], images: NDArray[np.float32]) -> None:
        """Hold images of particles of one optics group that have just been read."""
        fresh = self._places[ids] < 0
        if not self.is_on or not fresh.any():
            return
        group = int(self._table.optics_group[ids[0]])
        try:
            if group not in self._stacks:
                if not self._stacks:
                    size = format_bytes(self._n_bytes)
                    _log.info("Particle images stay on the device: %s", size)
                self._stacks[group] = self._session.empty(self._shapes[group], np.float32)
            first = int(self._n_held[group])
            self._session.write_rows(self._stacks[group], first, images[fresh])
        except DeviceMemoryError:
            self.release()
            return
        n = int(fresh.sum())
        self._places[ids[fresh]] = np.arange(first, first + n, dtype=np.int32)
        self._n_held[group] += n

    def release(self) -> None:
        """Hold nothing from now on."""
        _log.info("Particle images do not stay on the device: the memory is needed")
        self.is_on = False
        self._stacks.clear()
        self._places[:] = -1
