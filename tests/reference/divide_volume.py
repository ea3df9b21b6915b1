"""Division of back-projected data by regularised, floored weights (specification M 2.1, 2.2a)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.reference.shell_runs import shell_of, sums_by_shell
from tests.reference.volume_sums import squared_radii


def regularised_weight(
    volume: NDArray[Any], squared_radius: int, bounds: NDArray[Any], priors: NDArray[Any]
) -> NDArray[np.float64]:
    """Weight plus the prior of the shell; -1 stands for a shell without power."""
    squared, weight = squared_radii(len(volume)), volume[..., 2]
    prior = priors[shell_of(squared, bounds)]
    bare = weight + np.where(weight > 1e-20, 1 / (1e-3 * np.maximum(weight, 1e-20)), 0)
    regularised = np.where(prior >= 0, weight + prior, bare)
    return np.where(squared <= squared_radius, regularised, 0)


def weight_floors(
    volume: NDArray[Any], squared_radius: int, floor_bounds: NDArray[Any], bounds: NDArray[Any],
    priors: NDArray[Any],
) -> NDArray[np.float64]:  # fmt: skip
    """Sum of the regularised weights and number of voxels, by plane and shell."""
    weight = regularised_weight(volume, squared_radius, bounds, priors)
    values = np.stack([weight, np.ones_like(weight)], axis=-1)
    return sums_by_shell(values, len(volume), floor_bounds)


def divide_volume(
    volume: NDArray[Any], squared_radius: int, floor_bounds: NDArray[Any], floors: NDArray[Any],
    bounds: NDArray[Any], priors: NDArray[Any],
) -> NDArray[np.complex128]:  # fmt: skip
    """Quotients of the whole array, without its margin in z and y."""
    squared = squared_radii(len(volume))
    weight = regularised_weight(volume, squared_radius, bounds, priors)
    shell = shell_of(squared, floor_bounds)
    divisor = np.maximum(weight, floors[np.where(shell < 0, len(floors) - 1, shell)])
    divisor[divisor == 0] = 1
    quotient = (volume[..., 0] + 1j * volume[..., 1]) / divisor
    return np.where(squared <= squared_radius, quotient, 0)[1:-1, 1:-1]
