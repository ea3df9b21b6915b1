"""Low-pass filter of references (specification E 3.4, M 4.10, 4.11)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from clrelion.fourier.shells import fftw_frequencies, round_half_away_int
from clrelion.fourier.transforms import forward_3d, inverse_3d

__all__ = [
    "low_pass_factors",
    "low_pass_map",
    "multiply_by_radius",
    "nearest_shell_resolution",
    "shell_low_pass_factors",
]

_EDGE_WIDTH_SHELLS = 2.0
"""Width of the raised-cosine edge, Fourier pixels; not the width of the real-space mask."""


def low_pass_factors(
    radii: ArrayLike,
    ori_size: int,
    pixel_size_angst: float,
    resolution_angst: float,
    edge_width: float = _EDGE_WIDTH_SHELLS,
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
    edge_width
        w, width of the edge, Fourier pixels, > 0.

    Returns
    -------
    float64, shape of ``radii``: 1 below N a/d - w/2, 0 above N a/d + w/2.  Specification E 3.4.
    """
    k = np.asarray(radii, dtype=np.float64)
    first = ori_size * pixel_size_angst / resolution_angst - 0.5 * edge_width
    last = first + edge_width
    edge = 0.5 - 0.5 * np.cos(np.pi * (last - k) / edge_width)
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
        resolution_angst = nearest_shell_resolution(resolution_angst, n, pixel_size_angst)
    radii = np.sqrt(np.arange(3 * (n // 2) ** 2 + 1, dtype=np.float64))
    factors = low_pass_factors(radii, n, pixel_size_angst, resolution_angst)
    transform = forward_3d(volume)
    multiply_by_radius(transform, factors)
    return inverse_3d(transform)


def nearest_shell_resolution(
    resolution_angst: float, ori_size: int, pixel_size_angst: float
) -> float:
    """Move a resolution, Å, to the nearest shell beyond the origin."""
    extent = ori_size * pixel_size_angst
    return extent / max(1, round_half_away_int(extent / resolution_angst))


def multiply_by_radius(transform: NDArray[Any], factors: NDArray[np.float64]) -> None:
    """Multiply a half transform by a function of the radius, in place.

    Parameters
    ----------
    transform
        complex, (N, N, N/2+1); half transform, changed.
    factors
        float64, (3 (N/2)^2 + 1,); factor at each squared radius |k|^2.
    """
    n = transform.shape[0]
    squares = fftw_frequencies(n) ** 2
    squares_yx = squares[:, None] + np.arange(n // 2 + 1) ** 2
    for plane, square in zip(transform, squares, strict=True):
        plane *= factors[squares_yx + square].astype(plane.real.dtype)
