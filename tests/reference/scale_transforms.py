"""Factors on transforms (specification E 2.10)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def scale_transforms(
    transforms: NDArray[np.complex128], factor: NDArray[np.float64]
) -> NDArray[np.complex128]:
    """Multiply every transform (image, pixel) by ``factor`` (pixel)."""
    return transforms * factor[None, :]
