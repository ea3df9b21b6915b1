"""Orientations worth looking at, with the weights of all their translations (E 5.5)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tests.reference.orientation_maxima import Scores


def compact_candidates(
    scores: Scores, cutoff: float
) -> list[tuple[NDArray[np.int64], NDArray[np.float64]]]:
    """For each image the orientations whose maximum is at most ``cutoff`` below the image's.

    Returns their indices, ascending, and exp(log-weight - maximum) (candidate, translation).
    """
    result = []
    for log_weights in scores.log_weights:
        top = np.max(log_weights, initial=-np.inf)
        near = log_weights.max(axis=1) >= top - cutoff if np.isfinite(top) else []
        candidate = np.flatnonzero(near)
        result.append((candidate, np.exp(log_weights[candidate] - top)))
    return result
