"""Weighted differences of pairs of slices (specification E C.3)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def slice_differences(
    first: NDArray[np.complex128],
    second: NDArray[np.complex128],
    weight: NDArray[np.float64],
    trial: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Sum of weight |first - second|^2 over the pixels, pair by pair."""
    pairs = zip(trial, second, strict=True)
    return np.array([np.sum(weight[t] * np.abs(first[t] - b) ** 2) for t, b in pairs])
