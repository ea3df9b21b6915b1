"""The marked orientations as a list (specification E 5.4)."""

from __future__ import annotations

from tests.reference.mark_orientations import Entry


def distinct_orientations(entries: list[Entry]) -> list[Entry]:
    """Every orientation that occurs, once, in ascending order."""
    return sorted(set(entries))
