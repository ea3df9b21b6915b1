"""The sample with the smallest score of each image (specification E 5.5 b)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def best_sample(
    scores: Sequence[NDArray[np.float64]], log_orientation: Sequence[NDArray[np.float64]]
) -> list[tuple[float, int]]:
    """Smallest score and the first place (orientation x translations + translation) with it.

    ``scores`` (orientation, translation) of each image; orientations with a log prior of -inf do
    not count. (inf, -1) if none is left.
    """
    result = []
    for score, prior in zip(scores, log_orientation, strict=True):
        allowed = np.where(np.isfinite(prior)[:, None], score, np.inf).ravel()
        place = int(np.argmin(allowed)) if allowed.size else -1
        smallest = float(allowed[place]) if allowed.size else np.inf
        result.append((smallest, place if np.isfinite(smallest) else -1))
    return result
