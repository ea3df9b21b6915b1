"""Central slices of references for a list of orientations (specification E 1.6, 1.7)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates


def hermitian_cube(half: NDArray[Any]) -> NDArray[np.complex128]:
    """Complete a centred half transform [z][y][x >= 0] to x = -(nx-1)..nx-1: F(-q) = conj F(q)."""
    negative_x = np.conj(half[::-1, ::-1, :0:-1])
    return np.concatenate([negative_x, half], axis=2).astype(np.complex128)


def interpolate(half: NDArray[Any], points: NDArray[np.float64]) -> NDArray[np.complex128]:
    """Trilinear interpolation at points (..., 3) as (x, y, z) from the centre."""
    cube = hermitian_cube(half)
    centre = np.array([n // 2 for n in cube.shape])
    zyx = np.moveaxis(points[..., ::-1] + centre, -1, 0)
    return np.asarray(map_coordinates(cube, zyx, order=1, mode="constant"))


def project_rows(
    reference: NDArray[Any],
    row_class: NDArray[Any],
    matrices: NDArray[np.float64],
    pixel_xy: NDArray[np.float64],
) -> NDArray[np.complex128]:
    """Slice class ``row_class[n]`` of ``reference`` (class, z, y, x >= 0) in each orientation.

    ``matrices`` (n, 3, 3) are the A of E 1.2, ``pixel_xy`` (pixel, 2) the image pixels in padded
    Fourier units: q = A^T (x, y, 0).
    """
    plane = np.concatenate([pixel_xy, np.zeros((len(pixel_xy), 1))], axis=1)
    slices = [
        interpolate(reference[k], plane @ A)  # row vectors: (A^T p)^T = p^T A
        for k, A in zip(row_class, matrices, strict=True)
    ]
    return np.array(slices).reshape(len(slices), len(pixel_xy))
