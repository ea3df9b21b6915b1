"""The schedule of a run: resolution, image sizes, counters, convergence, and the sampling.

Pure functions: a state goes in, a new one comes out. Specification M 5, E 3.8, C.2, C.4, C.5.
The dataclasses live in :mod:`schedule_state`, the sampling rules in :mod:`sampling_schedule`;
both are re-exported here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from clrelion.fourier.shells import round_half_away_int, shell_of_resolution
from clrelion.orientations.sampling import angular_step_deg
from clrelion.refinement.sampling_schedule import (
    coarser_sampling,
    is_local_search,
    refinement_is_due,
    required_angular_step_deg,
    start_sampling,
    update_sampling,
)
from clrelion.refinement.schedule_state import SamplingState, SchedulePolicy, ScheduleState

__all__ = [
    "HiddenVariableChanges",
    "ImageSizes",
    "SamplingState",
    "SchedulePolicy",
    "ScheduleState",
    "coarser_sampling",
    "current_resolution",
    "has_converged",
    "hidden_variable_changes",
    "image_sizes",
    "is_local_search",
    "measure_changes",
    "record_resolution",
    "refinement_is_due",
    "required_angular_step_deg",
    "start_sampling",
    "update_increment",
    "update_sampling",
]

FloatArray = npt.NDArray[np.float64]

# A gain in resolution below this (1/Å) does not count (M 5.2).
_RESOLUTION_GAIN_INV_ANGST = 0.0001

# From here on (with a high FSC) the image size grows by a quarter of Nyquist (M 5.3).
_HIGH_PMAX = 0.1

# Tolerated movement at the rim of the particle, in units of the resolution limit (M 5.3).
_COARSE_SIZE_FACTOR_3D = 1.2

# Below this fraction of the fine step a change counts as none (M 5.5).
_NEGLIGIBLE_STEP_FRACTION = 0.40
_CHANGE_TOLERANCE = 1.03


def current_resolution(
    data_vs_prior: npt.ArrayLike,
    *,
    pixel_size_angst: float,
    iteration: int,
    ini_high_angst: float = -1.0,
    is_first_iteration_cc: bool = False,
    is_gold_standard: bool = False,
    do_map: bool = True,
    minres_map: int = 5,
) -> float:
    """Find the resolution up to which the references carry signal.

    Parameters
    ----------
    data_vs_prior
        float64, (n_classes, N/2 + 1); shell spectra.
    pixel_size_angst
        Model pixel size, Å.
    iteration
        0 before the first expectation step, else the iteration just maximised.
    ini_high_angst
        Initial low-pass, Å; <= 0: none (always so in a continued run).
    is_first_iteration_cc
        ``--firstiter_cc``.
    is_gold_standard
        Auto-refine with split halves: a spectrum that dipped and recovered counts as a whole.
    do_map
        False with ``--no_map``: Nyquist.
    minres_map
        Smallest shell.

    Returns
    -------
    float
        1/Å.

    Notes
    -----
    Specification M 5.2, E 3.8.
    """
    spectra = np.atleast_2d(np.asarray(data_vs_prior, dtype=np.float64))
    nyquist = spectra.shape[1] - 1
    extent_angst = 2 * nyquist * pixel_size_angst
    is_low_passed = iteration == 0 or (iteration == 1 and is_first_iteration_cc)
    if ini_high_angst > 0 and is_low_passed:
        shell = round_half_away_int(extent_angst / ini_high_angst)
    elif do_map:
        shell = max(_resolved_shell(spectrum, is_gold_standard) for spectrum in spectra)
        shell = max(shell, minres_map)
    else:
        shell = nyquist
    return float(shell / extent_angst)


def _resolved_shell(data_vs_prior: FloatArray, is_gold_standard: bool) -> int:
    """Last shell before the ratio first falls below 1 (M 5.2)."""
    nyquist = len(data_vs_prior) - 1
    inner = data_vs_prior[:nyquist]
    below = np.flatnonzero(inner[1:] < 1.0)
    shell = int(below[0]) if len(below) else nyquist - 1
    if is_gold_standard:
        above = np.flatnonzero(inner > 1.0)
        last = int(above[-1]) if len(above) else 0
        if last > shell + 3:
            return last
    return shell


def record_resolution(state: ScheduleState, resolution_inv_angst: float) -> ScheduleState:
    """Take over a new resolution and count iterations without gain.

    Notes
    -----
    Specification M 5.2. Called once before the first iteration and after every maximisation.
    """
    old = state.current_resolution_inv_angst
    is_gain = resolution_inv_angst > old + _RESOLUTION_GAIN_INV_ANGST
    return replace(
        state,
        current_resolution_inv_angst=resolution_inv_angst,
        best_resolution_inv_angst=max(state.best_resolution_inv_angst, resolution_inv_angst),
        nr_iter_wo_resol_gain=0 if is_gain else state.nr_iter_wo_resol_gain + 1,
    )


@dataclass(frozen=True)
class ImageSizes:
    """Image sizes of one expectation step, px, all even.

    Attributes
    ----------
    current_size
        Size of the model transforms.
    image_current_sizes
        Per optics group: fine pass and sums.
    image_coarse_sizes
        Per optics group: first pass.
    """

    current_size: int
    image_current_sizes: tuple[int, ...]
    image_coarse_sizes: tuple[int, ...]


def image_sizes(
    state: ScheduleState,
    sampling: SamplingState,
    policy: SchedulePolicy,
    *,
    ori_size: int,
    pixel_size_angst: float,
    image_boxes_px: Sequence[int],
    image_pixel_sizes_angst: Sequence[float],
    uses_all_data: bool = False,
    strict_highres_exp_angst: float = -1.0,
    max_coarse_size: int = -1,
) -> ImageSizes:
    """Choose the image sizes of the coming expectation step.

    Parameters
    ----------
    state, policy
        Resolution, increment, flags; oversampling and particle diameter.
    sampling
        Sampling *before* an update in the same iteration (as RELION, M quirk 6).
    ori_size, pixel_size_angst
        Model box, px, and model pixel size, Å.
    image_boxes_px, image_pixel_sizes_angst
        Per optics group: box, px, and pixel size, Å.
    uses_all_data
        Last, converged iteration: up to Nyquist.
    strict_highres_exp_angst
        Resolution limit of the expectation, Å; <= 0: none.
    max_coarse_size
        ``--coarse_size``, model px; <= 0: none.

    Notes
    -----
    Specification M 5.3, E 3.8.
    """
    shell = shell_of_resolution(state.current_resolution_inv_angst, ori_size, pixel_size_angst)
    if state.ave_pmax > _HIGH_PMAX and state.has_high_fsc:
        shell += round_half_away_int(0.25 * ori_size / 2)
    else:
        shell += state.incr_size
    current_size = ori_size if uses_all_data else min(2 * shell, ori_size)
    extent_angst = ori_size * pixel_size_angst
    current, coarse = [], []
    for box, pixel in zip(image_boxes_px, image_pixel_sizes_angst, strict=True):
        ratio = (pixel * box) / extent_angst
        fine_size = min(box, 2 * math.ceil(0.5 * ratio * current_size))
        if strict_highres_exp_angst > 0:
            size = 2 * round_half_away_int(ratio * extent_angst / strict_highres_exp_angst)
        elif policy.oversampling > 0:
            rim_angst = (
                angular_step_deg(sampling.healpix_order) / 360.0 * np.pi
            ) * policy.particle_diameter_angst
            size = 2 * math.ceil(ratio * extent_angst / (rim_angst / _COARSE_SIZE_FACTOR_3D))
            # Sizes are even; RELION leaves an odd limit as it is.
            limit = 2 * int(0.5 * ratio * max_coarse_size) if max_coarse_size > 0 else box
            size = min(size, limit)
        else:
            size = fine_size
        current.append(fine_size)
        coarse.append(min(size, fine_size))
    return ImageSizes(current_size, tuple(current), tuple(coarse))


def update_increment(
    state: ScheduleState, fsc_halves: npt.ArrayLike, current_size: int
) -> ScheduleState:
    """Update `incr_size` and `has_high_fsc` from the FSC between the halves.

    Parameters
    ----------
    state
        State so far.
    fsc_halves
        float64, (N/2 + 1,); FSC per shell.
    current_size
        Image size of this iteration, px.

    Notes
    -----
    Specification M 5.4; split halves only. The flag is never reset.
    """
    fsc = np.asarray(fsc_halves, dtype=np.float64)
    growth = _first_below(fsc, 0.143) - _first_below(fsc, 0.5) + 5
    is_high = bool(fsc[current_size // 2 - 1] > 0.2)
    return replace(
        state,
        incr_size=max(state.incr_size, growth),
        has_high_fsc=state.has_high_fsc or is_high,
    )


def _first_below(fsc: FloatArray, threshold: float) -> int:
    below = np.flatnonzero(fsc < threshold)
    return int(below[0]) if len(below) else -1


@dataclass(frozen=True)
class HiddenVariableChanges:
    """Changes of the assignments in one iteration.

    Attributes
    ----------
    classes
        Fraction of the particles with another class.
    offsets_angst
        Root mean square change per direction, Å.
    orientations_deg
        Mean angular distance, degrees.
    """

    classes: float
    offsets_angst: float
    orientations_deg: float


def measure_changes(
    turns_deg: npt.ArrayLike,
    offsets_new_angst: Sequence[npt.ArrayLike] | FloatArray,
    offsets_old_angst: Sequence[npt.ArrayLike] | FloatArray,
    classes_new: npt.ArrayLike,
    classes_old: npt.ArrayLike,
) -> HiddenVariableChanges:
    """Compare the assignments of all particles with those of the iteration before.

    Parameters
    ----------
    turns_deg
        float64, (n,); how far the orientations are apart (`angles_distance_deg`), degrees.
    offsets_new_angst, offsets_old_angst
        float64, (n,) each: x and y; Å.
    classes_new, classes_old
        int, (n,); an unassigned particle (-1 or 0) counts as changed.

    Notes
    -----
    Specification M 5.5, E 5.7, C.2. Every particle counts once, in both halves.
    """
    classes, n = np.asarray(classes_new), len(np.asarray(turns_deg))
    moved = np.empty((n, 2))
    for axis in range(2):
        np.subtract(offsets_new_angst[axis], offsets_old_angst[axis], out=moved[:, axis])
    np.square(moved, out=moved)
    return HiddenVariableChanges(
        classes=float(np.count_nonzero(classes != np.asarray(classes_old)) / n),
        offsets_angst=float(np.sqrt(np.sum(moved) / (2 * n))),
        orientations_deg=float(np.mean(np.asarray(turns_deg))),
    )


def hidden_variable_changes(
    state: ScheduleState,
    changes: HiddenVariableChanges,
    sampling: SamplingState,
    oversampling: int,
    *,
    start_sampling_of_run: SamplingState | None,
) -> ScheduleState:
    """Take over the changes of an iteration and count iterations without smaller ones.

    Parameters
    ----------
    state
        State so far.
    changes
        From :func:`measure_changes`.
    sampling
        Sampling of this iteration.
    oversampling
        ``--oversampling``.
    start_sampling_of_run
        The sampling that the run was started or continued with: then the steps in the ratios
        are its own, as with RELION's MPI program, whose leader never refines its sampling
        (M quirk 9). None: the steps of `sampling`, as with RELION's sequential program.

    Notes
    -----
    Specification M 5.5, E C.2.
    """
    steps = start_sampling_of_run or sampling
    offset_ratio = changes.offsets_angst / steps.fine_offset_step_angst(oversampling)
    angle_ratio = changes.orientations_deg / steps.fine_angular_step_deg(oversampling)
    is_stalled = (
        _CHANGE_TOLERANCE * changes.classes >= state.smallest_changes_classes
        and (
            offset_ratio < _NEGLIGIBLE_STEP_FRACTION
            or _CHANGE_TOLERANCE * changes.offsets_angst >= state.smallest_changes_offsets_angst
        )
        and (
            angle_ratio < _NEGLIGIBLE_STEP_FRACTION
            or _CHANGE_TOLERANCE * changes.orientations_deg
            >= state.smallest_changes_orientations_deg
        )
    )
    return replace(
        state,
        current_changes_classes=changes.classes,
        current_changes_offsets_angst=changes.offsets_angst,
        current_changes_orientations_deg=changes.orientations_deg,
        nr_iter_wo_changes=state.nr_iter_wo_changes + 1 if is_stalled else 0,
        smallest_changes_classes=min(
            state.smallest_changes_classes, round_half_away_int(changes.classes)
        ),
        smallest_changes_offsets_angst=min(
            state.smallest_changes_offsets_angst, changes.offsets_angst
        ),
        smallest_changes_orientations_deg=min(
            state.smallest_changes_orientations_deg, changes.orientations_deg
        ),
    )


def has_converged(state: ScheduleState, policy: SchedulePolicy) -> bool:
    """Whether the coming iteration of auto-refine is the last one (M 5.8, E C.5)."""
    return (
        policy.is_auto_refine
        and state.has_fine_enough
        and state.nr_iter_wo_resol_gain >= 1
        and (policy.do_ignore_angles or state.nr_iter_wo_changes >= 1)
    )
