"""Back-projection, orientation after orientation (specification E 1.11, 5.6; M 1.1, 1.2)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from tests.reference.weighted_sums import Row, scatter


def backproject_orientations(
    unmasked_ft: NDArray[np.complex128],
    bp_data: NDArray[np.float64],
    bp_weight: NDArray[np.float64],
    groups: Iterable[Sequence[Row]],
    phases: NDArray[np.complex128],
    bp_xy: NDArray[np.float64],
    shape: tuple[int, int, int, int],
    units: tuple[float, float] | None = None,
) -> tuple[NDArray[np.complex128], NDArray[np.float64]]:
    """Add up the rows of each orientation, then scatter them once: data, weight of ``shape``.

    Arrays of the batch (image, pixel); ``phases`` S (fine translation, pixel); ``bp_xy`` (pixel,
    2) in padded Fourier units.  With ``units`` of data and weight each row's share in each voxel is
    rounded to a multiple before anything is added up.
    """
    data, weight = np.zeros(shape, dtype=complex), np.zeros(shape)
    plane = np.concatenate([bp_xy, np.zeros((len(bp_xy), 1))], axis=1)

    def share_of(row: Row) -> NDArray[np.complex128]:
        """Data and weight at the pixels, (2, pixel)."""
        i, s = row.image, sum(omega * phases[t] for t, omega in row.entries)
        values = bp_data[i] * unmasked_ft[i] * s
        weights = bp_weight[i] * sum(omega for _, omega in row.entries)
        return np.where(bp_weight[i] > 0, np.stack([values, weights]), 0)

    for rows in groups:
        k, points, shares = rows[0].class_number, plane @ rows[0].matrix, map(share_of, rows)
        for values, weights in [np.sum(list(shares), axis=0)] if units is None else shares:
            used = weights.real > 0
            scatter(data[k], weight[k], points[used], values[used], weights[used].real, units)
    return data, weight
