"""Which sizes the iterations to come can have, for the memory planner.

Image sizes and sampling are those of the fastest run that the schedule allows, so that no real
iteration is larger than the one foreseen (specification M 5.3, 5.7).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from clrelion.expectation.plan import orientations_of_a_cap
from clrelion.fourier.shells import round_half_away_int
from clrelion.orientations.sampling import TranslationGrid, angular_step_deg
from clrelion.planning.run import ForeseenIteration
from clrelion.planning.step import StepSize
from clrelion.planning.volumes import VolumeSizes
from clrelion.refinement.sampling_schedule import refined_sampling, required_angular_step_deg
from clrelion.refinement.schedule import ImageSizes, image_sizes
from clrelion.refinement.schedule_state import SamplingState, SchedulePolicy, ScheduleState

__all__ = ["ImageGroup", "RunSizes", "foresee", "foreseen_iteration"]

_PIXEL_MULTIPLE = 16
_ITERATIONS_PER_SAMPLING = 2
"""Iterations at least before the sampling is refined again: one without a gain, one to see it."""


@dataclass(frozen=True)
class ImageGroup:
    """Images of one optics group: their box (px), pixel size (Å) and number in a half-set."""

    box_px: int
    pixel_size_angst: float
    n_particles: int


@dataclass(frozen=True)
class RunSizes:
    """What the sizes of a run's iterations depend on.

    Attributes
    ----------
    ori_size, pixel_size_angst, padding_factor
        N (px), pixel size of the model (Å), p.
    n_classes, n_halves
        Maps of a half-set, and half-sets.
    groups
        Images of each optics group.
    symmetry_order
        Operators of the point group.
    policy
        Of the schedule.
    n_iterations
        At most.
    strict_highres_exp_angst, max_coarse_size_px
        Limits of the image sizes; <= 0: none.
    keeps_orientation, keeps_shift
        ``--skip_rotate`` and ``--skip_align``.
    """

    ori_size: int
    pixel_size_angst: float
    padding_factor: float
    n_classes: int
    n_halves: int
    groups: tuple[ImageGroup, ...]
    symmetry_order: int
    policy: SchedulePolicy
    n_iterations: int
    strict_highres_exp_angst: float = -1.0
    max_coarse_size_px: int = -1
    keeps_orientation: bool = False
    keeps_shift: bool = False

    def image_sizes(
        self, state: ScheduleState, sampling: SamplingState, uses_all_data: bool
    ) -> ImageSizes:
        """Image sizes of the coming expectation step (specification M 5.3)."""
        return image_sizes(
            state,
            sampling,
            self.policy,
            ori_size=self.ori_size,
            pixel_size_angst=self.pixel_size_angst,
            image_boxes_px=[g.box_px for g in self.groups],
            image_pixel_sizes_angst=[g.pixel_size_angst for g in self.groups],
            uses_all_data=uses_all_data,
            strict_highres_exp_angst=self.strict_highres_exp_angst,
            max_coarse_size=self.max_coarse_size_px,
        )


def foresee(
    run: RunSizes,
    state: ScheduleState,
    sampling: SamplingState,
    first_iteration: int,
    forced_last: bool = False,
) -> list[ForeseenIteration]:
    """List the iterations to come with the largest sizes that they can have.

    Parameters
    ----------
    state, sampling
        Schedule before the first of them.
    first_iteration
        Its number.
    forced_last
        It is the last one (``--force_converge``).

    Returns
    -------
    list
        At least one; auto-refine's ends with the last, joined iteration.
    """
    foreseen: list[ForeseenIteration] = []
    number = first_iteration
    sizes = run.image_sizes(state, sampling, False)
    size = sizes.current_size
    refines = run.policy.refines_sampling and not run.keeps_orientation
    end = run.n_iterations if not forced_last else number - 1
    while number <= end:
        foreseen.append(foreseen_iteration(run, sampling, sizes, number, False))
        is_fine = not refines or _is_finest(run, sampling)
        if run.policy.is_auto_refine and is_fine and size >= run.ori_size:
            number += 1
            break
        size = _next_size(run, state, size)
        number += 1
        if not is_fine and (number - first_iteration) % _ITERATIONS_PER_SAMPLING == 0:
            sampling = _next_sampling(run, state, sampling)
        at_size = replace(state, current_resolution_inv_angst=_resolution(run, state, size))
        sizes = run.image_sizes(at_size, sampling, False)
    if run.policy.is_auto_refine and run.n_halves > 1:
        sizes = run.image_sizes(state, sampling, True)
        foreseen.append(foreseen_iteration(run, sampling, sizes, number, True))
    return foreseen


def _resolution(run: RunSizes, state: ScheduleState, current_size: int) -> float:
    """Resolution, 1/Å, at which the schedule chooses a current size."""
    shell = current_size // 2 - _growth(run, state)
    return max(0.0, shell / (run.ori_size * run.pixel_size_angst))


def _growth(run: RunSizes, state: ScheduleState) -> int:
    """Shells beyond the resolution (specification M 5.3)."""
    if state.ave_pmax > 0.1 and state.has_high_fsc:
        return round_half_away_int(0.25 * run.ori_size / 2)
    return state.incr_size


def _next_size(run: RunSizes, state: ScheduleState, size: int) -> int:
    """Largest size of the next iteration: this one is resolved to its edge."""
    growth = state.incr_size
    if run.policy.is_auto_refine:
        growth = max(growth, round_half_away_int(0.25 * run.ori_size / 2))
    return min(run.ori_size, size + 2 * growth)


def _is_finest(run: RunSizes, sampling: SamplingState) -> bool:
    """The sampling is as fine as Nyquist asks for."""
    nyquist = 1.0 / (2.0 * run.pixel_size_angst)
    required = required_angular_step_deg(run.policy.particle_diameter_angst, nyquist)
    return sampling.fine_angular_step_deg(run.policy.oversampling) <= required


def _next_sampling(run: RunSizes, state: ScheduleState, sampling: SamplingState) -> SamplingState:
    """One order finer, shifts as accurate as a pixel and as far as they may be."""
    accurate = replace(state, acc_trans_angst=run.pixel_size_angst)
    return refined_sampling(accurate, sampling, run.policy)


def foreseen_iteration(
    run: RunSizes, sampling: SamplingState, sizes: ImageSizes, number: int, is_last: bool
) -> ForeseenIteration:
    """Sizes of one iteration."""
    oversampling = run.policy.oversampling
    step = sampling.psi_step_deg or angular_step_deg(sampling.healpix_order)
    n_psi = math.ceil(360.0 / step)
    n_dir = math.ceil(12 * 4**sampling.healpix_order / run.symmetry_order)
    n_dir += math.ceil(math.sqrt(n_dir))  # those on the edge of the asymmetric unit
    n_dir = min(n_dir, 12 * 4**sampling.healpix_order)
    n_trans = TranslationGrid.create(
        sampling.offset_range_angst, sampling.offset_step_angst, oversampling
    ).n_trans
    is_dense = not sampling.has_orientation_priors and not run.keeps_orientation
    if run.keeps_orientation:
        n_orientations, text = 1, "orientations kept"
    elif is_dense:
        n_orientations, text = n_dir * n_psi, f"order {sampling.healpix_order}"
    else:
        sigmas = sampling.sigma_rot_deg, sampling.sigma_tilt_deg, sampling.sigma_psi_deg
        n_orientations = orientations_of_a_cap(sigmas, n_dir, n_psi, run.symmetry_order)
        text = f"order {sampling.healpix_order}, local"
    volumes = VolumeSizes(
        run.ori_size,
        run.padding_factor,
        min(sizes.current_size // 2, run.ori_size // 2),
        run.n_classes,
        run.n_halves,
    )
    steps = []
    for place, group in enumerate(run.groups):
        fine, coarse = sizes.image_current_sizes[place], sizes.image_coarse_sizes[place]
        n_list = _pixels_within(fine)
        n_coarse = _padded(_pixels_within(coarse if oversampling else fine))
        steps.append(
            StepSize(
                title=f"expectation, optics group {place + 1}",
                volumes=volumes,
                n_particles=group.n_particles,
                box_px=group.box_px,
                n_list=n_list,
                n_coarse_padded=n_coarse,
                n_fine_padded=_padded(n_list),
                n_orientations=run.n_classes * n_orientations,
                is_dense=is_dense,
                n_translations=1 if run.keeps_shift else n_trans,
                n_child_orientations=1 if run.keeps_orientation else 8**oversampling,
            )
        )
    return ForeseenIteration(number, is_last, sizes.current_size, text, tuple(steps))


def _pixels_within(size: int) -> int:
    """Distinct pixels of a half transform of a size within its sphere."""
    half = size // 2
    kx = np.arange(1, half + 1)
    columns = np.floor(np.sqrt(np.maximum(half**2 - kx**2, 0))).astype(np.int64)
    return int((2 * columns + 1).sum()) + half + 1


def _padded(n: int) -> int:
    return -(-max(1, n) // _PIXEL_MULTIPLE) * _PIXEL_MULTIPLE
