"""Sums over the shells of a centred half array, plane by plane (specification M 1.6, 3)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.reference.volume_sums import squared_radii


def shell_of(squared: NDArray[Any], bounds: NDArray[Any]) -> NDArray[np.int64]:
    """Shell s with bounds[s] <= r^2 < bounds[s + 1]; -1 if there is none."""
    shells = np.searchsorted(bounds, squared, side="right") - 1
    return np.where(shells >= len(bounds) - 1, -1, shells)


def sums_by_shell(values: NDArray[Any], edge: int, bounds: NDArray[Any]) -> NDArray[np.float64]:
    """Sum (edge, edge, nx, n_values) over each plane's shells: (edge, shells, n_values)."""
    shells = shell_of(squared_radii(edge), bounds)
    return np.stack(
        [
            [plane[of_plane == s].sum(axis=0) for s in range(len(bounds) - 1)]
            for plane, of_plane in zip(values, shells, strict=True)
        ]
    )


def shell_weights(volume: NDArray[Any], bounds: NDArray[Any]) -> NDArray[np.float64]:
    """Weights, their squares, and ones."""
    weight = volume[..., 2]
    values = np.stack([weight, weight**2, np.ones_like(weight)], axis=-1)
    return sums_by_shell(values, len(volume), bounds)


def shell_coverage(
    volume: NDArray[Any], bounds: NDArray[Any], thresholds: NDArray[Any]
) -> NDArray[np.float64]:
    """Number of voxels whose weight reaches the threshold of their shell."""
    shells = shell_of(squared_radii(len(volume)), bounds)
    reached = volume[..., 2] >= np.append(thresholds, np.inf)[shells]
    return sums_by_shell(reached[..., None].astype(float), len(volume), bounds)[..., 0]


def shell_power(transform: NDArray[Any], bounds: NDArray[Any]) -> NDArray[np.float64]:
    """Squared moduli, and ones."""
    power = np.abs(transform) ** 2
    return sums_by_shell(np.stack([power, np.ones_like(power)], -1), len(transform), bounds)


def shell_correlation(
    first: NDArray[Any], second: NDArray[Any], bounds: NDArray[Any]
) -> NDArray[np.float64]:
    """Real parts of the products, and both powers."""
    cross = (first * second.conj()).real
    values = np.stack([cross, np.abs(first) ** 2, np.abs(second) ** 2], axis=-1)
    return sums_by_shell(values, len(first), bounds)


def clear_shells(
    transform: NDArray[Any], inner: int, outer: int, lacks_lowest: bool
) -> NDArray[Any]:
    """Keep inner < r^2 <= outer, and not the two frequencies -N_p/2."""
    squared = squared_radii(len(transform))
    result = np.where((squared > inner) & (squared <= outer), transform, 0)
    if lacks_lowest:
        centre = len(transform) // 2
        result[1, centre, 0] = result[centre, 1, 0] = 0
    return result
