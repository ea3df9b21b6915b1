"""Back-projection sums of one class, voxel by voxel (specification M 1.3-1.6).

Volumes are float64 (M, M, P+2, 4): re, im, weight, 0, axes z and y from -(P+1), x from 0.
"""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

Volume = NDArray[np.float64]


def squared_radii(edge: int) -> NDArray[np.int64]:
    """Squared distance from the origin, (edge, edge, edge//2 + 1)."""
    axis = np.arange(edge) - edge // 2
    squared: NDArray[np.int64] = axis[:, None, None] ** 2 + axis[:, None] ** 2
    return squared + np.arange(edge // 2 + 1) ** 2


def value_at(volume: Volume, x: int, y: int, z: int) -> NDArray[np.float64]:
    """Value at a voxel, by its Friedel mate if x < 0."""
    centre = len(volume) // 2
    if x < 0:
        return volume[centre - z, centre - y, -x] * np.array([1, -1, 1, 1])
    return volume[centre + z, centre + y, x]


def repair_hermitian(volume: Volume) -> Volume:
    """Add the Friedel mates of the plane x = 0; not at the origin."""
    result = volume.copy()
    centre = len(volume) // 2
    axis = range(-centre, centre + 1)
    for z, y in itertools.product(axis, axis):
        if (y, z) != (0, 0):
            mate = volume[centre - z, centre - y, 0] * np.array([1, -1, 1, 1])
            result[centre + z, centre + y, 0] += mate
    return result


def add_volume(target: Volume, source: Volume) -> Volume:
    """Sum of both."""
    return target + source


def add_whole_numbers(target: NDArray[np.int64], source: NDArray[np.int64]) -> NDArray[np.int64]:
    """Sum of both."""
    return target + source


def symmetrise_volume(
    volume: Volume, operators: NDArray[np.float64], squared_radius: int
) -> Volume:
    """Values plus the interpolated ones at the rotated points; NaN beyond the radius."""
    edge = len(volume)
    centre = edge // 2
    result = np.full(volume.shape, np.nan)
    for iz, iy, x in np.argwhere(squared_radii(edge) <= squared_radius):
        result[iz, iy, x] = volume[iz, iy, x]
        for operator in operators:
            point = operator @ np.array([x, iy - centre, iz - centre], dtype=np.float64)
            sign = -1.0 if point[0] < 0 else 1.0
            corner = np.floor(sign * point).astype(int)
            fraction = sign * point - corner
            total = np.zeros(4)
            for offset in itertools.product((0, 1), repeat=3):
                share = np.prod(np.where(offset, fraction, 1 - fraction))
                at = corner + np.array(offset)
                if share:
                    total += share * value_at(volume, *at)
            result[iz, iy, x] += total * np.array([1, sign, 1, 1])
    return result


def symmetrise_lattice(volume: Volume, operators: NDArray[np.int64], squared_radius: int) -> Volume:
    """Sum of the values at the rotated voxels; NaN beyond the radius."""
    centre = len(volume) // 2
    result = np.full(volume.shape, np.nan)
    for iz, iy, x in np.argwhere(squared_radii(len(volume)) <= squared_radius):
        points = [operator @ np.array([x, iy - centre, iz - centre]) for operator in operators]
        result[iz, iy, x] = sum(value_at(volume, *point) for point in points)
    return result


def join_volumes(first: Volume, second: Volume, squared_radius: int) -> tuple[Volume, Volume]:
    """Mean of both within a sphere."""
    inside = (squared_radii(len(first)) <= squared_radius)[..., None]
    mean = (first + second) / 2
    return np.where(inside, mean, first), np.where(inside, mean, second)


def downsample_volume(
    volume: Volume, starts: NDArray[np.int64], half_starts: NDArray[np.int64]
) -> NDArray[np.complex128]:
    """Weighted mean over the voxels of each bin; the starts end with the number of voxels."""
    n, n_half = len(starts) - 1, len(half_starts) - 1
    result = np.zeros((n, n, n_half), dtype=np.complex128)
    for k, j, i in np.ndindex(result.shape):
        block = volume[
            starts[k] : starts[k + 1],
            starts[j] : starts[j + 1],
            half_starts[i] : half_starts[i + 1],
        ].sum(axis=(0, 1, 2))
        if block[2] > 0:
            result[k, j, i] = complex(block[0], block[1]) / block[2]
    return result
