"""Central slices for a run of grid orientations (specification E 1.6, 4.7)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.reference.project_rows import project_rows


def project_grid(
    reference: NDArray[Any],
    matrices: NDArray[np.float64],
    first: int,
    n_orientations: int,
    pixel_xy: NDArray[np.float64],
) -> NDArray[np.complex128]:
    """Slices of the orientations first, first + 1, ... of the grid class x direction x psi.

    ``matrices`` (n_dir, n_psi, 3, 3), one for each direction and psi of the grid.
    """
    n_dir, n_psi = matrices.shape[:2]
    grid = [(k, d, p) for k in range(len(reference)) for d in range(n_dir) for p in range(n_psi)]
    chosen = grid[first : first + n_orientations]
    classes = np.array([k for k, _, _ in chosen])
    return project_rows(
        reference, classes, np.array([matrices[d, p] for _, d, p in chosen]), pixel_xy
    )


def into_panels(values: NDArray[Any], panel: int) -> NDArray[Any]:
    """Lay (orientation, depth) out as (panel number, depth, orientation in its panel), padded."""
    n, depth = values.shape
    n_panels = -(-n // panel)
    padded = np.zeros((n_panels * panel, depth), values.dtype)
    padded[:n] = values
    return padded.reshape(n_panels, panel, depth).transpose(0, 2, 1)
