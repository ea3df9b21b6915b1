"""Recentring of references on their centre of mass (specification M 4.1.11)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

__all__ = ["centre_map", "centre_of_mass"]


def centre_of_mass(reference: NDArray[Any]) -> NDArray[np.float64]:
    """Find the centre of mass of the positive voxels.

    Parameters
    ----------
    reference
        Real, (N, N, N), real space, origin at index N//2.

    Returns
    -------
    ndarray
        float64, (3,) as (z, y, x); px from the origin.  0 if no voxel is positive.
    """
    mass = np.maximum(np.asarray(reference, dtype=np.float64), 0.0)
    total = float(mass.sum())
    if total <= 0:
        return np.zeros(3)
    centre = []
    for axis, size in enumerate(mass.shape):
        along = mass.sum(axis=tuple(other for other in range(3) if other != axis))
        centre.append(float(along @ (np.arange(size) - size // 2)) / total)
    return np.array(centre)


def centre_map(reference: NDArray[Any], largest_shift_px: float) -> NDArray[np.float64]:
    """Shift a map so that its centre of mass comes to the origin.

    Parameters
    ----------
    reference
        Real, (N, N, N), real space, origin at index N//2.
    largest_shift_px
        Longer shifts are cut to this length, px.

    Returns
    -------
    ndarray
        float64, (N, N, N).  Interpolated linearly; what comes in from outside is 0, what goes out
        is lost.

    Notes
    -----
    Specification M 4.1.11 (``--center_classes``).  It does not say how to interpolate.
    """
    shift = -centre_of_mass(reference)
    length = float(np.linalg.norm(shift))
    if length > largest_shift_px:
        shift *= largest_shift_px / length
    return np.asarray(
        ndimage.shift(
            np.asarray(reference, dtype=np.float64), shift, order=1, mode="grid-constant", cval=0.0
        )
    )
