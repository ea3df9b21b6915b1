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
) -> tuple[NDArray[np.complex128], NDArray[np.float64]]:
    """Add up the rows of each orientation, then scatter them once: data, weight of ``shape``.

    Arrays of the batch (image, pixel); ``phases`` S (fine translation, pixel); ``bp_xy`` (pixel,
    2) in padded Fourier units.
    """
    data, weight = np.zeros(shape, dtype=complex), np.zeros(shape)
    plane = np.concatenate([bp_xy, np.zeros((len(bp_xy), 1))], axis=1)
    for rows in groups:
        values, weights = np.zeros(len(bp_xy), dtype=complex), np.zeros(len(bp_xy))
        for row in rows:
            used = bp_weight[row.image] > 0
            for t, omega in row.entries:
                share = omega * bp_data[row.image] * unmasked_ft[row.image] * phases[t]
                values += np.where(used, share, 0)
                weights += np.where(used, omega * bp_weight[row.image], 0)
        k, chosen = rows[0].class_number, weights > 0
        points = plane[chosen] @ rows[0].matrix
        scatter(data[k], weight[k], points, values[chosen], weights[chosen])
    return data, weight
