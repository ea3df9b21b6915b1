"""Blocks of fine samples: random ones, and the index vectors that kernels read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tests.kernels.launch import int32, int64
from tests.reference.diff2_fine import Block


@dataclass(frozen=True)
class BlockVectors:
    """The blocks of a batch as the kernels' index vectors, samples packed block after block."""

    n_children: int
    image: npt.NDArray[np.int32]
    row: npt.NDArray[np.int32]  # first row of each block
    n_rows: npt.NDArray[np.int32]
    row_projection: npt.NDArray[np.int32]
    trans: npt.NDArray[np.int32]  # first entry in trans_list
    n_trans: npt.NDArray[np.int32]
    out: npt.NDArray[np.int64]  # first sample
    trans_list: npt.NDArray[np.int32]
    n_samples: int

    def block_start(self, n_images: int) -> npt.NDArray[np.int32]:
        """First block of each image; the blocks must be ordered by image."""
        return int32(np.searchsorted(self.image, np.arange(n_images + 1)))

    def sample_start(self, n_images: int) -> npt.NDArray[np.int64]:
        """First sample of each image."""
        return int64(np.append(self.out, self.n_samples)[self.block_start(n_images)])


def block_vectors(blocks: Sequence[Block], n_children: int) -> BlockVectors:
    n_rows = [len(block.slices) for block in blocks]
    n_trans = [len(block.translations) for block in blocks]
    sizes = [r * t * n_children for r, t in zip(n_rows, n_trans, strict=True)]
    return BlockVectors(
        n_children,
        int32([block.image for block in blocks]),
        int32(np.cumsum([0, *n_rows])[:-1]),
        int32(n_rows),
        int32([place for block in blocks for place in block.slices]),
        int32(np.cumsum([0, *n_trans])[:-1]),
        int32(n_trans),
        int64(np.cumsum([0, *sizes])[:-1]),
        int32([t for block in blocks for t in block.translations]),
        sum(sizes),
    )


def random_blocks(
    rng: np.random.Generator,
    n_blocks_of_image: Sequence[int],
    n_projections: int,
    n_trans: int,
    rows_per_block: int | None = None,
) -> list[Block]:
    """Blocks ordered by image; 1 to 9 rows unless told, translations in ascending order."""
    blocks = []
    for image, n_blocks in enumerate(n_blocks_of_image):
        for _ in range(n_blocks):
            n_rows = rows_per_block or int(rng.integers(1, 10))
            first = int(rng.integers(0, n_projections - n_rows + 1))
            chosen = rng.permutation(n_trans)[: rng.integers(1, n_trans + 1)]
            translations = tuple(int(t) for t in np.sort(chosen))
            log_prior = float(rng.normal())
            blocks.append(Block(image, range(first, first + n_rows), translations, log_prior))
    return blocks
