"""Euler angles, rotation matrices and viewing directions in RELION's ZYZ convention."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

_COMPARED = 2**14
"""Pairs of orientations, symmetry mates counted, compared at a time: they stay in a cache."""
_TILE = 64
"""Orientations in whole numbers of these: of any matrix product's tiles."""

_GIMBAL_LIMIT = 16 * float(np.finfo(np.float32).eps)
_POLE_LIMIT_DEG = 0.001


def euler_matrix(
    rot_deg: npt.ArrayLike, tilt_deg: npt.ArrayLike, psi_deg: npt.ArrayLike
) -> FloatArray:
    """Turn Euler angles into rotation matrices.

    Parameters
    ----------
    rot_deg, tilt_deg, psi_deg
        float64, shapes that broadcast together; degrees.

    Returns
    -------
    numpy.ndarray
        float64, (..., 3, 3); ``r_image = A @ r_reference``. The rows are the x axis, the y axis
        and the viewing direction of the image in the frame of the reference.

    Notes
    -----
    Specification E 1.2, M 0.4.
    """
    angles = np.array(np.broadcast_arrays(rot_deg, tilt_deg, psi_deg), dtype=np.float64)
    matrix = _euler_components(angles)
    return np.ascontiguousarray(matrix.transpose(*range(2, matrix.ndim), 0, 1))


def _euler_components(angles_deg: FloatArray) -> FloatArray:
    """Elements of Euler matrices, (3, 3, ...), of (rot, tilt, psi), (3, ...).

    The orientations run fastest: few calls with long loops, outside of the interpreter's lock.
    """
    angles = np.deg2rad(angles_deg)
    (ca, cb, cg), (sa, sb, sg) = np.cos(angles), np.sin(angles)
    matrix = np.empty((3, *angles.shape), dtype=np.float64)
    # rows 0 and 1: (cos psi, -sin psi) times the tilted x axis, (-sin psi, -cos psi) times y's
    along, across = np.array([cg, -sg]), np.array([sg, cg])
    tilted = along * cb
    matrix[:2, 0] = tilted * ca - across * sa
    matrix[:2, 1] = tilted * sa + across * ca
    matrix[:2, 2] = -along * sb
    matrix[2, 0] = sb * ca
    matrix[2, 1] = sb * sa
    matrix[2, 2] = cb
    return matrix


def euler_angles(matrix: npt.ArrayLike) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Turn rotation matrices into Euler angles.

    Parameters
    ----------
    matrix
        float64, (..., 3, 3); rotation matrices as made by :func:`euler_matrix`.

    Returns
    -------
    tuple of numpy.ndarray
        rot, tilt, psi; float64, (...), degrees; rot and psi in [-180, 180], tilt in [0, 180].
        On the poles (tilt 0 or 180) rot is 0.

    Notes
    -----
    Specification E 1.2.
    """
    A = np.asarray(matrix, dtype=np.float64)
    sin_tilt = np.hypot(A[..., 0, 2], A[..., 1, 2])
    away_from_pole = sin_tilt > _GIMBAL_LIMIT
    upper = A[..., 2, 2] > 0
    rot = np.where(away_from_pole, np.arctan2(A[..., 2, 1], A[..., 2, 0]), 0.0)
    tilt = np.where(away_from_pole, np.arctan2(sin_tilt, A[..., 2, 2]), np.where(upper, 0.0, np.pi))
    psi_at_pole = np.where(
        upper,
        np.arctan2(-A[..., 1, 0], A[..., 0, 0]),
        np.arctan2(A[..., 1, 0], -A[..., 0, 0]),
    )
    psi = np.where(away_from_pole, np.arctan2(A[..., 1, 2], -A[..., 0, 2]), psi_at_pole)
    return np.rad2deg(rot), np.rad2deg(tilt), np.rad2deg(psi)


def direction_vector(rot_deg: npt.ArrayLike, tilt_deg: npt.ArrayLike) -> FloatArray:
    """Turn viewing directions into unit vectors.

    Parameters
    ----------
    rot_deg, tilt_deg
        float64, shapes that broadcast together; degrees.

    Returns
    -------
    numpy.ndarray
        float64, (..., 3) as (x, y, z) in the frame of the reference.

    Notes
    -----
    Specification E 1.2; the third row of :func:`euler_matrix`.
    """
    rot = np.deg2rad(np.asarray(rot_deg, dtype=np.float64))
    tilt = np.deg2rad(np.asarray(tilt_deg, dtype=np.float64))
    rot, tilt = np.broadcast_arrays(rot, tilt)
    sin_tilt = np.sin(tilt)
    return np.stack([sin_tilt * np.cos(rot), sin_tilt * np.sin(rot), np.cos(tilt)], axis=-1)


def direction_angles(direction: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Turn unit vectors into viewing directions.

    Parameters
    ----------
    direction
        float64, (..., 3); unit vectors (x, y, z).

    Returns
    -------
    tuple of numpy.ndarray
        rot in [-180, 180] and tilt in [0, 180]; float64, (...), degrees; rot is 0 within
        0.001 degrees of a pole.

    Notes
    -----
    Specification E 1.2.
    """
    d = np.asarray(direction, dtype=np.float64)
    rot = np.rad2deg(np.arctan2(d[..., 1], d[..., 0]))
    tilt = np.rad2deg(np.arccos(np.clip(d[..., 2], -1.0, 1.0)))
    on_pole = (tilt < _POLE_LIMIT_DEG) | (tilt > 180.0 - _POLE_LIMIT_DEG)
    return np.where(on_pole, 0.0, rot), tilt


