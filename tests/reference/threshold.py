"""Weight thresholds by sorting, as the specification words them (E 5.5, Significance)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def threshold_of_fraction(weights: NDArray[np.float64], goal: float) -> float:
    """Walk from the largest weight until the running sum exceeds ``goal``: last weight added.

    0 if the sum never exceeds it.
    """
    ordered = np.sort(weights)[::-1]
    beyond = np.flatnonzero(np.cumsum(ordered) > goal)
    return float(ordered[beyond[0]]) if beyond.size else 0.0


def threshold_of_count(weights: NDArray[np.float64], count: int) -> float:
    """Weight number ``count`` in descending order; 0 if there are fewer."""
    ordered = np.sort(weights)[::-1]
    return float(ordered[count - 1]) if count <= ordered.size else 0.0
