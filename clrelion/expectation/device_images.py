"""Raw images of a batch that are on the device already."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from clrelion.device.array import Array

__all__ = ["DeviceImages"]


@dataclass(frozen=True)
class DeviceImages:
    """Images of some particles, in one buffer or several.

    Attributes
    ----------
    ids
        int64, (n,); the particles.
    buffers
        float32 device arrays, (n_held, box, box), by number; images as read.
    buffer, place
        int32, (n,); number of the buffer that each image is in, and which of its images it is.
    """

    ids: NDArray[np.int64]
    buffers: Mapping[int, Array]
    buffer: NDArray[np.int32]
    place: NDArray[np.int32]

    @classmethod
    def in_one(cls, ids: NDArray[np.int64], images: Array) -> DeviceImages:
        """Images that lie in one buffer in their order."""
        n = len(ids)
        return cls(ids, {0: images}, np.zeros(n, np.int32), np.arange(n, dtype=np.int32))

    def __getitem__(self, chosen: slice | NDArray[np.bool_] | NDArray[np.int64]) -> DeviceImages:
        """Images of some of the particles."""
        return DeviceImages(
            self.ids[chosen], self.buffers, self.buffer[chosen], self.place[chosen]
        )

    def by_buffer(self) -> tuple[NDArray[np.int64], list[tuple[Array, int, int]]]:
        """Sort the images of the batch by the buffer that they are in.

        Returns
        -------
        order
            int64, (n,); images of the batch.
        runs
            Each buffer, the first of its images in this order, and how many there are.
        """
        order = np.argsort(self.buffer, kind="stable")
        numbers = self.buffer[order]
        starts = np.flatnonzero(numbers[1:] != numbers[:-1]) + 1
        borders = [0, *starts.tolist(), len(order)] if len(order) else [0]
        runs = [
            (self.buffers[int(numbers[first])], first, last - first)
            for first, last in itertools.pairwise(borders)
        ]
        return order, runs
