"""What the expectation step finds out about each particle, and the sums of a half-set."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clrelion.io.particle_table import ParticleTable
from clrelion.maximization.sums import ParameterSums
from clrelion.parallel.common_columns import FilledColumns

__all__ = ["NOT_FINITE", "RESULT_TYPES", "ExpectationResult", "ParticleResults"]

NOT_FINITE = "NaN or infinite pixels"
"""Reason to leave a particle out for the whole run."""

_OF_TABLE = {
    "rot_deg": np.float64,
    "tilt_deg": np.float64,
    "psi_deg": np.float64,
    "origin_x_angst": np.float64,
    "origin_y_angst": np.float64,
    "class_number": np.int64,
    "norm_correction": np.float64,
    "log_likelihood": np.float64,
    "pmax": np.float64,
    "n_significant": np.int64,
}
"""Results that are columns of the table, too."""
RESULT_TYPES = [*_OF_TABLE.values(), np.float64]
"""Types of all that `ParticleResults` holds, but for who has done what."""


@dataclass
class ParticleResults:
    """Best pose and statistics of each particle of a table; undefined where nobody `is_done`.

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
    done_by
        int32, (n,); rank that has done each particle, -1: none so far.
    rank
        This one.
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
    done_by: NDArray[np.int32]
    rank: int = 0

    @classmethod
    def in_columns(cls, room: FilledColumns, rank: int = 0) -> ParticleResults:
        """Results in columns of `RESULT_TYPES`, to be filled by a rank."""
        values = dict(zip([*_OF_TABLE, "turned_deg"], room.values, strict=True))
        return cls(**values, done_by=room.done_by, rank=rank)

    @property
    def is_done(self) -> NDArray[np.bool_]:
        """bool, (n,); whose results are here."""
        return self.done_by >= 0

    def keep_others(self, table: ParticleTable) -> None:
        """Give particles that nobody has done the values that the table has."""
        others = np.flatnonzero(self.done_by < 0)
        if len(others):
            for name in _OF_TABLE:
                getattr(self, name)[others] = getattr(table, name)[others]
            self.turned_deg[others] = 0.0

    def write_to(self, table: ParticleTable) -> None:
        """Make these the values of the table, which has no column for the turns."""
        for name in _OF_TABLE:
            setattr(table, name, getattr(self, name))


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
