"""References stored brick by brick."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def brick_layout(reference: NDArray[Any], brick: tuple[int, int, int]) -> NDArray[np.complex128]:
    """Cut ``reference`` (class, z, y, x) into bricks of so many voxels along x, y, z.

    Gives (class, voxel): brick after brick, x fastest among bricks and within them; zeros where the
    last bricks go beyond the reference.
    """
    bx, by, bz = brick
    n_classes = len(reference)
    n_z, n_y, n_x = (-(-n // b) for n, b in zip(reference.shape[1:], (bz, by, bx), strict=True))
    whole = np.zeros((n_classes, n_z * bz, n_y * by, n_x * bx), complex)
    _, nz, ny, nx = reference.shape
    whole[:, :nz, :ny, :nx] = reference
    bricks = whole.reshape(n_classes, n_z, bz, n_y, by, n_x, bx)
    return np.ascontiguousarray(bricks.transpose(0, 1, 3, 5, 2, 4, 6)).reshape(n_classes, -1)
