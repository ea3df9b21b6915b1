"""Which coarse orientations occur in the lists of a batch (specification E 5.4)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Entry = tuple[int, int, int]
"""Class, direction, psi."""


def mark_orientations(
    entries: list[Entry], n_classes: int, n_dir: int, n_psi: int
) -> NDArray[np.int64]:
    """Flags (class, direction, psi), flat."""
    flags = np.zeros((n_classes, n_dir, n_psi), dtype=np.int64)
    for entry in entries:
        flags[entry] = 1
    return flags.ravel()
