"""Raw images of a batch that are on the device already."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from pyopencl.array import Array

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

    def by_buffer(self) -> Iterator[tuple[Array, NDArray[np.int32], NDArray[np.int32]]]:
        """Give each buffer, the places of images in it, and which images of the batch they are."""
        for number in np.unique(self.buffer).tolist():
            chosen = np.flatnonzero(self.buffer == number)
            yield self.buffers[number], self.place[chosen], chosen.astype(np.int32)
