"""What makes images of several detectors alike: their modulation transfer functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clrelion.io.mtf import MtfCurve

__all__ = ["DetectorResponse"]


@dataclass(frozen=True)
class DetectorResponse:
    """Factor on the images of one optics group (specification E 2.10).

    Attributes
    ----------
    own
        MTF of this group's detector.
    of_all_groups
        MTF of each optics group.
    """

    own: MtfCurve
    of_all_groups: Sequence[MtfCurve]

    def factors(self, frequency_inv_angst: NDArray[np.float64]) -> NDArray[np.float64]:
        """Mean MTF of the groups divided by this group's, at spatial frequencies in 1/Å."""
        mean = np.mean([curve.at(frequency_inv_angst) for curve in self.of_all_groups], axis=0)
        return np.asarray(mean / self.own.at(frequency_inv_angst))
