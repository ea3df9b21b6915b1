"""Power of images in Fourier shells, each pixel of the half-plane once (E 5.2, 6)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def power_spectrum(images: NDArray[np.float64], n_shells: int) -> NDArray[np.float64]:
    """Sum |F|^2 of real images over shells 0 .. n_shells - 1 of the half-plane.

    Half-plane: kx > 0, and kx = 0 with ky >= 0; Nyquist frequencies are positive.
    """
    box = images.shape[-1]
    transforms = np.fft.fft2(images) / box**2
    power = np.zeros((len(images), n_shells))
    for ky in range(-box // 2 + 1, box // 2 + 1):
        for kx in range(box // 2 + 1):
            shell = int(np.hypot(kx, ky) + 0.5)
            if shell < n_shells and (kx > 0 or ky >= 0):
                power[:, shell] += np.abs(transforms[:, ky, kx]) ** 2
    return power
