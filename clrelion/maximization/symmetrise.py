"""Point-group symmetrisation of back-projection sums (specification M 1.4).

Every operator asks for a trilinear gather at each voxel of the sphere.  Two observations make this
cheap.  Operators that map the voxel lattice onto itself need no interpolation; they form a subgroup
H, and the sum over the group is the sum over H of one gathered sum over the cosets of H (D2, C4,
O: no interpolation at all; I1, I2: 4 gathers instead of 59).  And each gather is a sparse matrix of
eight entries a row, which SciPy applies to real part, imaginary part and weight together.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np
import scipy.sparse
from numpy.typing import ArrayLike, NDArray

from clrelion.fourier.shells import centred_z_chunks

__all__ = ["lattice_cosets", "symmetrised"]

_SAME_MATRIX = 1e-6
"""Operators that agree to this in all elements are one (specification M 7.1)."""

_CHUNK_POINTS = 1 << 15
"""Voxels gathered at once; keeps the sparse matrix within the cache."""


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
    subgroup, cosets = lattice_cosets(operators)
    if len(cosets) > 1:
        data_sum, weight_sum = _sum_over_cosets(data, weight, cosets)
    else:
        data_sum, weight_sum = data, weight
    if len(subgroup) == 1:
        return (data.copy(), weight.copy()) if data_sum is data else (data_sum, weight_sum)
    return (
        _sum_over_subgroup(data_sum, data, subgroup),
        _sum_over_subgroup(weight_sum, weight, subgroup),
    )


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
    matrices = np.asarray(operators, dtype=np.float64).reshape(-1, 9)
    return _lattice_cosets(tuple(map(tuple, matrices.tolist())))


@lru_cache(maxsize=2)
def _lattice_cosets(
    operators: tuple[tuple[float, ...], ...],
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Split a group as `lattice_cosets`: that of a run is split for each volume."""
    group = [np.eye(3)]
    for operator in np.reshape(operators, (-1, 3, 3)):
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
    found = subgroup, np.stack(representatives)
    for array in found:
        array.setflags(write=False)
    return found


def _position(operator: NDArray[Any], group: list[NDArray[np.float64]]) -> int:
    """Find an operator in a list; -1 if it is not there."""
    distances = np.abs(np.stack(group) - operator).max(axis=(1, 2))
    best = int(distances.argmin())
    return best if distances[best] < _SAME_MATRIX else -1


def _sum_over_cosets(
    data: NDArray[Any], weight: NDArray[Any], cosets: NDArray[np.float64]
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Add the interpolated values of all representatives but the identity to the arrays."""
    shape = data.shape
    table = np.stack([data.real.ravel(), data.imag.ravel(), weight.ravel()], axis=1)
    new_data, new_weight = data.copy(), weight.copy()
    flat_data, flat_weight = new_data.reshape(-1), new_weight.reshape(-1)
    for xyz in _ball_points(shape[2] - 2):
        added = _interpolate(table, xyz, cosets[1], shape)
        for operator in cosets[2:]:
            added += _interpolate(table, xyz, operator, shape)
        target = _flat_index(xyz, shape)
        flat_data[target] += added[:, 0] + 1j * added[:, 1]
        flat_weight[target] += added[:, 2]
    return new_data, new_weight


def _sum_over_subgroup(
    array: NDArray[Any], original: NDArray[Any], subgroup: NDArray[np.int64]
) -> NDArray[Any]:
    """Add the copies moved by lattice operators; beyond the radius P return the original."""
    result = np.array(array)
    for operator in subgroup[1:]:
        for target, view, is_conjugate in _lattice_views(array, operator):
            block = result[target]
            if is_conjugate and np.iscomplexobj(array):
                block.real += view.real
                block.imag -= view.imag
            else:
                block += view
    radius = array.shape[2] - 2
    # the origin is its own mate: -0 is not below 0, so nothing is conjugated there
    origin = (radius + 1, radius + 1, 0)
    result[origin] = len(subgroup) * array[origin]
    for planes, squared in centred_z_chunks(radius):
        np.copyto(result[planes], original[planes], where=squared > radius**2)
    return result


def _lattice_views(
    array: NDArray[Any], operator: NDArray[np.int64]
) -> Iterator[tuple[tuple[slice, slice, slice], NDArray[Any], bool]]:
    """Yield blocks of a centred half array and the views that a lattice operator moves there.

    Each item is the block (z, y, x slices), the moved view, and whether it is to be conjugated
    because the moved points have x < 0 and are read at their Friedel mates.
    """
    edge = array.shape[2] - 1
    axis = int(np.flatnonzero(operator[0])[0])
    spans = [(0, edge), (-edge, edge), (-edge, edge)]
    parts = [spans]
    if axis > 0:
        parts = [[*spans], [*spans]]
        parts[0][axis], parts[1][axis] = (0, edge), (-edge, -1)
    for part in parts:
        is_conjugate = bool(operator[0, axis] * (1 if part[axis][0] >= 0 else -1) < 0)
        effective = -operator if is_conjugate else operator
        block = tuple(
            slice(low + origin, high + origin + 1)
            for (low, high), origin in zip(part, (0, edge, edge), strict=True)
        )
        slices, order = [], []
        for row, origin in zip(effective, (0, edge, edge), strict=True):
            source = int(np.flatnonzero(row)[0])
            low, high = part[source]
            if row[source] > 0:
                slices.append(slice(low + origin, high + origin + 1))
            else:
                last = origin - high - 1
                slices.append(slice(origin - low, last if last >= 0 else None, -1))
            order.append(source)
        # arrays are [z, y, x]; coordinates are (x, y, z)
        moved: NDArray[Any] = array[slices[2], slices[1], slices[0]]
        axes = [2 - order.index(2 - k) for k in range(3)]
        yield (block[2], block[1], block[0]), moved.transpose(axes), is_conjugate


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
    # points with x < 0 are read at their Friedel mates, conjugated
    sign = np.where(rotated[0] < 0, -1.0, 1.0)
    rotated *= sign
    corner = np.floor(rotated)
    fx, fy, fz = rotated - corner
    index = np.int32 if len(table) < 2**31 else np.int64
    row, plane = shape[2], shape[1] * shape[2]
    steps = [dz + dy + dx for dz in (0, plane) for dy in (0, row) for dx in (0, 1)]
    base = _flat_index(corner.astype(np.int64), shape).astype(index)
    columns = base[:, None] + np.array(steps, dtype=index)
    values = np.empty((8, base.size), dtype=table.dtype)
    for i, wz in enumerate((1.0 - fz, fz)):
        for j, wy in enumerate((1.0 - fy, fy)):
            wzy, k = wz * wy, 4 * i + 2 * j
            values[k + 1] = wzy * fx
            values[k] = wzy - values[k + 1]
    offsets = np.arange(0, 8 * base.size + 1, 8, dtype=index)
    gather = scipy.sparse.csr_array(
        (values.T.ravel(), columns.ravel(), offsets), shape=(base.size, len(table))
    )
    result: NDArray[Any] = gather @ table
    result[:, 1] *= sign
    return result
