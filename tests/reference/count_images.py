"""Number of images of each orientation (specification E 5.6)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def count_images(marks: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Count the marks (orientation, image) of each orientation."""
    return np.asarray(marks.sum(axis=1), dtype=np.int64)
