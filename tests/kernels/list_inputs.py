"""Random lists of orientations, one an image, as a local search has them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tests.kernels.launch import int32
from tests.reference.distinct_orientations import distinct_orientations
from tests.reference.mark_orientations import Entry, mark_orientations

N_CLASSES, N_DIR, N_PSI = 2, 7, 5


@dataclass(frozen=True)
class Lists:
    """Ascending lists of (class, direction, psi)."""

    images: list[list[Entry]]

    @property
    def entries(self) -> list[Entry]:
        return [entry for image in self.images for entry in image]

    @property
    def columns(self) -> list[npt.NDArray[np.int32]]:
        """Class, direction and psi of the entries of all images."""
        return [int32([entry[c] for entry in self.entries]) for c in range(3)]

    @property
    def counts(self) -> npt.NDArray[np.int32]:
        return int32([len(image) for image in self.images])

    @property
    def base(self) -> npt.NDArray[np.int32]:
        return int32(np.cumsum([0, *self.counts])[:-1])

    @property
    def flags(self) -> npt.NDArray[np.int32]:
        return int32(mark_orientations(self.entries, N_CLASSES, N_DIR, N_PSI))

    @property
    def slot_of(self) -> npt.NDArray[np.int32]:
        return int32(np.cumsum([0, *self.flags]))

    def slots(self, shared: bool) -> list[list[int]]:
        """Slice of each entry: its own, or that of its orientation."""
        if shared:
            distinct = distinct_orientations(self.entries)
            return [[distinct.index(entry) for entry in image] for image in self.images]
        return [
            list(range(start, start + len(image)))
            for start, image in zip(self.base.tolist(), self.images, strict=True)
        ]


def random_lists(rng: np.random.Generator, counts: Sequence[int]) -> Lists:
    images = []
    for count in counts:
        chosen = np.sort(rng.permutation(N_CLASSES * N_DIR * N_PSI)[:count]).tolist()
        images.append([(o // (N_DIR * N_PSI), o // N_PSI % N_DIR, o % N_PSI) for o in chosen])
    return Lists(images)
