"""From the state of a run to the settings of one expectation step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from clrelion.expectation.detector_response import DetectorResponse
from clrelion.expectation.device_reference import reference_transforms_on_device
from clrelion.expectation.reference import ReferenceTransform, reference_transform
from clrelion.expectation.settings import (
    CtfRules,
    ExpectationSettings,
    ImageGeometry,
    LocalSearch,
)
from clrelion.fourier.shells import shell_of_resolution
from clrelion.io.mtf import read_mtfs
from clrelion.options import RefineOptions
from clrelion.orientations.sampling import OrientationGrid, TranslationGrid
from clrelion.orientations.symmetry import PointGroup
from clrelion.particles.random_numbers import first_random_numbers
from clrelion.refinement.schedule import ImageSizes, is_local_search
from clrelion.refinement.schedule_state import SamplingState, SchedulePolicy
from clrelion.refinement.state import HalfModel, RunState

if TYPE_CHECKING:
    from clrelion.device.session import DeviceSession
    from clrelion.planning.volumes import VolumePlacement

__all__ = [
    "Grids",
    "References",
    "expectation_settings",
    "reference_transforms",
    "references_of_model",
    "schedule_policy",
]

_FFT_IN_DOUBLE_UP_TO = 384
"""Padded boxes larger than this are transformed in single precision on the host."""


@dataclass(frozen=True)
class Grids:
    """Sampling grids of an iteration."""

    orientations: OrientationGrid
    translations: TranslationGrid

    @classmethod
    def create(
        cls, sampling: SamplingState, options: RefineOptions, point_group: PointGroup
    ) -> Grids:
        """Make the grids of a sampling state."""
        return cls(
            OrientationGrid.create(
                sampling.healpix_order,
                sampling.psi_step_deg,
                point_group,
                options.limit_tilt_deg,
                options.oversampling,
            ),
            TranslationGrid.create(
                sampling.offset_range_angst, sampling.offset_step_angst, options.oversampling
            ),
        )


def schedule_policy(options: RefineOptions, particle_diameter_angst: float) -> SchedulePolicy:
    """Collect the options that the schedule depends on."""
    return SchedulePolicy(
        is_auto_refine=options.auto_refine,
        oversampling=options.oversampling,
        particle_diameter_angst=particle_diameter_angst,
        is_auto_sampling=options.auto_sampling,
        local_healpix_order=options.auto_local_healpix_order,
        do_ignore_angles=options.auto_ignore_angles,
        do_resolution_angles=options.auto_resol_angles,
        minimum_angular_sampling_deg=options.minimum_angular_sampling_deg or 0.0,
        maximum_angular_sampling_deg=options.maximum_angular_sampling_deg or 0.0,
        do_skip_rotate=options.skip_rotate,
    )


def reference_transforms(
    model: HalfModel,
    options: RefineOptions,
    ori_size: int,
    pixel_size: float,
    current_size: int,
    session: DeviceSession | None = None,
) -> list[ReferenceTransform | None]:
    """Transform the references of a model; None for classes that are dead.

    Parameters
    ----------
    session
        Device to make them on, where they stay; None: on the host.

    Notes
    -----
    Specification E 1.6, M 2.4; the power spectra become tau2 of a classification.
    """
    first_shell = -1
    if options.strict_lowres_exp_angst is not None:
        first_shell = shell_of_resolution(
            1.0 / options.strict_lowres_exp_angst, ori_size, pixel_size
        )
    r_max = min(current_size // 2, ori_size // 2)
    maps = [
        volume if probability > 0 else None
        for volume, probability in zip(model.maps, model.pdf_class, strict=True)
    ]
    if session is not None:
        on_device = reference_transforms_on_device(
            session, maps, options.padding, r_max, first_shell=first_shell
        )
        return list(on_device)
    precision = fft_precision(options, ori_size)
    return [
        None
        if volume is None
        else reference_transform(
            volume, options.padding, r_max, first_shell=first_shell, precision=precision
        )
        for volume in maps
    ]


def references_of_model(
    session: DeviceSession,
    placement: VolumePlacement,
    state: RunState,
    model: HalfModel,
    options: RefineOptions,
    current_size: int,
) -> list[ReferenceTransform | None]:
    """Transform the references of a model, on the device if they fit there as a whole.

    Parameters
    ----------
    placement
        Where the volumes live.
    current_size
        S of the coming expectation step, px.
    i_half
        Index of the model.
    """
    is_whole = placement.maximizes_on_device and placement.reference_tiles == 1
    place = session if is_whole else None
    with session.profile.timer("maximization"):
        return reference_transforms(
            model, options, state.ori_size, state.pixel_size_angst, current_size, place
        )


class References:
    """References of the half-sets, made when they are asked for.

    Parameters
    ----------
    make
        Makes those of a half-set.
    keeps_all
        False: those of one half-set at a time; the others make room before new ones are made.
    """

    def __init__(
        self, make: Callable[[int], list[ReferenceTransform | None]], keeps_all: bool
    ) -> None:
        self._make = make
        self._keeps_all = keeps_all
        self._made: dict[int, list[ReferenceTransform | None]] = {}

    def __call__(self, i_half: int) -> list[ReferenceTransform | None]:
        """Give the references of a half-set, one a class; None for dead classes."""
        if i_half not in self._made:
            if not self._keeps_all:
                self._made.clear()
            self._made[i_half] = self._make(i_half)
        return self._made[i_half]


def fft_precision(options: RefineOptions, ori_size: int) -> Literal["single", "double"]:
    """Precision of the host's transforms of padded boxes."""
    if options.precision == "double" or options.padding * ori_size <= _FFT_IN_DOUBLE_UP_TO:
        return "double"
    return "single"


