"""Total weight and number of significant translations of each row (specification E 5.6)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def row_weights(
    omegas: Sequence[NDArray[np.float64]],
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Sum and number of non-zero weights of each row; ``omegas`` (row, sample) of each block."""
    sums = np.concatenate([omega.sum(axis=1) for omega in omegas])
    counts = np.concatenate([np.count_nonzero(omega, axis=1) for omega in omegas])
    return sums, counts
