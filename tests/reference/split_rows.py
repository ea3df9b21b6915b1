"""Numbers as sums of two halves with a common power of two."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def split_rows(
    rows: NDArray[Any],
) -> tuple[NDArray[np.float16], NDArray[np.float16], NDArray[np.float64]]:
    """High and low halves (row, depth) and what their sum is to be multiplied by, (row,)."""
    largest = np.abs(rows).max(axis=1).astype(np.float64)
    exponent = np.zeros(len(rows), dtype=np.int64)
    exponent[largest > 0] = np.clip(12 - np.floor(np.log2(largest[largest > 0])), -100, 100)
    scaled = rows.astype(np.float64) * np.exp2(exponent)[:, None]
    high = scaled.astype(np.float16)
    low = (scaled - high).astype(np.float16)
    return high, low, np.exp2(-exponent.astype(np.float64))
