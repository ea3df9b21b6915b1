"""Normalise images and shift them by whole pixels (specification E 5.2, 1-3)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def shift_image(
    images: NDArray[np.float64], place: NDArray[np.int64], factor: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Image ``source`` becomes ``target`` of the result, its content moved by (dx, dy) px.

    Rows of ``place`` are (source, target, dx, dy), one for each image (y, x) of the result.  Zeros
    come in from outside.
    """
    box = images.shape[-1]
    result = np.zeros((len(place), box, box))
    for source, target, dx, dy in place.tolist():
        for y in range(max(0, dy), min(box, box + dy)):
            for x in range(max(0, dx), min(box, box + dx)):
                result[target, y, x] = factor[target] * images[source, y - dy, x - dx]
    return result
