"""Rows 0 and 1 of Y(tilt) Z(rot) P for the children of HEALPix pixels (spec. E 1.2, 4.2)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from clrelion.orientations.euler import euler_matrix
from clrelion.orientations.healpix_grid import children, pixel_angles


def direction_frames(
    pixels: NDArray[np.int64], order: int, oversampling: int, turn: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Frames (n_dir * 4^oversampling, 6), by way of the angles in degrees."""
    ids = children(order, pixels, oversampling)
    rot, tilt = (angle.ravel() for angle in pixel_angles(order + oversampling, ids))
    matrices = euler_matrix(rot, tilt, np.zeros(rot.size)) @ turn
    return np.asarray(matrices[:, :2, :].reshape(-1, 6))
