"""Central slices taken out of, and put into, a centred half transform (spec E 1.6, 1.11; M 1.2)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clrelion.expectation.reference import ReferenceTransform
from clrelion.maximization.sums import BackprojectionSums

__all__ = ["extract_slices", "insert_slices"]


def extract_slices(
    reference: ReferenceTransform, xy: NDArray[np.float64], matrices: NDArray[np.float64]
) -> NDArray[np.complex128]:
    """Interpolate central slices of a map's transform.

    Parameters
    ----------
    reference
        Padded transform of the map.
    xy
        float64, (n_pixels, 2); pixels of the slice, padded Fourier pixels, within the radius P.
    matrices
        float64, (n, 3, 3); Euler matrices of the orientations.

    Returns
    -------
    complex128, (n, n_pixels); on the scale of 2-D transforms divided by N^2, phase origin at the
    centre of the box.
    """
    points, is_mirrored = _points(xy, matrices)
    table = reference.data.reshape(-1)
    values = np.zeros(is_mirrored.shape, dtype=np.complex128)
    for index, share in _corners(points, reference.data.shape):
        values += share * table[index]
    np.conjugate(values, out=values, where=is_mirrored)
    return values


def insert_slices(
    sums: BackprojectionSums,
    xy: NDArray[np.float64],
    matrices: NDArray[np.float64],
    data: NDArray[Any],
    weight: NDArray[Any],
) -> None:
    """Add slices to the sums of a map, in place: the adjoint of `extract_slices`.

    Parameters
    ----------
    sums
        Changed.
    xy
        float64, (n_pixels, 2); pixels, padded Fourier pixels, within the radius P; of a pair of
        Friedel mates only one.
    matrices
        float64, (n, 3, 3).
    data
        complex, (n, n_pixels); weighted Fourier components.
    weight
        real, (n, n_pixels); components without weight are left out.
    """
    points, is_mirrored = _points(xy, matrices)
    values = np.where(is_mirrored, np.conjugate(data), data).astype(sums.data.dtype)
    weights = np.asarray(weight, dtype=sums.weight.dtype)
    kept = weights > 0
    flat_data, flat_weight = sums.data.reshape(-1), sums.weight.reshape(-1)
    values, weights = values[kept], weights[kept]
    for index, share in _corners(points[:, kept], sums.data.shape):
        part = share.astype(weights.dtype)
        np.add.at(flat_data, index, part * values)
        np.add.at(flat_weight, index, part * weights)


def _points(
    xy: NDArray[np.float64], matrices: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Rotate pixels into the map's frame; those with x < 0 are taken at their Friedel mates.

    Returns
    -------
    points
        float64, (3, n, n_pixels); x, y, z.
    is_mirrored
        bool, (n, n_pixels).
    """
    # A^T (x, y, 0): the rows of A are the image's axes in the map's frame
    points = np.einsum("pk,nkd->dnp", xy, np.asarray(matrices)[:, :2], optimize=True)
    is_mirrored = points[0] < 0
    points *= np.where(is_mirrored, -1.0, 1.0)
    return points, is_mirrored


def _corners(
    points: NDArray[np.float64], shape: tuple[int, ...]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float64]]]:
    """Yield flat index and trilinear share of the eight neighbours of points (3, ...)."""
    corner = np.floor(points)
    fx, fy, fz = points - corner
    x, y, z = corner.astype(np.int64)
    edge = shape[2] - 1
    flat = ((z + edge) * shape[1] + y + edge) * shape[2] + x
    for dz, wz in ((0, 1.0 - fz), (1, fz)):
        for dy, wy in ((0, 1.0 - fy), (1, fy)):
            wzy = wz * wy
            row = flat + (dz * shape[1] + dy) * shape[2]
            yield row, wzy * (1.0 - fx)
            yield row + 1, wzy * fx
