"""Euler angles, rotation matrices and viewing directions in RELION's ZYZ convention."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

_ROWS = 2048
"""Rows compared at a time: what is made of them stays in a cache."""

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
    rot, tilt, psi = np.broadcast_arrays(
        *(np.deg2rad(np.asarray(angle, dtype=np.float64)) for angle in (rot_deg, tilt_deg, psi_deg))
    )
    ca, cb, cg = np.cos(rot), np.cos(tilt), np.cos(psi)
    sa, sb, sg = np.sin(rot), np.sin(tilt), np.sin(psi)
    matrix = np.empty((*rot.shape, 3, 3), dtype=np.float64)
    matrix[..., 0, 0] = cg * cb * ca - sg * sa
    matrix[..., 0, 1] = cg * cb * sa + sg * ca
    matrix[..., 0, 2] = -cg * sb
    matrix[..., 1, 0] = -sg * cb * ca - cg * sa
    matrix[..., 1, 1] = -sg * cb * sa + cg * ca
    matrix[..., 1, 2] = sg * sb
    matrix[..., 2, 0] = sb * ca
    matrix[..., 2, 1] = sb * sa
    matrix[..., 2, 2] = cb
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
    new = np.asarray(matrix_new, dtype=np.float64)
    old = np.asarray(matrix_old, dtype=np.float64)
    best: FloatArray | None = None
    # One operator at a time: the temporary stays at the size of the input.
    for operator in np.asarray(operators, dtype=np.float64):
        # sums of three by hand: NumPy's are slow along so short an axis
        products = new * (old.reshape(-1, 3) @ operator).reshape(old.shape)
        cosines = products[..., 0] + products[..., 1] + products[..., 2]
        angles = np.arccos(np.clip(cosines, -1.0, 1.0, out=cosines), out=cosines)
        distance = np.rad2deg((angles[..., 0] + angles[..., 1] + angles[..., 2]) / 3)
        best = distance if best is None else np.minimum(best, distance)
    if best is None:
        raise ValueError("a point group has at least the identity operator")
    return np.asarray(best, dtype=np.float64)


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
    new, old = (
        np.asarray(angles, dtype=np.float64).reshape(-1, 3)
        for angles in (angles_new_deg, angles_old_deg)
    )

    distances = np.empty(len(new))
    for first in range(0, len(new), _ROWS):
        rows = slice(first, first + _ROWS)
        distances[rows] = angular_distance_deg(
            euler_matrix(*new[rows].T), euler_matrix(*old[rows].T), operators
        )
    return distances