def expectation_settings(
    state: RunState,
    options: RefineOptions,
    model: HalfModel,
    references: list[ReferenceTransform | None],
    grids: Grids,
    point_group: PointGroup,
    policy: SchedulePolicy,
    sizes: ImageSizes,
    iteration: int,
    random_seed: int,
) -> ExpectationSettings:
    """Settings of the expectation step of one half-set in iteration ``iteration``."""
    return ExpectationSettings(
        ori_size=state.ori_size,
        pixel_size_angst=state.pixel_size_angst,
        current_size=sizes.current_size,
        padding_factor=options.padding,
        references=references,
        pdf_class=model.pdf_class,
        pdf_direction=model.pdf_direction,
        data_vs_prior=model.data_vs_prior,
        geometry=image_geometry(state, sizes),
        sigma2_noise=model.sigma2_noise,
        scale_correction=model.scale_correction,
        avg_norm_correction=model.avg_norm_correction,
        sigma2_offset_angst2=model.sigma2_offset_angst2,
        sigma2_fudge=options.sigma2_fudge,
        ctf=CtfRules(
            correct=options.ctf and not any(o.ctf_corrected for o in state.table.optics),
            references_corrected=state.references_ctf_corrected,
            intact_first_peak=options.ctf_intact_first_peak,
            phase_flipped=options.ctf_phase_flipped,
            only_flip_phases=options.do_only_flip_phases,
        ),
        orientation_grid=grids.orientations,
        translation_grid=grids.translations,
        point_group=point_group,
        perturbation=state.perturbation,
        local_search=_local_search(state.sampling, policy),
        considered_class=considered_classes(state, iteration, random_seed),
        do_cross_correlation=is_cross_correlation(state, options, iteration),
        do_norm_correction=options.do_norm_correction,
        do_scale_correction=does_scale(options, state),
        do_map=not options.no_map,
        zero_mask=options.zero_mask,
        particle_diameter_angst=policy.particle_diameter_angst,
        width_mask_edge_px=options.width_mask_edge_px,
        adaptive_fraction=options.adaptive_fraction,
        max_significants=options.max_significant or 0,
        score_at_coarse_size=options.strict_highres_exp_angst is not None,
        skip_align=options.skip_align,
        skip_rotate=options.skip_rotate,
        consistent_offset_prior=options.consistent_offset_prior,
        move_psi_prior=not options.relion_quirks,
        random_seed=random_seed,
    )


def image_geometry(state: RunState, sizes: ImageSizes) -> list[ImageGeometry]:
    """Sizes, and the detector's response, of the images of each optics group.

    Raises
    ------
    StarError
        An MTF file is missing or wrong.
    """
    table = state.table
    extent = state.ori_size * state.pixel_size_angst
    curves = read_mtfs(table.optics, table.star_path, state.image_folder)
    return [
        ImageGeometry(
            optics=optics,
            remap=(optics.box_px * optics.pixel_size_angst) / extent,
            image_size=sizes.image_current_sizes[group],
            coarse_size=sizes.image_coarse_sizes[group],
            response=None if curves is None else DetectorResponse(curves[group], curves),
        )
        for group, optics in enumerate(table.optics)
    ]


def _local_search(sampling: SamplingState, policy: SchedulePolicy) -> LocalSearch | None:
    if not sampling.has_orientation_priors:
        return None
    return LocalSearch(
        sampling.sigma_rot_deg,
        sampling.sigma_tilt_deg,
        sampling.sigma_psi_deg,
        is_local_search(sampling, policy),
    )


def does_scale(options: RefineOptions, state: RunState) -> bool:
    """Intensity scales are corrected: asked for, and more than one group (specification E 2.5)."""
    return options.do_scale_correction and len(state.table.group_names) > 1


def is_cross_correlation(state: RunState, options: RefineOptions, iteration: int) -> bool:
    """Whether an iteration compares by cross-correlation (specification E 3.7)."""
    is_first = options.firstiter_cc and iteration == 1 and not state.is_continued
    return is_first or options.always_cc


def considered_classes(
    state: RunState, iteration: int, random_seed: int
) -> NDArray[np.int64] | None:
    """Class that each particle is offered while classes are seeded; None: all (E 3.7, M 5.10)."""
    n = state.table.n
    if iteration > state.seeding_iteration:
        return None
    if iteration < state.seeding_iteration:
        return np.zeros(n, dtype=np.int64)
    assert state.order is not None
    place = np.empty(n, dtype=np.int64)
    place[state.order.everybody] = np.arange(n)
    return first_random_numbers(random_seed + place) % state.n_classes
