"""The significant translations of the kept rows (specification E 5.6)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tests.reference.diff2_fine import Block


def compact_rows(
    omegas: Sequence[NDArray[np.float64]],
    blocks: Sequence[Block],
    n_children: int,
    kept: Sequence[int],
) -> list[list[tuple[int, float]]]:
    """(fine translation, weight) of the significant samples of each kept row.

    ``omegas`` (row, sample) of each block; ``kept`` numbers the rows through all blocks.
    """
    rows = [
        [(t, float(w)) for t, w in zip(block.children(n_children), row, strict=True) if w > 0]
        for block, omega in zip(blocks, omegas, strict=True)
        for row in omega
    ]
    return [rows[n] for n in kept]
