"""How the sampling of orientations and translations evolves during a run."""

from __future__ import annotations

import math
from dataclasses import replace

from clrelion.errors import OptionsError
from clrelion.orientations.sampling import angular_step_deg
from clrelion.refinement.schedule_state import (
    UNKNOWN_CHANGE,
    UNKNOWN_CHANGE_CLASSES,
    SamplingState,
    SchedulePolicy,
    ScheduleState,
)

# The sampling is fine enough below this fraction of the expected accuracy (M 5.7).
_ACCURACY_FRACTION = 0.75

# Largest fine offset step, in Å although it was meant in pixels (E Q15, M quirk 11).
_MAXIMUM_OFFSET_STEP_ANGST = 1.5

# Coarser sampling in classification aims at this fraction of the expected accuracy (M 5.9).
_COARSER_ACCURACY_FRACTION = 0.8


def start_sampling(
    policy: SchedulePolicy,
    *,
    healpix_order: int,
    psi_step_deg: float,
    offset_range_px: float,
    offset_step_px: float,
    pixel_size_angst: float,
    sigma_ang_deg: float = -1.0,
    sigma_rot_deg: float = -1.0,
    sigma_tilt_deg: float = -1.0,
    sigma_psi_deg: float = -1.0,
) -> SamplingState:
    """Make the sampling that a run starts with.

    Parameters
    ----------
    policy
        Auto-refine, local order, oversampling.
    healpix_order, psi_step_deg
        ``--healpix_order``; ``--psi_step``, degrees, <= 0: that of the order.
    offset_range_px, offset_step_px
        ``--offset_range`` and ``--offset_step``, px of the model.
    pixel_size_angst
        Model pixel size, Å.
    sigma_ang_deg, sigma_rot_deg, sigma_tilt_deg, sigma_psi_deg
        ``--sigma_ang`` and so on, degrees; <= 0: not given. The first one stands for all three.

    Notes
    -----
    Specification E 4.3, 4.6, M 5.7. Auto-refine that starts at the local order or finer searches
    locally from the beginning.
    """
    sigmas = [max(sigma, 0.0) for sigma in (sigma_rot_deg, sigma_tilt_deg, sigma_psi_deg)]
    if sigma_ang_deg > 0:
        sigmas = [sigma_ang_deg] * 3
    elif (
        not any(sigmas) and policy.refines_sampling and healpix_order >= policy.local_healpix_order
    ):
        sigmas = [2.0 * angular_step_deg(healpix_order, policy.oversampling)] * 3
    wanted = psi_step_deg if psi_step_deg > 0 else angular_step_deg(healpix_order)
    psi_step = 360.0 / math.ceil(360.0 / wanted)
    return SamplingState(
        healpix_order=healpix_order,
        psi_step_deg=psi_step,
        offset_range_angst=offset_range_px * pixel_size_angst,
        offset_step_angst=offset_step_px * pixel_size_angst,
        original_healpix_order=healpix_order,
        original_psi_step_deg=psi_step,
        original_offset_range_angst=offset_range_px * pixel_size_angst,
        original_offset_step_angst=offset_step_px * pixel_size_angst,
        has_orientation_priors=any(sigmas),
        sigma_rot_deg=sigmas[0],
        sigma_tilt_deg=sigmas[1],
        sigma_psi_deg=sigmas[2],
    )


def is_local_search(sampling: SamplingState, policy: SchedulePolicy) -> bool:
    """Whether prior centres are the current angles even where prior angles are given (E 4.6)."""
    if policy.refines_sampling:
        return sampling.healpix_order >= policy.local_healpix_order
    return min(sampling.sigma_rot_deg, sampling.sigma_tilt_deg, sampling.sigma_psi_deg) > 0


def required_angular_step_deg(particle_diameter_angst: float, resolution_inv_angst: float) -> float:
    """Angular step that a resolution requires: ``360 / ceil(pi D / d)``, degrees (M 5.7)."""
    return 360.0 / math.ceil(math.pi * particle_diameter_angst * resolution_inv_angst)


def update_sampling(
    state: ScheduleState, sampling: SamplingState, policy: SchedulePolicy, iteration: int
) -> tuple[ScheduleState, SamplingState]:
    """Refine the sampling once neither resolution nor assignments improve.

    Parameters
    ----------
    state
        Counters and changes after the last iteration, accuracies estimated in this one.
    sampling
        Sampling so far.
    policy
        Options.
    iteration
        Number of the coming iteration; nothing happens in the first one.

    Returns
    -------
    tuple
        New state and new sampling; the sampling is the same object if it did not change. If
        ``healpix_order`` changed, the directions are to be rebuilt and pdf_direction to be set
        uniform.

    Raises
    ------
    OptionsError
        If the sampling would be refined although rotations are not searched.

    Notes
    -----
    Specification M 5.7, E C.4.
    """
    if not refinement_is_due(state, sampling, policy, iteration):
        return state, sampling
    if _is_fine_enough(state, sampling, policy):
        return replace(state, has_fine_enough=True), sampling
    if policy.do_skip_rotate:
        raise OptionsError(
            "--skip_rotate cannot be combined with automatic sampling, which wants to refine "
            "the orientations now; leave one of them out"
        )
    state = replace(
        state,
        has_fine_enough=False,
        nr_iter_wo_resol_gain=0,
        nr_iter_wo_changes=0,
        smallest_changes_classes=UNKNOWN_CHANGE_CLASSES,
        smallest_changes_offsets_angst=UNKNOWN_CHANGE,
        smallest_changes_orientations_deg=UNKNOWN_CHANGE,
    )
    return state, refined_sampling(state, sampling, policy)


