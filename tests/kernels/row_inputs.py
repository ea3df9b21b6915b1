"""Random rows of the fine pass: blocks of rows of images, of which some are kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tests.kernels.launch import int32

N_CLASSES, N_FRAMES, N_PSIS = 2, 7, 5
N_ORIENTATIONS = N_CLASSES * N_FRAMES * N_PSIS


@dataclass(frozen=True)
class Rows:
    """Rows, block by block; no image has an orientation twice."""

    n_images: int
    rows_per_block: int
    block_image: npt.NDArray[np.int32]
    orientation: npt.NDArray[np.int32]
    count: npt.NDArray[np.int32]  # significant translations, 0: not kept

    @property
    def n(self) -> int:
        return len(self.orientation)

    @property
    def columns(self) -> list[npt.NDArray[np.int32]]:
        """Class, frame and psi of each row."""
        o = self.orientation
        return [o // (N_FRAMES * N_PSIS), o // N_PSIS % N_FRAMES, o % N_PSIS]

    @property
    def is_kept(self) -> npt.NDArray[np.int32]:
        return int32(self.count > 0)

    @property
    def kept_before(self) -> npt.NDArray[np.int32]:
        return int32(np.cumsum([0, *self.is_kept]))

    @property
    def kept(self) -> list[tuple[int, int]]:
        """Image and orientation of the kept rows."""
        images = np.repeat(self.block_image, self.rows_per_block)
        pairs = zip(images.tolist(), self.orientation.tolist(), self.count.tolist(), strict=True)
        return [(image, orientation) for image, orientation, count in pairs if count]

    @property
    def n_words(self) -> int:
        return -(-self.n_images // 32)


def random_rows(
    rng: np.random.Generator,
    blocks_of_image: Sequence[int],
    rows_per_block: int,
    kept_part: float,
) -> Rows:
    orientation = [
        rng.permutation(N_ORIENTATIONS)[: n * rows_per_block] for n in blocks_of_image
    ]
    rows = int32(np.concatenate(orientation))
    count = rng.integers(1, 9, len(rows)) * (rng.random(len(rows)) < kept_part)
    image = np.repeat(np.arange(len(blocks_of_image)), blocks_of_image)
    return Rows(len(blocks_of_image), rows_per_block, int32(image), rows, int32(count))


def packed_bits(marks: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint32]:
    """Marks (orientation, image) as words of 32 bits, the lowest one first."""
    n_words = -(-marks.shape[1] // 32)
    wide = np.pad(marks, ((0, 0), (0, 32 * n_words - marks.shape[1])))
    bits = np.uint64(1) << np.arange(32, dtype=np.uint64)
    return (wide.reshape(len(marks), n_words, 32) * bits).sum(axis=2).astype(np.uint32)


CASES = [
    ([3, 0, 5], 4, 0.6),
    ([1], 1, 1.0),
    ([1, 1], 8, 0.0),
    ([2] * 71, 8, 0.5),
    ([35, 30] * 16, 2, 0.9),
]
"""Blocks of each image, rows of a block, part that is kept: nothing in common to all in common."""
