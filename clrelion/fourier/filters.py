"""Low-pass filter of references (specification E 3.4, M 4.10, 4.11)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from clrelion.fourier.shells import fftw_frequencies, round_half_away_int
from clrelion.fourier.transforms import forward_3d, inverse_3d

__all__ = ["low_pass_factors", "low_pass_map", "shell_low_pass_factors"]

_EDGE_WIDTH_SHELLS = 2.0
"""Width of the raised-cosine edge, Fourier pixels; not the width of the real-space mask."""


def low_pass_factors(
    radii: ArrayLike, ori_size: int, pixel_size_angst: float, resolution_angst: float
) -> NDArray[np.float64]:
    """Compute the factors of the raised-cosine low-pass filter.

    Parameters
    ----------
    radii
        |k|, Fourier pixels, any shape.
    ori_size
        N, voxels.
    pixel_size_angst
        Å/px.
    resolution_angst
        resolution at which the factor is 0.5, Å, > 0.

    Returns
    -------
    float64, shape of ``radii``: 1 below N a/d - 1, 0 above N a/d + 1.  Specification E 3.4.
    """
    k = np.asarray(radii, dtype=np.float64)
    first = ori_size * pixel_size_angst / resolution_angst - 0.5 * _EDGE_WIDTH_SHELLS
    last = first + _EDGE_WIDTH_SHELLS
    edge = 0.5 - 0.5 * np.cos(np.pi * (last - k) / _EDGE_WIDTH_SHELLS)
    return np.asarray(np.where(k < first, 1.0, np.where(k > last, 0.0, edge)))


def shell_low_pass_factors(
    ori_size: int, pixel_size_angst: float, resolution_angst: float
) -> NDArray[np.float64]:
    """Give the factors at the shells 0..N/2, float64 (N/2+1,) (specification E 3.7, M 4.10)."""
    shells = np.arange(ori_size // 2 + 1)
    return low_pass_factors(shells, ori_size, pixel_size_angst, resolution_angst)


def low_pass_map(
    volume: NDArray[Any],
    pixel_size_angst: float,
    resolution_angst: float,
    *,
    round_to_shell: bool = False,
) -> NDArray[Any]:
    """Low-pass filter a map.

    Parameters
    ----------
    volume
        float32 or float64, (N, N, N), real space.
    pixel_size_angst
        Å/px.
    resolution_angst
        resolution at which amplitudes are halved, Å; not positive: no filtering.
    round_to_shell
        move that resolution to the nearest shell first.  RELION does so in its general filter
        (masks, post-processing; M 8.6d), not in the initial low-pass of references (E 3.4).

    Returns
    -------
    Same shape and dtype, a new array.
    """
    if resolution_angst <= 0:
        return np.array(volume)
    n = volume.shape[0]
    if round_to_shell:
        extent = n * pixel_size_angst
        resolution_angst = extent / max(1, round_half_away_int(extent / resolution_angst))
    squares = fftw_frequencies(n) ** 2
    radii = np.sqrt(np.arange(3 * (n // 2) ** 2 + 1, dtype=np.float64))
    factors = low_pass_factors(radii, n, pixel_size_angst, resolution_angst)
    transform = forward_3d(volume)
    squares_yx = squares[:, None] + np.arange(n // 2 + 1) ** 2
    for plane, square in zip(transform, squares, strict=True):
        plane *= factors[squares_yx + square].astype(plane.real.dtype)
    return inverse_3d(transform)
