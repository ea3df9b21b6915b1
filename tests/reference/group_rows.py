"""An order of rows in which those of one orientation follow each other (specification E 5.6)."""

from __future__ import annotations

from collections.abc import Sequence


def group_rows(pairs: Sequence[tuple[int, int]]) -> tuple[list[int], list[int]]:
    """Sort rows, given as (image, orientation), by orientation and then by image.

    Returns the place of each row, and where the rows of each orientation begin and the last end.
    """
    order = sorted(range(len(pairs)), key=lambda n: (pairs[n][1], pairs[n][0]))
    place = [0] * len(pairs)
    start: list[int] = []
    for at, n in enumerate(order):
        place[n] = at
        if at == 0 or pairs[order[at - 1]][1] != pairs[n][1]:
            start.append(at)
    return place, [*start, len(pairs)]
