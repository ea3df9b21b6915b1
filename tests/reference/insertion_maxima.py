"""Largest value and weight that each image brings to the back-projection (E 1.11)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def insertion_maxima(
    unmasked_ft: NDArray[np.complex128],
    bp_data: NDArray[np.float64],
    bp_weight: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Largest |data U| and weight of each image (image, pixel) where it has weight, (n, 2)."""
    used = bp_weight > 0
    values = np.where(used, np.abs(bp_data * unmasked_ft), 0.0)
    weights = np.where(used, bp_weight, 0.0)
    return np.stack([values.max(axis=1), weights.max(axis=1)], axis=-1)
