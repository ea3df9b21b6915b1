"""Small maps and uniform orientations for the tests."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from clrelion.orientations.euler import euler_matrix


def blob_map(
    n: int, n_blobs: int = 40, sd_px: float = 1.3, seed: int = 1, is_signed: bool = False
) -> NDArray[np.float64]:
    """Gaussian blobs at random places within a sphere of n/4; every other one negative or not."""
    rng = np.random.default_rng(seed)
    z, y, x = np.mgrid[:n, :n, :n] - n // 2
    result = np.zeros((n, n, n))
    for i in range(n_blobs):
        direction = rng.normal(size=3)
        cx, cy, cz = direction / np.linalg.norm(direction) * n / 4 * rng.random() ** (1 / 3)
        squared = (x - cx) ** 2 + (y - cy) ** 2 + (z - cz) ** 2
        height = rng.uniform(0.3, 1.0) * (-1.0 if is_signed and i % 2 else 1.0)
        result += height * np.exp(-squared / (2 * sd_px**2))
    return result


def uniform_angles(n: int, seed: int = 0) -> NDArray[np.float64]:
    """Rot, tilt, psi in degrees, (n, 3), uniform over orientations."""
    rng = np.random.default_rng(seed)
    tilt = np.degrees(np.arccos(rng.uniform(-1, 1, n)))
    return np.stack([rng.uniform(-180, 180, n), tilt, rng.uniform(-180, 180, n)], axis=1)


def uniform_matrices(n: int, seed: int = 0) -> NDArray[np.float64]:
    """Euler matrices of `uniform_angles`, (n, 3, 3)."""
    return np.asarray(euler_matrix(*uniform_angles(n, seed).T))
