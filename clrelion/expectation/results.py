"""What the expectation step finds out about each particle, and the sums of a half-set."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clrelion.io.particle_table import ParticleTable
from clrelion.maximization.sums import ParameterSums

__all__ = ["NOT_FINITE", "ExpectationResult", "ParticleResults"]

NOT_FINITE = "NaN or infinite pixels"
"""Reason to leave a particle out for the whole run."""


@dataclass
class ParticleResults:
    """Best pose and statistics of each particle of a table; valid where ``is_done``.

    Attributes
    ----------
    rot_deg, tilt_deg, psi_deg
        float64, (n,); perturbed angles of the best sample, degrees.
    origin_x_angst, origin_y_angst
        float64, (n,); best offset, Å.
    class_number
        int64, (n,); 0-based.
    norm_correction, log_likelihood, pmax
        float64, (n,).
    n_significant
        int64, (n,); coarse samples walked to reach the adaptive fraction.
    turned_deg
        float64, (n,); how far the orientation is from the one before (specification M 5.5),
        degrees.
    is_done
        bool, (n,).
    """

    rot_deg: NDArray[np.float64]
    tilt_deg: NDArray[np.float64]
    psi_deg: NDArray[np.float64]
    origin_x_angst: NDArray[np.float64]
    origin_y_angst: NDArray[np.float64]
    class_number: NDArray[np.int64]
    norm_correction: NDArray[np.float64]
    log_likelihood: NDArray[np.float64]
    pmax: NDArray[np.float64]
    n_significant: NDArray[np.int64]
    turned_deg: NDArray[np.float64]
    is_done: NDArray[np.bool_]

    @classmethod
    def of(cls, table: ParticleTable) -> ParticleResults:
        """Start from the present values of a table, nothing done."""
        return cls(
            table.rot_deg.copy(),
            table.tilt_deg.copy(),
            table.psi_deg.copy(),
            table.origin_x_angst.copy(),
            table.origin_y_angst.copy(),
            table.class_number.copy(),
            table.norm_correction.copy(),
            table.log_likelihood.copy(),
            table.pmax.copy(),
            table.n_significant.copy(),
            np.zeros(table.n),
            np.zeros(table.n, dtype=np.bool_),
        )

    def write_to(self, table: ParticleTable) -> None:
        """Make these the values of the table, which has no column for the turns."""
        table.rot_deg = self.rot_deg
        table.tilt_deg = self.tilt_deg
        table.psi_deg = self.psi_deg
        table.origin_x_angst = self.origin_x_angst
        table.origin_y_angst = self.origin_y_angst
        table.class_number = self.class_number
        table.norm_correction = self.norm_correction
        table.log_likelihood = self.log_likelihood
        table.pmax = self.pmax
        table.n_significant = self.n_significant


@dataclass
class ExpectationResult:
    """Sums of one half-set (specification M 4.2).

    Attributes
    ----------
    parameters
        All sums but the volumes.
    backprojections
        `BackprojectionSums` of each class, `DeviceSums` if the references were on the device,
        `WholeSums` if those of other ranks are still to be added.
    skipped
        Rows of particles that gave no finite weight or hold no finite pixels, with the reason.
    """

    parameters: ParameterSums
    backprojections: list[Any] = field(default_factory=list)
    skipped: dict[int, str] = field(default_factory=dict)
