"""Significant translations of the kept rows in the order of their places (E 5.6)."""

from __future__ import annotations

from collections.abc import Sequence


def kept_counts(counts: Sequence[int], place: Sequence[int] | None) -> list[int]:
    """Bring the counts above zero to their places, or leave them in their order."""
    kept = [count for count in counts if count]
    if place is None:
        return kept
    out = [0] * len(kept)
    for count, at in zip(kept, place, strict=True):
        out[at] = count
    return out
