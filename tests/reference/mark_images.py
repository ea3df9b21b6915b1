"""Which images have kept rows of which orientations (specification E 5.6)."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray


def mark_images(
    pairs: Iterable[tuple[int, int]], n_orientations: int, n_images: int
) -> NDArray[np.bool_]:
    """Mark (orientation, image) for pairs of image and orientation."""
    marks = np.zeros((n_orientations, n_images), dtype=np.bool_)
    for image, orientation in pairs:
        marks[orientation, image] = True
    return marks
