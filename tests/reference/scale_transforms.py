"""Multiply image transforms by one real factor a pixel (specification E 2.10, MTF)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def scale_transforms(
    transforms: NDArray[np.complex128], factor: NDArray[np.float64]
) -> NDArray[np.complex128]:
    """Product of each image's half-transform and ``factor``, both (..., ky, kx)."""
    return np.einsum("iyx,yx->iyx", transforms, factor)
