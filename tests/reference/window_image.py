"""Listed pixels of the transforms of images about their centres (E 1.4, 1.5, 1.9, 2.10)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def window_image(
    images: NDArray[np.float64],
    kxy: NDArray[np.int64],
    factor: NDArray[np.complex128],
    shift: NDArray[np.float64] | None = None,
) -> NDArray[np.complex128]:
    """Fourier sums of real images (image, y, x) with the origin at n/2, times ``factor``.

    One value a pixel (kx, ky) of ``kxy``; divided by the number of samples. ``shift`` (image, 2) in
    parts of the box moves the content.
    """
    box = images.shape[-1]
    x = np.arange(box) - box // 2
    along_x = np.exp(-2j * np.pi * np.outer(kxy[:, 0], x) / box)
    along_y = np.exp(-2j * np.pi * np.outer(kxy[:, 1], x) / box)
    sums = np.einsum("iyx,jx,jy->ij", images, along_x, along_y, optimize=True) * factor / box**2
    return sums if shift is None else sums * np.exp(-2j * np.pi * shift @ kxy.T)
