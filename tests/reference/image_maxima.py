"""Largest log-weight of each image and the number of orientations near it (E 5.5)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def image_maxima(
    maxima: Sequence[NDArray[np.float64]], cutoff: float
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Maximum over orientations, and how many are at most ``cutoff`` below; (image,) both."""
    maximum = np.array([np.max(m, initial=-np.inf) for m in maxima])
    near = [
        np.count_nonzero(m >= top - cutoff) if np.isfinite(top) else 0
        for m, top in zip(maxima, maximum, strict=True)
    ]
    return maximum, np.array(near)
