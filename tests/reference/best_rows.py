"""Orientation and translation of the best sample of each image (specification E 5.6)."""

from __future__ import annotations

from collections.abc import Sequence

from tests.reference.diff2_fine import Block


def best_rows(
    best: Sequence[int], blocks: Sequence[Block], n_children: int
) -> list[tuple[int, int]]:
    """Row, numbered through all blocks, and fine translation of each image; -1: none."""
    found = []
    for image, place in enumerate(best):
        samples = [
            (row, t)
            for b, block in enumerate(blocks)
            if block.image == image
            for row in range(b * len(block.slices), (b + 1) * len(block.slices))
            for t in block.children(n_children)
        ]
        found.append(samples[place] if place >= 0 else (-1, -1))
    return found
