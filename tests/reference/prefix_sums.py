"""Exclusive prefix sums of integers and of their chunks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def sum_chunks(values: NDArray[np.int64], chunk: int) -> NDArray[np.int64]:
    """Sum of each run of ``chunk`` values, the last one shorter."""
    return np.array([values[i : i + chunk].sum() for i in range(0, len(values), chunk)])


def prefix_chunks(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """Sum of the values before each, and of all."""
    return np.concatenate([[0], np.cumsum(values)])
