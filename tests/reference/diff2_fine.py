"""Squared differences of blocks of an image, some orientations and some translations (E 5.4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Block:
    """An image with consecutive slices and the children of some coarse translations.

    ``slices`` are indices of projections, ``translations`` of coarse translations.
    """

    image: int
    slices: range
    translations: tuple[int, ...]
    log_prior: float = 0.0

    def children(self, n_children: int) -> list[int]:
        """Fine translations of the block, in the order of its samples."""
        return [t * n_children + c for t in self.translations for c in range(n_children)]


def diff2_fine(
    shifted: NDArray[np.complex128],
    ctf_power: NDArray[np.float64],
    projections: NDArray[np.complex128],
    blocks: Sequence[Block],
    n_children: int,
    inverse_image_norm: NDArray[np.float64] | None = None,
) -> list[NDArray[np.float64]]:
    """Score each block: (slice, fine translation).

    ``shifted`` (image, fine translation, pixel) and ``ctf_power`` (image, pixel) are those of
    scoring_operands. With ``inverse_image_norm`` the score is the negative correlation.
    """
    scores = []
    for block in blocks:
        score = np.zeros((len(block.slices), len(block.translations) * n_children))
        for row, place in enumerate(block.slices):
            P = projections[place]
            power = float(np.sum(ctf_power[block.image] * np.abs(P) ** 2))
            for column, t in enumerate(block.children(n_children)):
                product = float(np.vdot(P, shifted[block.image, t]).real)
                if inverse_image_norm is None:
                    score[row, column] = power + product
                elif power > 0:
                    correlation = product / np.sqrt(power)
                    score[row, column] = correlation * inverse_image_norm[block.image]
        scores.append(score)
    return scores
