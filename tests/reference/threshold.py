"""The threshold weight by sorting, as the specification words it (E 5.5, Significance)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def significance_threshold(weights: NDArray[np.float64], goal: float, count: int = 0) -> float:
    """Walk from the largest weight until the running sum exceeds ``goal``: last weight added.

    With ``count`` > 0 stop after that many weights at the latest. 0 if the walk has no such end.
    """
    ordered = np.sort(weights)[::-1]
    walked = np.arange(1, ordered.size + 1)
    last = np.cumsum(ordered) > goal
    if count > 0:
        last |= walked >= count
    return float(ordered[np.argmax(last)]) if last.any() else 0.0
