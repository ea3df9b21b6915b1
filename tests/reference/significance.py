"""Which samples of an image are significant (specification E 5.5, Significance)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tests.reference.threshold import significance_threshold


class Significance(NamedTuple):
    """One number an image each."""

    sum_weight: NDArray[np.float64]
    threshold: NDArray[np.float64]
    n_samples: NDArray[np.int64]
    n_orientations: NDArray[np.int64]


def significance(
    weights: Sequence[NDArray[np.float64]],
    adaptive_fraction: float,
    max_significants: int,
    smallest: float,
) -> Significance:
    """Threshold the weights (candidate, translation) of each image.

    ``smallest`` is the smallest weight that counts at all (the smallest normal number of the
    precision); ``max_significants`` <= 0 sets no limit.
    """
    rows = []
    for w in weights:
        goal = adaptive_fraction * w.sum()
        threshold = max(significance_threshold(w.ravel(), goal, max_significants), smallest)
        kept = w >= threshold
        rows.append((w.sum(), threshold, kept.sum(), kept.any(axis=1).sum()))
    sums, thresholds, samples, orientations = (
        np.array(column) for column in zip(*rows, strict=True)
    )
    return Significance(sums, thresholds, samples, orientations)
