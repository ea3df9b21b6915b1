"""The entries of each image whose slices lie in a run of slices (specification E 5.4)."""

from __future__ import annotations


def image_ranges(slots: list[list[int]], first_slot: int, last_slot: int) -> list[tuple[int, int]]:
    """First entry within the image and number of entries; ``slots`` of each image ascend."""
    ranges = []
    for of_image in slots:
        inside = [e for e, slot in enumerate(of_image) if first_slot <= slot < last_slot]
        before = sum(slot < first_slot for slot in of_image)
        ranges.append((before, len(inside)))
    return ranges
