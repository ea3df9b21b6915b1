"""Division of back-projected data by regularised, floored weights (specification M 2.1, 2.2a)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.reference.shell_runs import sums_by_shell
from tests.reference.volume_sums import squared_radii


def regularised_weight(
    volume: NDArray[Any], squared_radius: int, priors: NDArray[Any]
) -> NDArray[np.float64]:
    """Weight plus prior, by squared radius; -1 stands for a shell without power."""
    squared, weight = squared_radii(len(volume)), volume[..., 2]
    prior = priors[np.minimum(squared, squared_radius)]
    bare = weight + np.where(weight > 1e-20, 1 / (1e-3 * np.maximum(weight, 1e-20)), 0)
    regularised = np.where(prior >= 0, weight + prior, bare)
    return np.where(squared <= squared_radius, regularised, 0)


def weight_floors(
    volume: NDArray[Any], squared_radius: int, floor_bounds: NDArray[Any], priors: NDArray[Any]
) -> NDArray[np.float64]:
    """Sum of the regularised weights and number of voxels, by plane and shell."""
    weight = regularised_weight(volume, squared_radius, priors)
    values = np.stack([weight, np.ones_like(weight)], axis=-1)
    return sums_by_shell(values, len(volume), floor_bounds)


def divide_volume(
    volume: NDArray[Any], squared_radius: int, factors: NDArray[Any]
) -> NDArray[np.complex128]:
    """Quotients of the whole array, without its margin in z and y."""
    squared = squared_radii(len(volume))
    weight = regularised_weight(volume, squared_radius, factors[:, 0])
    divisor = np.maximum(weight, factors[np.minimum(squared, squared_radius), 1])
    divisor[divisor == 0] = 1
    quotient = (volume[..., 0] + 1j * volume[..., 1]) / divisor
    return np.where(squared <= squared_radius, quotient, 0)[1:-1, 1:-1]


def part_of(
    coefficients: NDArray[Any], first_plane: int, n_planes: int, first_row: int, n_rows: int,
    first_column: int, n_columns: int,
) -> NDArray[Any]:  # fmt: skip
    """Part of an array without margin; plane i has z = first_plane + i, less n_planes beyond P."""
    radius = len(coefficients) // 2
    z = first_plane + np.arange(n_planes)
    z = np.where(z > radius, z - n_planes, z)
    rows = slice(first_row + radius, first_row + radius + n_rows)
    found = coefficients[
        np.clip(z, -radius, radius) + radius, rows, first_column : first_column + n_columns
    ]
    found[abs(z) > radius] = 0
    return found
