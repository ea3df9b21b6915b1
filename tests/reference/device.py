"""NumPy twins of the kernels in clrelion/cl/device."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt


def widen_to_complex(images: npt.NDArray[Any], first: int, n: int) -> npt.NDArray[Any]:
    """``n`` pixels from flat index ``first`` on, as complex numbers."""
    return images.reshape(-1)[first : first + n].astype(np.complex128)


def crop_half_transform(full: npt.NDArray[Any], half_n: int, factor: float) -> npt.NDArray[Any]:
    """First ``half_n`` columns of each row, scaled."""
    return factor * full[..., :half_n].astype(np.complex128)


def clear_array(n: int) -> npt.NDArray[np.uint32]:
    """Zeros, n pieces of 16 bytes."""
    return np.zeros((n, 4), np.uint32)
