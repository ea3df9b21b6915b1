"""Everything that an iteration reads and writes."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from clrelion.io.particle_table import ParticleTable
from clrelion.refinement.membership import Membership
from clrelion.refinement.processing_order import ProcessingOrder
from clrelion.refinement.schedule_state import SamplingState, ScheduleState

__all__ = ["HalfModel", "RunState"]


@dataclass
class HalfModel:
    """Model of one half-set, or of all particles.

    Attributes
    ----------
    maps
        Real, one (N, N, N) array a class, [z, y, x], real space, origin at N//2; float64, or
        float32 where a device made it in single precision.
    pdf_class
        float64, (K,).
    pdf_direction
        float64, (K, n_dir).
    sigma2_noise
        float64, (n_optics, N/2+1).
    tau2, data_vs_prior, sigma2_class, fourier_coverage
        float64, (K, N/2+1).
    fsc_halves
        float64, (N/2+1,); 0 in classification.
    scale_correction
        float64, (n_scale_groups,).
    avg_norm_correction, sigma2_offset_angst2
        Mean norm correction; offset variance, Å^2.
    overall_coverage, acc_rot_deg, acc_trans_angst
        float64, (K,).
    orientability
        float64, (K, N/2+1), or None before accuracies were estimated.
    log_likelihood, ave_pmax
        Of the last iteration.
    """

    maps: list[NDArray[np.float64]]
    pdf_class: NDArray[np.float64]
    pdf_direction: NDArray[np.float64]
    sigma2_noise: NDArray[np.float64]
    tau2: NDArray[np.float64]
    data_vs_prior: NDArray[np.float64]
    sigma2_class: NDArray[np.float64]
    fourier_coverage: NDArray[np.float64]
    fsc_halves: NDArray[np.float64]
    scale_correction: NDArray[np.float64]
    avg_norm_correction: float
    sigma2_offset_angst2: float
    overall_coverage: NDArray[np.float64]
    acc_rot_deg: NDArray[np.float64]
    acc_trans_angst: NDArray[np.float64]
    orientability: NDArray[np.float64] | None = None
    log_likelihood: float = 0.0
    ave_pmax: float = 0.0

    @property
    def n_classes(self) -> int:
        """K."""
        return len(self.maps)

    def seed_from_first(self) -> None:
        """Give all classes the first one's map after a seeding CC iteration (M 4.10)."""
        n = self.n_classes
        self.maps = [self.maps[0].copy() for _ in range(n)]
        for name in ("tau2", "data_vs_prior", "sigma2_class", "fourier_coverage"):
            setattr(self, name, np.repeat(getattr(self, name)[:1], n, axis=0))
        self.overall_coverage = np.repeat(self.overall_coverage[:1], n)
        self.pdf_class = np.full(n, self.pdf_class[0] / n)
        # divided by K, unlike RELION: the priors of all classes and directions add up to 1 (E Q14)
        self.pdf_direction = np.repeat(self.pdf_direction[:1] / n, n, axis=0)


@dataclass
class RunState:
    """State of a run between iterations.

    Attributes
    ----------
    table
        Particles with their current poses.
    models
        One model, or two with split halves (half-set h is ``models[h - 1]``).
    ori_size, pixel_size_angst
        N (px) and pixel size of the model.
    iteration
        Last finished iteration; 0 before the first.
    schedule, sampling, start_sampling
        Counters, present sampling, and the sampling the run was started or continued with.
    perturbation
        Fraction of a sampling step.
    current_size
        S of the last expectation step; 0 before the first.
    references_ctf_corrected
        References are multiplied by the CTF for comparison.
    is_continued
        First-iteration rules are off.
    seeding_iteration
        K > 1 from a single map: in this iteration the classes start from random subsets, before
        it only the first class counts (specification E 3.7); 0: classes are not seeded.
    image_folder
        Folder of the particle STAR file that the run began with, absolute; images are looked for
        there if the working directory has none.
    order
        Processing order of the particles, once it is made.
    skipped
        Rows of the table that were left out, with the reason.
    known_membership
        `membership`, once it is found out.
    """

    table: ParticleTable
    models: list[HalfModel]
    ori_size: int
    pixel_size_angst: float
    iteration: int
    schedule: ScheduleState
    sampling: SamplingState
    start_sampling: SamplingState
    perturbation: float = 0.0
    current_size: int = 0
    references_ctf_corrected: bool = True
    is_continued: bool = False
    seeding_iteration: int = 0
    image_folder: str = ""
    order: ProcessingOrder | None = None
    skipped: dict[int, str] = field(default_factory=dict)
    known_membership: Membership | None = field(default=None, repr=False)

    @property
    def is_split(self) -> bool:
        """Two half-sets."""
        return len(self.models) == 2

    @property
    def n_classes(self) -> int:
        """K."""
        return self.models[0].n_classes

    def take_accuracies(
        self,
        rot_deg: NDArray[np.float64],
        trans_angst: NDArray[np.float64],
        orientability: NDArray[np.float64],
    ) -> None:
        """Record the expected accuracies of the classes; the best ones steer the sampling."""
        for model in self.models:
            model.acc_rot_deg = rot_deg.copy()
            model.acc_trans_angst = trans_angst.copy()
            model.orientability = orientability.copy()
        self.schedule = replace(
            self.schedule,
            acc_rot_deg=float(rot_deg.min()),
            acc_trans_angst=float(trans_angst.min()),
        )

    def snapshot(self) -> RunState:
        """Copy that later iterations do not change, for writing beside them.

        Arrays are shared, as iterations replace them as a whole.
        """
        models = [replace(model) for model in self.models]
        return replace(self, table=copy.copy(self.table), models=models, skipped=dict(self.skipped))

    @property
    def membership(self) -> Membership:
        """Which particles belong to which model and groups."""
        n_models = len(self.models)
        if self.known_membership is None or not self.known_membership.is_of(self.table, n_models):
            self.known_membership = Membership(self.table, n_models)
        return self.known_membership
