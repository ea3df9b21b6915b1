"""Largest log-weight over translations of each image and orientation (specification E 5.5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Scores:
    """Scores of a batch before they become weights; orientations may differ from image to image.

    ``diff2`` an array (orientation, translation) for each image, ``log_orientation`` its log
    priors (orientation,), -inf where not considered; ``log_translation`` (image, translation).
    """

    diff2: Sequence[NDArray[np.float64]]
    log_orientation: Sequence[NDArray[np.float64]]
    log_translation: NDArray[np.float64]

    @property
    def log_weights(self) -> list[NDArray[np.float64]]:
        """Log of prior times likelihood, (orientation, translation) for each image."""
        return [
            log_orientation[:, None] + log_translation[None] - diff2
            for diff2, log_orientation, log_translation in zip(
                self.diff2, self.log_orientation, self.log_translation, strict=True
            )
        ]


def orientation_maxima(scores: Scores) -> list[NDArray[np.float64]]:
    """For each image the maximum of each orientation."""
    return [log_weights.max(axis=1) for log_weights in scores.log_weights]
