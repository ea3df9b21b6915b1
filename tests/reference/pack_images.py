"""What images bring to the sums, in blocks of sixteen pixels (specification E 5.6; M 1.1)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def pack_images(
    image_ft: NDArray[np.complex128],
    unmasked_ft: NDArray[np.complex128],
    reference_ctf: NDArray[np.float64],
    bp_data: NDArray[np.float64],
    bp_weight: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Real and imaginary part of q C X, those of bp_data U, bp_weight: (image, block, 5, 16)."""
    used = bp_weight > 0
    x, u = reference_ctf * image_ft, np.where(used, bp_data * unmasked_ft, 0)
    rows = np.stack([x.real, x.imag, u.real, u.imag, np.where(used, bp_weight, 0)])
    rows = np.pad(rows, ((0, 0), (0, 0), (0, -image_ft.shape[1] % 16)))
    return np.ascontiguousarray(rows.reshape(5, len(image_ft), -1, 16).transpose(1, 2, 0, 3))
