"""Colours of the figures; the page's style sheet has the same eight for light and dark."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from clrelion.report.figure import N_COLOURS

__all__ = ["CATEGORIES", "GRID", "HEAT", "INK", "MUTED", "RULE", "blend"]

Colour = tuple[int, int, int]

CATEGORIES: tuple[Colour, ...] = (
    (37, 99, 168), (217, 122, 30), (46, 139, 104), (176, 74, 126),
    (117, 97, 192), (45, 159, 179), (155, 122, 47), (107, 114, 128),
)  # fmt: skip
INK: Colour = (29, 36, 48)
MUTED: Colour = (95, 105, 120)
GRID: Colour = (232, 232, 228)
RULE: Colour = (179, 64, 46)

_HEAT_ANCHORS = (
    (238, 241, 246), (198, 217, 232), (143, 188, 211), (86, 150, 188), (45, 108, 160),
    (33, 66, 120), (27, 28, 72),
)  # fmt: skip


def _interpolated(anchors: tuple[Colour, ...], n: int) -> NDArray[np.uint8]:
    at = np.linspace(0, len(anchors) - 1, n)
    channels = [np.interp(at, np.arange(len(anchors)), [a[i] for a in anchors]) for i in range(3)]
    return np.round(np.stack(channels, axis=-1)).astype(np.uint8)


HEAT: NDArray[np.uint8] = _interpolated(_HEAT_ANCHORS, 256)
"""uint8 (256, 3): heat map, pale to dark."""


def blend(number: int, strength: float) -> Colour:
    """Give a colour of the palette on white at some opacity."""
    red, green, blue = (
        round(255 + strength * (channel - 255)) for channel in CATEGORIES[number % N_COLOURS]
    )
    return red, green, blue
