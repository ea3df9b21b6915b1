"""Normalise images and shift them by whole pixels (specification E 5.2, 1-3)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def shift_image(
    images: NDArray[np.float64], factor: NDArray[np.float64], offset: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Move the content of each image (y, x) by ``offset`` (x, y) px; zeros come in from outside."""
    box = images.shape[-1]
    result = np.zeros_like(images)
    for image, scale, (dx, dy), out in zip(images, factor, offset, result, strict=True):
        for y in range(max(0, dy), min(box, box + dy)):
            for x in range(max(0, dx), min(box, box + dx)):
                out[y, x] = scale * image[y - dy, x - dx]
    return result
