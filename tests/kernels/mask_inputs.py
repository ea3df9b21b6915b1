"""Soft masks as images use them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def outside_mask(box: int, radius_px: float, edge_px: float) -> npt.NDArray[np.float64]:
    """0 within the radius, raised cosine on the edge, 1 beyond (specification E 5.2, 5)."""
    y, x = np.mgrid[:box, :box] - box // 2
    r = np.hypot(x, y)
    cosine = 0.5 + 0.5 * np.cos(np.pi * (radius_px + edge_px - r) / edge_px)
    return np.where(r < radius_px, 0.0, np.where(r > radius_px + edge_px, 1.0, cosine))
