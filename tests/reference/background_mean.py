"""Weighted mean of each image outside the particle mask (specification E 5.2, 5)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def background_mean(
    images: NDArray[np.float64], outside: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Average of each image with weights ``outside`` (y, x); 0 if they are all zero."""
    if not outside.any():
        return np.zeros(len(images))
    return np.array([np.average(image, weights=outside) for image in images])
