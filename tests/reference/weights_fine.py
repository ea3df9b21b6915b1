"""Posterior weights of the fine samples of each image (specification E 5.5, 5.6)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tests.reference.diff2_fine import Block
from tests.reference.threshold import significance_threshold


@dataclass(frozen=True)
class FineWeights:
    """What one image gets: ``omega`` of all its samples in order, and numbers of the image."""

    omega: NDArray[np.float64]
    weight: NDArray[np.float64]
    maximum: float
    sum_weight: float
    sum_offset2: float
    best: int
    n_significant: int

    @property
    def sum_omega(self) -> float:
        return float(self.omega.sum())


def weights_fine(
    diff2: Sequence[NDArray[np.float64]],
    blocks: Sequence[Block],
    n_children: int,
    log_translation: NDArray[np.float64],
    centre: NDArray[np.float64],
    trans_px: NDArray[np.float64],
    pixel_size: float,
    adaptive_fraction: float = 1.0,
    max_significants: int = -1,
    smallest: float = 0.0,
    hard: bool = False,
) -> list[FineWeights]:
    """Turn ``diff2`` (slice, fine translation) of each block into normalised weights.

    ``log_translation`` (image, coarse translation), ``centre`` (image, 2) prior offset minus
    integer offset and ``trans_px`` (fine translation, 2), both in pixels. With ``hard`` the best
    sample gets everything. ``smallest``: smallest weight that counts at all.
    """
    result = []
    for image in range(len(log_translation)):
        logs, offsets2 = [np.empty(0)], [np.empty(0)]
        for block, values in zip(blocks, diff2, strict=True):
            if block.image != image:
                continue
            children = np.array(block.children(n_children))
            prior = block.log_prior + log_translation[image, children // n_children]
            distance = pixel_size * (centre[image] - trans_px[children])
            logs.append((prior - values).ravel())
            offsets2.append(np.tile((distance**2).sum(axis=1), len(values)))
        log_weights, offset2 = np.concatenate(logs), np.concatenate(offsets2)
        top = float(np.max(log_weights, initial=-np.inf))
        if not np.isfinite(top):
            zeros = np.zeros(log_weights.size)
            result.append(FineWeights(zeros, zeros, top, 0.0, 0.0, -1, 0))
            continue
        best = int(np.argmax(log_weights))
        if hard:
            weight = np.zeros(log_weights.size)
            weight[best] = 1.0
        else:
            weight = np.exp(log_weights - top)
        goal = adaptive_fraction * weight.sum()
        threshold = max(significance_threshold(weight, goal, max_significants), smallest)
        kept = weight >= (1.0 if hard else threshold)
        omega = np.where(kept, weight / weight.sum(), 0.0)
        result.append(
            FineWeights(
                omega, weight, top, float(weight.sum()), float(omega @ offset2), best,
                int(kept.sum()),
            )
        )  # fmt: skip
    return result
