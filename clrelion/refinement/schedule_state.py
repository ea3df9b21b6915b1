"""What the schedule of a run remembers from one iteration to the next."""

from __future__ import annotations

from dataclasses import dataclass

from clrelion.orientations.sampling import angular_step_deg

# Values that stand for "not known yet" (Specification M 5.1), written to the optimiser file.
UNKNOWN_CHANGE_CLASSES = 9999999
UNKNOWN_CHANGE = 999.0
UNKNOWN_ACCURACY = 999.0
UNKNOWN_BEST_RESOLUTION_INV_ANGST = 1.0 / 999.0


@dataclass(frozen=True)
class ScheduleState:
    """Counters, flags and extremes that steer resolution, sampling and convergence.

    Attributes
    ----------
    current_resolution_inv_angst, best_resolution_inv_angst
        Resolution used now (may go down) and the best one so far, 1/Å.
    nr_iter_wo_resol_gain, nr_iter_wo_changes
        Iterations without better resolution, and without smaller changes of the assignments.
    current_changes_classes, current_changes_offsets_angst, current_changes_orientations_deg
        Changes in the last iteration: fraction of the particles, Å, degrees.
    smallest_changes_classes, smallest_changes_offsets_angst, smallest_changes_orientations_deg
        Smallest changes since the sampling was last refined; the first is an integer (E Q13).
    incr_size
        Shells that the image size reaches beyond the current resolution.
    has_high_fsc
        The FSC was above 0.2 at the edge of the current size once (never reset).
    has_fine_enough
        The angular sampling is finer than the expected accuracy.
    has_converged
        The next iteration is the last one.
    acc_rot_deg, acc_trans_angst
        Expected accuracies, smallest over the classes; degrees, Å.
    ave_pmax
        Mean of the largest probability per particle.

    Notes
    -----
    Specification M 5.1.
    """

    current_resolution_inv_angst: float = 0.0
    best_resolution_inv_angst: float = UNKNOWN_BEST_RESOLUTION_INV_ANGST
    nr_iter_wo_resol_gain: int = 0
    nr_iter_wo_changes: int = 0
    current_changes_classes: float = float(UNKNOWN_CHANGE_CLASSES)
    current_changes_offsets_angst: float = UNKNOWN_CHANGE
    current_changes_orientations_deg: float = UNKNOWN_CHANGE
    smallest_changes_classes: int = UNKNOWN_CHANGE_CLASSES
    smallest_changes_offsets_angst: float = UNKNOWN_CHANGE
    smallest_changes_orientations_deg: float = UNKNOWN_CHANGE
    incr_size: int = 10
    has_high_fsc: bool = False
    has_fine_enough: bool = False
    has_converged: bool = False
    acc_rot_deg: float = UNKNOWN_ACCURACY
    acc_trans_angst: float = UNKNOWN_ACCURACY
    ave_pmax: float = 0.0


@dataclass(frozen=True)
class SamplingState:
    """Sampling of orientations and translations, and the widths of local searches.

    Attributes
    ----------
    healpix_order, psi_step_deg
        Order of the coarse directions; coarse in-plane step, degrees (<= 0: that of the order).
    offset_range_angst, offset_step_angst
        Radius and step of the coarse translations, Å.
    original_healpix_order, original_psi_step_deg, original_offset_range_angst, \
original_offset_step_angst
        The values that the run was started with.
    has_orientation_priors
        Orientation priors are on (``rlnOrientationalPriorMode`` 1).
    sigma_rot_deg, sigma_tilt_deg, sigma_psi_deg
        Standard deviations of the orientation priors, degrees; 0: none on that angle.

    Notes
    -----
    Specification E 4.6, C.4, 6.4.
    """

    healpix_order: int
    psi_step_deg: float
    offset_range_angst: float
    offset_step_angst: float
    original_healpix_order: int
    original_psi_step_deg: float
    original_offset_range_angst: float
    original_offset_step_angst: float
    has_orientation_priors: bool = False
    sigma_rot_deg: float = 0.0
    sigma_tilt_deg: float = 0.0
    sigma_psi_deg: float = 0.0

    def fine_angular_step_deg(self, oversampling: int) -> float:
        """Angular step of the oversampled grid, degrees."""
        return angular_step_deg(self.healpix_order, oversampling)

    def fine_offset_step_angst(self, oversampling: int) -> float:
        """Offset step of the oversampled grid, Å."""
        return float(self.offset_step_angst / 2**oversampling)


@dataclass(frozen=True)
class SchedulePolicy:
    """The options of a run that its schedule depends on.

    Attributes
    ----------
    is_auto_refine, is_auto_sampling
        Gold-standard refinement; sampling refined automatically (always with the former).
    oversampling
        ``--oversampling``.
    particle_diameter_angst
        Diameter, Å.
    local_healpix_order
        ``--auto_local_healpix_order``: searches are local from this order on.
    do_ignore_angles, do_resolution_angles
        ``--auto_ignore_angles`` and ``--auto_resol_angles``.
    minimum_angular_sampling_deg, maximum_angular_sampling_deg
        Limits of the fine angular step, degrees; <= 0: none.
    do_skip_rotate
        ``--skip_rotate``; cannot go together with a refinement of the sampling.
    """

    is_auto_refine: bool
    oversampling: int
    particle_diameter_angst: float
    is_auto_sampling: bool = False
    local_healpix_order: int = 4
    do_ignore_angles: bool = False
    do_resolution_angles: bool = False
    minimum_angular_sampling_deg: float = 0.0
    maximum_angular_sampling_deg: float = 0.0
    do_skip_rotate: bool = False

    @property
    def refines_sampling(self) -> bool:
        """Whether the sampling is refined as the run proceeds."""
        return self.is_auto_refine or self.is_auto_sampling
