"""Point-group symmetrisation of back-projection sums (specification M 1.4).

Every operator asks for a trilinear gather at each voxel of the sphere.  Two observations make this
cheap.  Operators that map the voxel lattice onto itself need no interpolation; they form a subgroup
H, and the sum over the group is the sum over H of one gathered sum over the cosets of H (D2, C4,
O: no interpolation at all; I1, I2: 4 gathers instead of 59).  And each gather is a sparse matrix of
eight entries a row, which SciPy applies to real part, imaginary part and weight together.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import scipy.sparse
from numpy.typing import ArrayLike, NDArray

__all__ = ["lattice_cosets", "symmetrised"]

_SAME_MATRIX = 1e-6
"""Operators that agree to this in all elements are one (specification M 7.1)."""

_CHUNK_POINTS = 1 << 17
"""Voxels gathered at once; bounds the sparse matrix to some 15 MB."""


def symmetrised(
    data: NDArray[Any], weight: NDArray[Any], operators: ArrayLike
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Sum a centred half array over its symmetry copies.

    Parameters
    ----------
    data
        complex64 or complex128, (M, M, P+2), Hermitian on the plane x = 0.
    weight
        float32 or float64, same shape.
    operators
        float, (n, 3, 3); rotation matrices acting on (x, y, z), with or without the identity.

    Returns
    -------
    data, weight
        same dtypes; new arrays within |x|^2 <= P^2 and copies of the input beyond.

    Raises
    ------
    ValueError
        if the operators do not form a group.
    """
    subgroup, representatives = lattice_cosets(operators)
    if len(subgroup) * len(representatives) == 1:
        return data.copy(), weight.copy()
    shape = data.shape
    table = np.stack([data.real.ravel(), data.imag.ravel(), weight.ravel()], axis=1)
    radius = shape[2] - 2
    gathered = table
    if len(representatives) > 1:
        gathered = table.copy()
        for xyz in _ball_points(radius):
            target = _flat_index(xyz, shape)
            for operator in representatives[1:]:
                gathered[target] += _interpolate(table, xyz, operator, shape)
    result = gathered
    if len(subgroup) > 1:
        del table
        result = gathered.copy()
        for xyz in _ball_points(radius):
            target = _flat_index(xyz, shape)
            for operator in subgroup[1:]:
                result[target] += _permute(gathered, xyz, operator, shape)
    new_data = np.empty_like(data)
    new_data.real = result[:, 0].reshape(shape)
    new_data.imag = result[:, 1].reshape(shape)
    return new_data, np.ascontiguousarray(result[:, 2]).reshape(shape)


def lattice_cosets(
    operators: ArrayLike,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Split a point group into its lattice operators and representatives of their cosets.

    Parameters
    ----------
    operators
        float, (n, 3, 3), with or without the identity.

    Returns
    -------
    subgroup
        int64, (h, 3, 3); the operators with elements 0 and +-1, identity first.
    representatives
        float64, (n/h, 3, 3), identity first; the group is {A B}, A a representative, B of the
        subgroup.

    Raises
    ------
    ValueError
        if the operators do not form a group.
    """
    group = [np.eye(3)]
    for operator in np.asarray(operators, dtype=np.float64).reshape(-1, 3, 3):
        if _position(operator, group) < 0:
            group.append(operator)
    lattice = [op for op in group if np.abs(op - np.round(op)).max() < _SAME_MATRIX]
    subgroup = np.round(np.stack(lattice)).astype(np.int64)
    representatives = []
    remaining = set(range(len(group)))
    for i, operator in enumerate(group):
        if i not in remaining:
            continue
        coset = {_position(operator @ element, group) for element in subgroup}
        if not coset <= remaining or len(coset) != len(subgroup):
            raise ValueError("the symmetry operators do not form a group")
        remaining -= coset
        representatives.append(operator)
    return subgroup, np.stack(representatives)


def _position(operator: NDArray[Any], group: list[NDArray[np.float64]]) -> int:
    """Find an operator in a list; -1 if it is not there."""
    distances = np.abs(np.stack(group) - operator).max(axis=(1, 2))
    best = int(distances.argmin())
    return best if distances[best] < _SAME_MATRIX else -1


def _ball_points(padded_radius: int) -> Iterator[NDArray[np.int64]]:
    """Yield the voxels |x|^2 <= P^2, x >= 0, as int64 (3, n) blocks of (x, y, z)."""
    axis = np.arange(-padded_radius, padded_radius + 1, dtype=np.int64)
    half = axis[padded_radius:]
    squares_yx = axis[:, None] ** 2 + half**2
    step = max(1, _CHUNK_POINTS // squares_yx.size)
    for start in range(0, axis.size, step):
        planes = axis[start : start + step]
        inside = planes[:, None, None] ** 2 + squares_yx <= padded_radius**2
        z, y, x = np.nonzero(inside)
        yield np.stack([x, y - padded_radius, z + planes[0]])


def _flat_index(xyz: NDArray[np.int64], shape: tuple[int, ...]) -> NDArray[np.int64]:
    """Convert (x, y, z) with x >= 0 into flat positions of a centred half array."""
    origin = shape[2] - 1
    flat: NDArray[np.int64] = ((xyz[2] + origin) * shape[1] + xyz[1] + origin) * shape[2] + xyz[0]
    return flat


def _interpolate(
    table: NDArray[Any], xyz: NDArray[np.int64], operator: NDArray[Any], shape: tuple[int, ...]
) -> NDArray[Any]:
    """Gather (re, im, weight) at the rotated points by trilinear interpolation."""
    rotated: NDArray[np.float64] = operator @ xyz.astype(np.float64)
    mirrored = rotated[0] < 0
    rotated[:, mirrored] *= -1.0
    corner = np.floor(rotated).astype(np.int64)
    fx, fy, fz = rotated - corner
    base = _flat_index(corner, shape)
    columns = np.empty((base.size, 8), dtype=np.int32 if len(table) < 2**31 else np.int64)
    values = np.empty((base.size, 8), dtype=table.dtype)
    row, plane = shape[2], shape[1] * shape[2]
    for i, (wz, step_z) in enumerate(((1.0 - fz, 0), (fz, plane))):
        for j, (wy, step_y) in enumerate(((1.0 - fy, 0), (fy, row))):
            wzy, start, k = wz * wy, base + (step_z + step_y), 4 * i + 2 * j
            columns[:, k], columns[:, k + 1] = start, start + 1
            values[:, k + 1] = wzy * fx
            values[:, k] = wzy - values[:, k + 1]
    offsets = np.arange(0, 8 * base.size + 1, 8, dtype=columns.dtype)
    gather = scipy.sparse.csr_array(
        (values.ravel(), columns.ravel(), offsets), shape=(base.size, len(table))
    )
    result: NDArray[Any] = gather @ table
    result[mirrored, 1] *= -1.0
    return result


def _permute(
    table: NDArray[Any], xyz: NDArray[np.int64], operator: NDArray[Any], shape: tuple[int, ...]
) -> NDArray[Any]:
    """Fetch (re, im, weight) at points rotated by an operator of the lattice."""
    rotated = operator @ xyz
    mirrored = rotated[0] < 0
    rotated[:, mirrored] *= -1
    result: NDArray[Any] = table[_flat_index(rotated, shape)]
    result[mirrored, 1] *= -1.0
    return result
