"""The significant samples as one list (specification E 5.4, pass 2)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def compact_significant(
    weights: Sequence[NDArray[np.float64]],
    candidates: Sequence[NDArray[np.int64]],
    thresholds: NDArray[np.float64],
) -> list[tuple[int, int, list[int]]]:
    """(image, orientation, significant translations) of each candidate that has any."""
    blocks = []
    for image, (w, candidate) in enumerate(zip(weights, candidates, strict=True)):
        for orientation, row in zip(candidate, w, strict=True):
            translations = np.flatnonzero(row >= thresholds[image])
            if translations.size:
                blocks.append((image, int(orientation), [int(t) for t in translations]))
    return blocks
