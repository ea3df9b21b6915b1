"""Comparison of maps by Fourier shell correlation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clrelion.api.maps import Map
from clrelion.errors import ImageError
from clrelion.fourier.fsc import first_shell_below, map_fsc

__all__ = ["FscCurve", "fsc"]

_GOLD_STANDARD = 0.143


@dataclass(frozen=True, eq=False)
class FscCurve:
    """Correlation of two maps by shell.

    Attributes
    ----------
    frequency_inv_angst
        float64, (N/2 + 1,); spatial frequency of the shells, 1/Å.
    values
        float64, (N/2 + 1,).
    """

    frequency_inv_angst: NDArray[np.float64]
    values: NDArray[np.float64]

    @property
    def resolution_angst(self) -> float:
        """Resolution at which the curve first falls below 0.143, as RELION counts it, Å."""
        return self.resolution_at(_GOLD_STANDARD)

    def resolution_at(self, threshold: float) -> float:
        """Resolution of the last shell before the curve first falls below a threshold, Å."""
        below = first_shell_below(self.values, threshold)
        last = len(self.values) - 1 if below is None else below - 1
        return float(1.0 / self.frequency_inv_angst[last]) if last > 0 else float("inf")


def fsc(first: Map, second: Map, mask: Map | None = None) -> FscCurve:
    """Correlate two maps shell by shell.

    Parameters
    ----------
    first, second
        Maps of one box and pixel size.
    mask
        Multiplied to both before, 0 to 1. The curve is not corrected for what it adds: for that,
        use ``clrelion postprocess``.

    Raises
    ------
    ImageError
        The maps differ in size.
    """
    shapes = {one.data.shape for one in (first, second, mask) if one is not None}
    if len(shapes) > 1:
        raise ImageError(f"maps to compare have one size, not {sorted(shapes)}")
    one, two = first.data, second.data
    if mask is not None:
        one, two = one * mask.data, two * mask.data
    n = first.box_px
    frequency = np.arange(n // 2 + 1) / (n * first.pixel_size_angst)
    return FscCurve(frequency, map_fsc(one, two))
