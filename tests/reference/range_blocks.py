"""Blocks over a range of each image's list (specification E 5.4)."""

from __future__ import annotations


def range_blocks(
    ranges: list[tuple[int, int]], base: list[int], rows_per_block: int
) -> list[tuple[int, int, int]]:
    """(image, first row of the batch, number of rows) of each block."""
    blocks = []
    for image, (first, count) in enumerate(ranges):
        for row in range(0, count, rows_per_block):
            start = base[image] + first + row
            blocks.append((image, start, min(rows_per_block, count - row)))
    return blocks
