"""What is done to maps, by functions of the squared radius (specification M 2.3, 2.4, 4.4)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.reference.volume_sums import squared_radii


def radii_of_map(n: int) -> NDArray[np.int64]:
    """Squared distance from the origin n//2, (n, n, n)."""
    axis = (np.arange(n) - n // 2) ** 2
    squared: NDArray[np.int64] = axis[:, None, None] + axis[:, None] + axis
    return squared


def background_sums(volume: NDArray[Any], weights: NDArray[Any]) -> NDArray[np.float64]:
    """Weighted sum and sum of weights along y, (2, n, n) by z and x."""
    g = weights[radii_of_map(len(volume))]
    return np.stack([g * volume, g]).sum(axis=2)


def finish_map(
    volume: NDArray[Any], factors: NDArray[Any], scale: float, background: float
) -> NDArray[Any]:
    """Scaled map with filled corners, times the correction."""
    g, correction = np.moveaxis(factors[radii_of_map(len(volume))], -1, 0)
    return np.asarray(((1 - g) * scale * volume + g * background) * correction)


def scale_map(volume: NDArray[Any], factors: NDArray[Any]) -> NDArray[Any]:
    """Map times a function of the radius."""
    return np.asarray(volume * factors[radii_of_map(len(volume))])


def multiply_map(volume: NDArray[Any], mask: NDArray[Any]) -> NDArray[Any]:
    """Map times mask."""
    return np.asarray(volume * mask)


def filter_columns(
    transform: NDArray[Any], squared_radius: int, factors: NDArray[Any]
) -> NDArray[Any]:
    """Coefficients of a centred half array within a radius, filtered, without its margin."""
    squared = squared_radii(len(transform))
    inside = squared <= squared_radius
    filtered = np.where(inside, transform * factors[np.where(inside, squared, 0)], 0)
    return filtered[1:-1, 1:-1, :-1]
