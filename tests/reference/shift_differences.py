"""Weighted differences of slices and the same slices shifted (specification E C.3)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def shift_differences(
    slices: NDArray[np.complex128],
    weight: NDArray[np.float64],
    kxy: NDArray[np.int64],
    trial: NDArray[np.int64],
    shift: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Sum of weight |P - P shifted|^2 over the pixels; shifts in fractions of the box."""
    out = []
    for t, s in zip(trial, shift, strict=True):
        moved = slices[t] * np.exp(-2j * np.pi * (kxy @ s))
        out.append(np.sum(weight[t % len(weight)] * np.abs(slices[t] - moved) ** 2))
    return np.array(out)
