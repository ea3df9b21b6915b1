"""Posterior weight of each class and direction (specification E 5.6)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

UNIT = 2.0**-42


def direction_sums(
    direction: NDArray[np.int64], row_sum: NDArray[np.float64], n: int
) -> NDArray[np.float64]:
    """Sum over the blocks of each direction; ``row_sum`` (block, row)."""
    return np.bincount(direction, row_sum.sum(axis=1), minlength=n).astype(np.float64)


def add_weight(
    sums: NDArray[np.uint32], weights: NDArray[np.float64], coarser: int = 0
) -> NDArray[np.uint32]:
    """Add weights to a sum in units of 2^-42, given and returned as (low, high) word.

    Weights are rounded to multiples of 2^coarser units.
    """
    total = int(sums[0]) + (int(sums[1]) << 32)
    unit = UNIT * 2**coarser
    total += sum(int(np.rint(weight / unit)) << coarser for weight in weights)
    return np.array([total & 0xFFFFFFFF, total >> 32], dtype=np.uint32)
