"""Back-projection sums from whole numbers to reals (E 1.11)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def fixed_to_real(
    sums: NDArray[np.int64],
    data_unit: float,
    weight_unit: float,
    target: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Add sums (voxel, 3) in their units to target (voxel, 4)."""
    units = np.array([data_unit, data_unit, weight_unit])
    return target + np.pad(sums * units, ((0, 0), (0, 1)))
