"""Weighted sums over orientations and translations (specification E 1.11, 5.6; M 1.1, 1.2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Row:
    """One orientation of one image with its significant translations and their weights."""

    image: int
    class_number: int
    matrix: NDArray[np.float64]
    slice_ft: NDArray[np.complex128]
    entries: Sequence[tuple[int, float]]


@dataclass(frozen=True)
class WeightedSums:
    """Sums of a batch.

    ``pixel_sums`` (image, pixel, 4): AA, XA of E 5.6 at each pixel, over all rows and over those
    whose class counts the pixel's shell; ``data`` and ``weight`` (class, z, y, x >= 0).
    """

    pixel_sums: NDArray[np.float64]
    data: NDArray[np.complex128]
    weight: NDArray[np.float64]


def scatter(
    data: NDArray[np.complex128],
    weight: NDArray[np.float64],
    points: NDArray[np.float64],
    values: NDArray[np.complex128],
    weights: NDArray[np.float64],
    units: tuple[float, float] | None = None,
) -> None:
    """Add values and weights at points (n, 3) = (x, y, z) to their eight neighbours, in place.

    With ``units`` of values and weights each share is rounded to a multiple of its unit.
    """
    mirrored = points[:, 0] < 0
    points = np.where(mirrored[:, None], -points, points)
    values = np.where(mirrored, np.conj(values), values)
    centre = np.array([0, data.shape[1] // 2, data.shape[0] // 2])
    lower = np.floor(points)
    for corner in np.ndindex(2, 2, 2):
        neighbour = lower + corner
        share = np.prod(1 - np.abs(points - neighbour), axis=1)
        x, y, z = (neighbour + centre).astype(int).T
        values_there, weights_there = share * values, share * weights
        if units is not None:
            counts = values_there / units[0]
            values_there = units[0] * (np.rint(counts.real) + 1j * np.rint(counts.imag))
            weights_there = units[1] * np.rint(weights_there / units[1])
        np.add.at(data, (z, y, x), values_there)
        np.add.at(weight, (z, y, x), weights_there)


def weighted_sums(
    image_ft: NDArray[np.complex128],
    unmasked_ft: NDArray[np.complex128],
    reference_ctf: NDArray[np.float64],
    bp_data: NDArray[np.float64],
    bp_weight: NDArray[np.float64],
    rows: Sequence[Row],
    phases: NDArray[np.complex128],
    bp_xy: NDArray[np.float64],
    is_counted: NDArray[Any],
    shape: tuple[int, int, int, int],
) -> WeightedSums:
    """Go through the samples one by one.

    Arrays of the batch (image, pixel); ``phases`` S (fine translation, pixel); ``bp_xy`` (pixel,
    2) in padded Fourier units; ``is_counted`` (class, pixel); ``shape`` of the volumes.
    """
    sums = WeightedSums(
        np.zeros((*image_ft.shape, 4)), np.zeros(shape, dtype=complex), np.zeros(shape)
    )
    plane = np.concatenate([bp_xy, np.zeros((len(bp_xy), 1))], axis=1)
    for row in rows:
        i, k = row.image, row.class_number
        Y = reference_ctf[i] * row.slice_ft
        chosen = bp_weight[i] > 0
        points = plane[chosen] @ row.matrix
        for t, omega in row.entries:
            power = omega * np.abs(Y) ** 2
            cross = omega * (np.conj(Y) * image_ft[i] * phases[t]).real
            sums.pixel_sums[i, :, 0] += power
            sums.pixel_sums[i, :, 1] += cross
            sums.pixel_sums[i, :, 2] += np.where(is_counted[k], power, 0)
            sums.pixel_sums[i, :, 3] += np.where(is_counted[k], cross, 0)
            values = omega * bp_data[i] * unmasked_ft[i] * phases[t]
            weights = omega * bp_weight[i]
            scatter(sums.data[k], sums.weight[k], points, values[chosen], weights[chosen])
    return sums