def refinement_is_due(
    state: ScheduleState, sampling: SamplingState, policy: SchedulePolicy, iteration: int
) -> bool:
    """Whether neither resolution nor assignments improve; arguments as of `update_sampling`.

    Whatever the accuracies are: where it is False, they change nothing.
    """
    if not policy.refines_sampling or iteration <= 1:
        return False
    fine_step = sampling.fine_angular_step_deg(policy.oversampling)
    is_limited_by_angles = (
        policy.do_resolution_angles
        and required_angular_step_deg(
            policy.particle_diameter_angst, state.current_resolution_inv_angst
        )
        < fine_step
        and sampling.healpix_order + 1 != policy.local_healpix_order
    )
    return (state.nr_iter_wo_resol_gain >= 1 or is_limited_by_angles) and (
        state.nr_iter_wo_changes >= 1 or policy.do_ignore_angles
    )


def _is_fine_enough(state: ScheduleState, sampling: SamplingState, policy: SchedulePolicy) -> bool:
    fine_step = sampling.fine_angular_step_deg(policy.oversampling)
    if fine_step < policy.maximum_angular_sampling_deg:
        return True
    must_go_on = 0 < policy.minimum_angular_sampling_deg < fine_step
    return fine_step < _ACCURACY_FRACTION * state.acc_rot_deg and not must_go_on


def refined_sampling(
    state: ScheduleState, sampling: SamplingState, policy: SchedulePolicy
) -> SamplingState:
    """One HEALPix order finer, with translations to match (specification M 5.7).

    Parameters
    ----------
    state
        Accuracy of the shifts and their last changes, Å.
    """
    step = min(_MAXIMUM_OFFSET_STEP_ANGST, _ACCURACY_FRACTION * state.acc_trans_angst)
    step *= 2**policy.oversampling
    wanted = min(1.3 * sampling.offset_range_angst, 5.0 * state.current_changes_offsets_angst)
    wanted = max(wanted, 1.5 * step)
    if wanted > 4.0 * step:
        wanted /= 2.0
    if wanted > 4.0 * step:
        step = wanted / 4.0
    order = sampling.healpix_order + 1
    refined = replace(sampling, healpix_order=order, psi_step_deg=angular_step_deg(order))
    if step <= sampling.offset_step_angst:
        refined = replace(refined, offset_range_angst=wanted, offset_step_angst=step)
    if order >= policy.local_healpix_order:
        sigma = 2.0 * refined.fine_angular_step_deg(policy.oversampling)
        refined = replace(
            refined,
            has_orientation_priors=True,
            sigma_rot_deg=sigma,
            sigma_tilt_deg=sigma,
            sigma_psi_deg=sigma,
        )
    return refined


def coarser_sampling(
    state: ScheduleState,
    sampling: SamplingState,
    policy: SchedulePolicy,
    *,
    is_cross_correlation: bool,
) -> SamplingState:
    """Coarsen the sampling of a classification to what the expected accuracy justifies.

    Parameters
    ----------
    state
        Accuracies and resolution.
    sampling
        Sampling so far; its original values limit the new ones.
    policy
        Oversampling and particle diameter.
    is_cross_correlation
        First iteration by cross-correlation: no accuracies yet, so the resolution decides.

    Notes
    -----
    Specification M 5.9, E C.4 (``--allow_coarser_sampling``, several classes).
    """
    target = (
        required_angular_step_deg(
            policy.particle_diameter_angst, state.current_resolution_inv_angst
        )
        if is_cross_correlation
        else state.acc_rot_deg
    )
    original = sampling.original_healpix_order
    order = original
    # Order -1 stands for "even order 0 is fine enough": one finer is 0 again.
    while order >= 0 and (
        angular_step_deg(order, policy.oversampling) < _COARSER_ACCURACY_FRACTION * target
    ):
        order -= 1
    if order < original:
        order += 1
    fraction = _COARSER_ACCURACY_FRACTION * state.acc_trans_angst * 2**policy.oversampling
    step = max(
        min(fraction, 0.95 * sampling.offset_range_angst), sampling.original_offset_step_angst
    )
    psi_step = sampling.original_psi_step_deg if order == original else angular_step_deg(order)
    return replace(sampling, healpix_order=order, psi_step_deg=psi_step, offset_step_angst=step)