def angular_distance_deg(
    matrix_new: npt.ArrayLike, matrix_old: npt.ArrayLike, operators: npt.ArrayLike
) -> FloatArray:
    """Measure the angular distance of orientations, over all their symmetry mates.

    Parameters
    ----------
    matrix_new, matrix_old
        float64, (..., 3, 3) that broadcast together; rotation matrices.
    operators
        float64, (n_operators, 3, 3); operators of the point group, identity included.

    Returns
    -------
    numpy.ndarray
        float64, (...), degrees: the mean angle between the rows of the new matrix and those of
        the old one times an operator, smallest over the operators.

    Notes
    -----
    Specification E 5.7, M 5.5.
    """
    new, old = np.broadcast_arrays(matrix_new, matrix_old)
    shape = new.shape[:-2]
    new, old = (m.reshape(-1, 3, 3).transpose(1, 2, 0) for m in (new, old))
    mates = np.asarray(operators, dtype=np.float64)
    return _smallest_distance(new, old, mates).reshape(shape)


def _smallest_distance(new: FloatArray, old: FloatArray, operators: FloatArray) -> FloatArray:
    """Compare orientations given as `_euler_components`, (3, 3, n), over all operators; (n,)."""
    if not len(operators):
        raise ValueError("a point group has at least the identity operator")
    n = new.shape[-1]
    # whole tiles of the matrix product: no bit depends on how many orientations there are
    products = np.zeros((3, 3, 3, -(-n // _TILE) * _TILE))
    np.multiply(new[:, :, None], old[:, None], out=products[..., :n])
    # sums over j, k of new[r][j] old[r][k] operator[k][j]
    flat = np.ascontiguousarray(operators.transpose(0, 2, 1)).reshape(-1, 9)
    cosines = (flat @ products.reshape(3, 9, -1))[..., :n]
    np.minimum(cosines, 1.0, out=cosines)
    np.maximum(cosines, -1.0, out=cosines)
    angles = np.arccos(cosines, out=cosines)
    distances = angles[0] + angles[1] + angles[2]
    return np.asarray(np.rad2deg(distances.min(axis=0) / 3))


def angles_distance_deg(
    angles_new_deg: npt.ArrayLike, angles_old_deg: npt.ArrayLike, operators: npt.ArrayLike
) -> FloatArray:
    """Measure the angular distances of many pairs of orientations.

    Parameters
    ----------
    angles_new_deg, angles_old_deg
        float64, (n, 3) as (rot, tilt, psi); degrees.
    operators
        As in `angular_distance_deg`.

    Returns
    -------
    numpy.ndarray
        float64, (n,), degrees.
    """
    new, old = (np.reshape(angles, (-1, 3)).T for angles in (angles_new_deg, angles_old_deg))
    # (rot, tilt, psi) first, orientations last; the new and the old at once
    angles = np.empty((3, 2, new.shape[1]))
    angles[:, 0], angles[:, 1] = new, old
    mates = np.asarray(operators, dtype=np.float64)
    n_rows = max(1, _COMPARED // max(1, len(mates)))
    distances = np.empty(angles.shape[-1])
    for first in range(0, len(distances), n_rows):
        rows = slice(first, first + n_rows)
        matrix = _euler_components(angles[..., rows])
        distances[rows] = _smallest_distance(matrix[:, :, 0], matrix[:, :, 1], mates)
    return distances
