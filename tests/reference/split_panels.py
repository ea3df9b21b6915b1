"""Packed projections as sums of two halves, with a power of two for each orientation."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.reference.split_rows import split_rows


def split_panels(
    panels: NDArray[Any],
) -> tuple[NDArray[np.float16], NDArray[np.float16], NDArray[np.float64]]:
    """High and low halves (panel, depth, orientation) and their factors, one an orientation."""
    n_panels, depth, width = panels.shape
    rows = panels.transpose(0, 2, 1).reshape(-1, depth)
    high, low, scale = split_rows(rows)
    back = (n_panels, width, depth)
    return (
        high.reshape(back).transpose(0, 2, 1),
        low.reshape(back).transpose(0, 2, 1),
        scale,
    )
