"""NumPy projection and back-projection of central slices (specification E 1.6, 1.11; M 1.2).

Straight from the formulae, many orientations at once, for boxes of some tens of pixels.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from clrelion.expectation.reference import ReferenceTransform
from clrelion.fourier.shells import half_transform_frequencies
from clrelion.maximization.sums import BackprojectionSums


def project(
    reference: ReferenceTransform, matrices: NDArray[Any], size: int
) -> NDArray[np.complex128]:
    """Slice a reference: complex128, (n, size, size//2+1), half transforms centred at n//2."""
    kx, ky = half_transform_frequencies(size)
    kept = kx * kx + ky * ky <= (size // 2) ** 2
    rotated, mirrored = _slice_points(matrices, kx[kept], ky[kept], reference.padding_factor)
    limit = np.floor((reference.r_max * reference.padding_factor) ** 2)
    inside = np.einsum("nap,nap->np", rotated, rotated) <= limit + 1e-9
    flat, corners = _corners(rotated, reference.data.shape)
    values = np.zeros(inside.shape, dtype=np.complex128)
    table = reference.data.ravel()
    for offset, weight in corners:
        values += weight * table.take(flat + offset, mode="clip")
    values = np.where(mirrored, values.conj(), values)
    values[~inside] = 0
    result = np.zeros((len(matrices), *kx.shape), dtype=np.complex128)
    result[:, kept] = values
    return result


def backproject(
    sums: BackprojectionSums,
    data: NDArray[Any],
    weight: NDArray[Any],
    matrices: NDArray[Any],
) -> None:
    """Add slices, data and weight (n, size, size//2+1), to double-precision sums, in place."""
    size = data.shape[1]
    kx, ky = half_transform_frequencies(size)
    kept = ~((kx == 0) & (ky < 0))
    rotated, mirrored = _slice_points(matrices, kx[kept], ky[kept], sums.padding_factor)
    values = np.where(mirrored, data[:, kept].conj(), data[:, kept])
    weights = weight[:, kept]
    squared = np.einsum("nap,nap->np", rotated, rotated)
    chosen = (squared <= sums.padded_radius**2 + 1e-9) & (weights > 0)
    points = np.moveaxis(rotated, 1, 2)[chosen].T[None]
    flat, corners = _corners(points, sums.data.shape)
    total = sums.weight.size
    for offset, share in corners:
        for target, source in (
            (sums.data.real, values.real[chosen]),
            (sums.data.imag, values.imag[chosen]),
            (sums.weight, weights[chosen]),
        ):
            added = np.bincount((flat + offset)[0], weights=share[0] * source, minlength=total)
            target += added[:total].reshape(sums.weight.shape)


def _slice_points(
    matrices: NDArray[Any], kx: NDArray[Any], ky: NDArray[Any], factor: float
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    inverse = np.linalg.inv(matrices)
    plane = np.stack([kx, ky]).astype(np.float64)
    rotated = factor * (inverse[:, :, :2] @ plane)
    mirrored = rotated[:, 0] < 0
    rotated *= np.where(mirrored, -1.0, 1.0)[:, None]
    return rotated, mirrored


def _corners(
    points: NDArray[np.float64], shape: tuple[int, ...]
) -> tuple[NDArray[np.int64], list[tuple[int, NDArray[np.float64]]]]:
    corner = np.floor(points).astype(np.int64)
    fx, fy, fz = np.moveaxis(points - corner, 1, 0)
    x, y, z = np.moveaxis(corner, 1, 0)
    origin = shape[2] - 1
    flat = ((z + origin) * shape[1] + y + origin) * shape[2] + x
    corners = []
    for dz, wz in ((0, 1 - fz), (1, fz)):
        for dy, wy in ((0, 1 - fy), (1, fy)):
            for dx, wx in ((0, 1 - fx), (1, fx)):
                corners.append(((dz * shape[1] + dy) * shape[2] + dx, wz * wy * wx))
    return flat, corners
