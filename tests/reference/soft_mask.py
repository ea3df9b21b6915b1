"""Blend images into their background outside the particle mask (specification E 5.2, 5)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def soft_mask(
    images: NDArray[np.float64], outside: NDArray[np.float64], fill: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(1 - outside) image + outside fill; ``fill`` one number (image,) or an image each."""
    background = fill[:, None, None] if fill.ndim == 1 else fill
    return images + outside * (background - images)
