"""Rules of the schedule one by one, with the numbers of the specification."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clrelion.errors import OptionsError
from clrelion.orientations.euler import angles_distance_deg
from clrelion.orientations.symmetry import PointGroup
from clrelion.refinement.schedule import (
    HiddenVariableChanges,
    SamplingState,
    SchedulePolicy,
    ScheduleState,
    coarser_sampling,
    current_resolution,
    has_converged,
    hidden_variable_changes,
    image_sizes,
    is_local_search,
    measure_changes,
    record_resolution,
    refinement_is_due,
    required_angular_step_deg,
    start_sampling,
    update_increment,
    update_sampling,
)

POLICY = SchedulePolicy(is_auto_refine=True, oversampling=1, particle_diameter_angst=200.0)
SAMPLING = SamplingState(2, 15.0, 12.0, 4.0, 2, 15.0, 12.0, 4.0)
STALLED = ScheduleState(
    current_resolution_inv_angst=0.05,
    nr_iter_wo_resol_gain=1,
    nr_iter_wo_changes=1,
    current_changes_offsets_angst=1.0,
    smallest_changes_classes=0,
    smallest_changes_offsets_angst=1.0,
    smallest_changes_orientations_deg=2.0,
    acc_rot_deg=3.0,
    acc_trans_angst=1.2,
)


def sizes_of(
    box: int, pixel: float, diameter: float, ini_high: float, **options: Any
) -> tuple[int, int, int]:
    resolution = current_resolution(
        np.zeros(box // 2 + 1), pixel_size_angst=pixel, iteration=0, ini_high_angst=ini_high
    )
    sizes = image_sizes(
        record_resolution(ScheduleState(), resolution),
        SAMPLING,
        replace(POLICY, particle_diameter_angst=diameter, oversampling=options.pop("os", 1)),
        ori_size=box,
        pixel_size_angst=pixel,
        image_boxes_px=[box],
        image_pixel_sizes_angst=[pixel],
        **options,
    )
    return sizes.current_size, sizes.image_current_sizes[0], sizes.image_coarse_sizes[0]


@pytest.mark.parametrize(
    ("box", "pixel", "diameter", "ini_high", "expected"),
    [
        (256, 1.2156, 200.0, 60.0, (30, 30, 30)),  # E Appendix D
        (360, 1.34, 340.0, 60.0, (36, 36, 28)),  # E Appendix D
        (256, 1.5, 200.0, 60.0, (32, 32, 32)),  # M 5.3
    ],
)
def test_image_sizes_of_the_specification(
    box: int, pixel: float, diameter: float, ini_high: float, expected: tuple[int, int, int]
) -> None:
    assert sizes_of(box, pixel, diameter, ini_high) == expected


def test_image_size_options() -> None:
    assert sizes_of(360, 1.34, 340.0, 60.0, uses_all_data=True) == (360, 360, 28)
    assert sizes_of(360, 1.34, 340.0, 60.0, os=0) == (36, 36, 36)
    assert sizes_of(360, 1.34, 340.0, 60.0, max_coarse_size=21) == (36, 36, 20)
    # 2 round(482.4 / 40.2) = 24
    assert sizes_of(360, 1.34, 340.0, 60.0, strict_highres_exp_angst=40.2) == (36, 36, 24)


def test_image_sizes_of_other_optics_groups() -> None:
    state = ScheduleState(current_resolution_inv_angst=20 / 400.0)
    sizes = image_sizes(
        state,
        SAMPLING,
        POLICY,
        ori_size=100,
        pixel_size_angst=4.0,
        image_boxes_px=[100, 200, 40],
        image_pixel_sizes_angst=[4.0, 3.0, 4.0],
    )
    assert sizes.current_size == 60
    assert sizes.image_current_sizes == (60, 90, 24)
    assert sizes.image_coarse_sizes == (38, 56, 16)


def test_image_size_grows_by_a_quarter_of_nyquist() -> None:
    state = ScheduleState(current_resolution_inv_angst=20 / 400.0, has_high_fsc=True, ave_pmax=0.2)

    def size(state: ScheduleState) -> int:
        return image_sizes(
            state,
            SAMPLING,
            POLICY,
            ori_size=100,
            pixel_size_angst=4.0,
            image_boxes_px=[100],
            image_pixel_sizes_angst=[4.0],
        ).current_size

    assert size(state) == 2 * (20 + 13)  # round(12.5) is 13
    assert size(replace(state, ave_pmax=0.1)) == 60
    assert size(replace(state, has_high_fsc=False)) == 60
    assert size(replace(state, current_resolution_inv_angst=45 / 400.0)) == 100


def test_resolution_scans() -> None:
    spectrum = np.zeros(33)
    spectrum[:10] = 2.0
    spectrum[20] = 1.5

    def shell(spectra: Any, **options: Any) -> float:
        resolution = current_resolution(spectra, pixel_size_angst=2.0, iteration=3, **options)
        return resolution * 64 * 2.0

    assert shell(spectrum) == pytest.approx(9)
    assert shell(spectrum, is_gold_standard=True) == pytest.approx(20)
    spectrum[20], spectrum[12] = 0.0, 1.5
    assert shell(spectrum, is_gold_standard=True) == pytest.approx(9)
    spectrum[13] = 1.5
    assert shell(spectrum, is_gold_standard=True) == pytest.approx(13)
    assert shell(np.zeros(33)) == pytest.approx(5)
    spectrum[10] = 1.0  # not below 1
    assert shell(spectrum) == pytest.approx(10)
    spectrum[10] = 0.0
    assert shell(np.zeros(33), minres_map=7) == pytest.approx(7)
    assert shell(np.full(33, 9.0)) == pytest.approx(31)
    assert shell(np.zeros(33), do_map=False) == pytest.approx(32)
    assert shell(np.stack([np.zeros(33), spectrum])) == pytest.approx(9)
    # ini_high is not limited by minres_map, and counts only before and in a CC iteration.
    for iteration, is_cc, expected in ((0, False, 2), (1, True, 2), (1, False, 9), (2, True, 9)):
        resolution = current_resolution(
            spectrum,
            pixel_size_angst=2.0,
            iteration=iteration,
            ini_high_angst=60.0,
            is_first_iteration_cc=is_cc,
        )
        assert resolution * 128.0 == pytest.approx(expected)


def test_resolution_counter() -> None:
    state = record_resolution(ScheduleState(), 0.05)
    assert (state.nr_iter_wo_resol_gain, state.best_resolution_inv_angst) == (0, 0.05)
    state = record_resolution(state, 0.05009)
    assert state.nr_iter_wo_resol_gain == 1
    state = record_resolution(state, 0.04)
    assert state.nr_iter_wo_resol_gain == 2
    assert state.current_resolution_inv_angst == 0.04
    assert state.best_resolution_inv_angst == 0.05009
    assert record_resolution(state, 0.0402).nr_iter_wo_resol_gain == 0


def test_increment() -> None:
    fsc = np.array([1.0, 0.9, 0.8, 0.4, 0.3, 0.3, 0.3, 0.3, 0.3, 0.3, 0.3, 0.3, 0.25, 0.1, 0.0])
    state = update_increment(ScheduleState(), fsc, 26)
    assert state.incr_size == 13 - 3 + 5
    assert state.has_high_fsc
    lower = update_increment(state, np.linspace(1, -1, 15), 26)
    assert lower.incr_size == 15
    assert lower.has_high_fsc
    assert not update_increment(ScheduleState(), fsc, 28).has_high_fsc
    # Never below 0.143: -1 for the shell makes no growth.
    assert update_increment(ScheduleState(), np.full(15, 0.3), 20).incr_size == 10


def test_measured_changes() -> None:
    angles = np.array([[10.0, 20.0, 30.0], [40.0, 50.0, 60.0]])
    turned = angles + np.array([[90.0, 0.0, 0.0], [0.0, 0.0, 6.0]])
    changes = measure_changes(
        angles_distance_deg(turned, angles, PointGroup.from_name("C4").operators),
        [[1.0, 0.0], [0.0, 3.0]],  # x, y
        np.zeros((2, 2)),
        [0, 1],
        [0, 0],
    )
    assert changes.classes == 0.5
    assert changes.offsets_angst == pytest.approx(np.sqrt(10.0 / 4))
    # A rotation in the plane moves two of the three rows.
    assert changes.orientations_deg == pytest.approx(0.5 * (2.0 / 3.0) * 6.0)


def test_measured_changes_are_those_of_the_plain_formulae() -> None:
    """To the last bit: decisions hang on them, and runs are to be repeatable."""
    n, rng = 10_007, np.random.default_rng(4)
    turned, new, old = rng.uniform(0, 9, n), rng.normal(0, 3, (2, n)), rng.normal(0, 3, (2, n))
    classes = rng.integers(0, 3, (2, n))
    found = measure_changes(turned, new, old, *classes)
    assert found.classes == np.mean(classes[0] != classes[1])
    moved = np.stack(list(new), -1) - np.stack(list(old), -1)
    assert found.offsets_angst == np.sqrt(np.sum(moved**2) / (2 * n))
    assert found.orientations_deg == np.mean(turned)


def test_change_counter() -> None:
    fine = SAMPLING  # fine steps 7.5 degrees and 2 Å
    first = hidden_variable_changes(
        ScheduleState(), HiddenVariableChanges(0.3, 1.0, 5.0), fine, 1, start_sampling_of_run=None
    )
    assert first.nr_iter_wo_changes == 0
    assert first.smallest_changes_classes == 0
    assert (first.smallest_changes_offsets_angst, first.smallest_changes_orientations_deg) == (1, 5)

    def counter(offsets: float, angles: float, **options: Any) -> int:
        options = {"start_sampling_of_run": None, **options}
        changes = HiddenVariableChanges(0.0, offsets, angles)
        return hidden_variable_changes(first, changes, fine, 1, **options).nr_iter_wo_changes

    assert counter(1.0, 5.0) == 1
    assert counter(0.98, 4.9) == 1
    assert counter(0.96, 5.0) == 0
    assert counter(1.0, 4.8) == 0
    assert counter(0.79, 2.99) == 1  # both below 0.4 of a fine step
    finer = replace(fine, healpix_order=3, offset_step_angst=2.0)
    assert counter(0.79, 2.99, start_sampling_of_run=finer) == 0
    worse = hidden_variable_changes(
        first, HiddenVariableChanges(1.0, 2.0, 9.0), fine, 1, start_sampling_of_run=None
    )
    assert worse.smallest_changes_classes == 0
    assert worse.smallest_changes_offsets_angst == 1.0
    assert worse.current_changes_orientations_deg == 9.0


def test_first_class_change_does_not_stall() -> None:
    """The integer minimum starts at 9999999 (M quirk 8)."""
    state = hidden_variable_changes(
        ScheduleState(smallest_changes_offsets_angst=0.0, smallest_changes_orientations_deg=0.0),
        HiddenVariableChanges(1.0, 1.0, 5.0),
        SAMPLING,
        1,
        start_sampling_of_run=None,
    )
    assert (state.nr_iter_wo_changes, state.smallest_changes_classes) == (0, 1)


def test_sampling_is_refined() -> None:
    state, sampling = update_sampling(STALLED, SAMPLING, POLICY, 4)
    assert (sampling.healpix_order, sampling.psi_step_deg) == (3, 7.5)
    # step 2 * 0.75 * 1.2 = 1.8; range min(15.6, 5) = 5, not above 4 steps
    assert sampling.offset_step_angst == pytest.approx(1.8)
    assert sampling.offset_range_angst == pytest.approx(5.0)
    assert not sampling.has_orientation_priors
    assert (state.nr_iter_wo_resol_gain, state.nr_iter_wo_changes) == (0, 0)
    assert state.smallest_changes_classes == 9999999
    assert state.smallest_changes_offsets_angst == 999.0
    assert state.smallest_changes_orientations_deg == 999.0
    assert sampling.original_healpix_order == 2


@pytest.mark.parametrize(
    ("changes_offsets", "acc_trans", "old", "expected"),
    [
        (1.0, 5.0, (12.0, 4.0), (5.0, 3.0)),  # cap of 1.5 Å on the fine step
        (0.1, 1.2, (12.0, 4.0), (2.7, 1.8)),  # at least 1.5 steps
        (9.0, 1.2, (4.0, 4.0), (5.2, 1.8)),  # at most 1.3 old ranges
        (2.0, 1.2, (12.0, 4.0), (5.0, 1.8)),  # more than 4 steps: halved
        (9.0, 0.4, (12.0, 4.0), (7.8, 1.95)),  # still more: the step is widened
        (1.0, 1.2, (12.0, 1.5), (12.0, 1.5)),  # coarser than the old step: nothing changes
    ],
)
def test_translations_of_a_refined_sampling(
    changes_offsets: float,
    acc_trans: float,
    old: tuple[float, float],
    expected: tuple[float, float],
) -> None:
    state = replace(
        STALLED, current_changes_offsets_angst=changes_offsets, acc_trans_angst=acc_trans
    )
    before = replace(SAMPLING, offset_range_angst=old[0], offset_step_angst=old[1])
    _, sampling = update_sampling(state, before, POLICY, 4)
    assert sampling.healpix_order == 3
    got = (sampling.offset_range_angst, sampling.offset_step_angst)
    assert got == pytest.approx(expected)


@given(
    acc_rot=st.floats(0.01, 999.0),
    acc_trans=st.floats(0.01, 999.0),
    gain=st.integers(0, 2),
    changes=st.integers(0, 2),
    iteration=st.integers(1, 3),
    is_auto_refine=st.booleans(),
    ignores=st.booleans(),
)
def test_accuracies_change_nothing_unless_it_is_due(
    acc_rot: float, acc_trans: float, gain: int, changes: int, iteration: int,
    is_auto_refine: bool, ignores: bool,
) -> None:  # fmt: skip
    """So that they may be estimated later than the sampling is updated."""
    policy = replace(POLICY, is_auto_refine=is_auto_refine, do_ignore_angles=ignores)
    state = replace(STALLED, nr_iter_wo_resol_gain=gain, nr_iter_wo_changes=changes)
    estimated = replace(state, acc_rot_deg=acc_rot, acc_trans_angst=acc_trans)
    is_due = refinement_is_due(state, SAMPLING, policy, iteration)
    assert refinement_is_due(estimated, SAMPLING, policy, iteration) == is_due
    after, sampling = update_sampling(estimated, SAMPLING, policy, iteration)
    assert (after is not estimated or sampling is not SAMPLING) == is_due


def test_sampling_waits() -> None:
    for state, iteration, policy in (
        (STALLED, 1, POLICY),
        (replace(STALLED, nr_iter_wo_resol_gain=0), 4, POLICY),
        (replace(STALLED, nr_iter_wo_changes=0), 4, POLICY),
        (STALLED, 4, replace(POLICY, is_auto_refine=False)),
    ):
        after, sampling = update_sampling(state, SAMPLING, policy, iteration)
        assert after is state
        assert sampling is SAMPLING


def test_faster_sampling_options() -> None:
    moving = replace(STALLED, nr_iter_wo_changes=0)
    ignoring = replace(POLICY, do_ignore_angles=True)
    assert update_sampling(moving, SAMPLING, ignoring, 4)[1].healpix_order == 3
    gaining = replace(STALLED, nr_iter_wo_resol_gain=0, current_resolution_inv_angst=0.1)
    by_resolution = replace(POLICY, do_resolution_angles=True)
    assert required_angular_step_deg(200.0, 0.1) == pytest.approx(360 / 63)
    assert update_sampling(gaining, SAMPLING, by_resolution, 4)[1].healpix_order == 3
    # Not where the next order would start local searches, nor if the step suffices already.
    at_order_3 = replace(SAMPLING, healpix_order=3)
    finest = replace(gaining, current_resolution_inv_angst=0.4, acc_rot_deg=1.0)
    assert update_sampling(finest, at_order_3, by_resolution, 4)[1] is at_order_3
    at_order_4 = replace(SAMPLING, healpix_order=4)
    assert update_sampling(finest, at_order_4, by_resolution, 4)[1].healpix_order == 5
    low = replace(gaining, current_resolution_inv_angst=0.02)
    assert update_sampling(low, SAMPLING, by_resolution, 4)[1] is SAMPLING


def test_fine_enough_and_limits() -> None:
    accurate = replace(STALLED, acc_rot_deg=10.1)  # 7.5 < 0.75 * 10.1
    state, sampling = update_sampling(accurate, SAMPLING, POLICY, 4)
    assert state.has_fine_enough
    assert state.nr_iter_wo_changes == 1
    assert sampling is SAMPLING
    assert has_converged(state, POLICY)
    assert not has_converged(replace(state, nr_iter_wo_resol_gain=0), POLICY)
    assert not has_converged(replace(state, nr_iter_wo_changes=0), POLICY)
    ignoring = replace(POLICY, do_ignore_angles=True)
    assert has_converged(replace(state, nr_iter_wo_changes=0), ignoring)
    assert not has_converged(state, replace(POLICY, is_auto_refine=False))

    forced = replace(POLICY, minimum_angular_sampling_deg=5.0)
    assert not update_sampling(accurate, SAMPLING, forced, 4)[0].has_fine_enough
    stopped = replace(POLICY, maximum_angular_sampling_deg=8.0)
    assert update_sampling(STALLED, SAMPLING, stopped, 4)[0].has_fine_enough
    assert update_sampling(state, SAMPLING, POLICY, 5)[1] is SAMPLING
    # A later refinement takes the flag back.
    inaccurate = replace(state, acc_rot_deg=1.0)
    assert not update_sampling(inaccurate, SAMPLING, POLICY, 5)[0].has_fine_enough


def test_local_searches_begin() -> None:
    _, sampling = update_sampling(STALLED, replace(SAMPLING, healpix_order=3), POLICY, 4)
    assert sampling.has_orientation_priors
    assert sampling.sigma_rot_deg == sampling.sigma_tilt_deg == sampling.sigma_psi_deg == 3.75
    assert is_local_search(sampling, POLICY)
    assert not is_local_search(SAMPLING, POLICY)


def test_skip_rotate_cannot_be_refined() -> None:
    with pytest.raises(OptionsError, match="--skip_rotate"):
        update_sampling(STALLED, SAMPLING, replace(POLICY, do_skip_rotate=True), 4)


def start(policy: SchedulePolicy, order: int, **sigmas: float) -> SamplingState:
    return start_sampling(
        policy,
        healpix_order=order,
        psi_step_deg=-1,
        offset_range_px=5,
        offset_step_px=2,
        pixel_size_angst=1.5,
        **sigmas,
    )


def test_start_sampling() -> None:
    sampling = start(POLICY, 2)
    assert (sampling.offset_range_angst, sampling.offset_step_angst) == (7.5, 3.0)
    assert (sampling.psi_step_deg, sampling.original_psi_step_deg) == (15.0, 15.0)
    assert not sampling.has_orientation_priors
    assert start(POLICY, 4).sigma_psi_deg == 3.75
    assert start(POLICY, 4, sigma_rot_deg=7.0).sigma_rot_deg == 7.0
    assert start(POLICY, 4, sigma_rot_deg=7.0).sigma_tilt_deg == 0.0
    classification = replace(POLICY, is_auto_refine=False)
    assert not start(classification, 4).has_orientation_priors
    local = start(classification, 3, sigma_ang_deg=5.0)
    assert (local.sigma_rot_deg, local.sigma_tilt_deg, local.sigma_psi_deg) == (5.0, 5.0, 5.0)
    assert is_local_search(local, classification)
    assert not is_local_search(start(classification, 3, sigma_psi_deg=5.0), classification)


def test_coarser_sampling() -> None:
    original = replace(SAMPLING, healpix_order=4, original_healpix_order=4)
    policy = replace(POLICY, is_auto_refine=False)

    def order(acc_rot: float, **changes: Any) -> SamplingState:
        state = replace(STALLED, acc_rot_deg=acc_rot, **changes)
        return coarser_sampling(state, original, policy, is_cross_correlation=False)

    # Fine steps at orders 4, 3, 2, 1, 0: 1.875, 3.75, 7.5, 15, 30.
    assert order(2.0).healpix_order == 4
    assert order(2.0).psi_step_deg == 15.0
    # 0.8 * 4 = 3.2: order 3 (3.75) is coarse enough, one finer is 4 again.
    assert order(4.0).healpix_order == 4
    assert order(9.0).healpix_order == 3
    assert order(9.0).psi_step_deg == 7.5
    assert order(20.0).healpix_order == 1  # 15 < 16 <= 30
    assert order(999.0).healpix_order == 0
    assert order(9.0, acc_trans_angst=1.0).offset_step_angst == 4.0
    assert order(9.0, acc_trans_angst=4.0).offset_step_angst == pytest.approx(6.4)
    assert order(9.0, acc_trans_angst=40.0).offset_step_angst == pytest.approx(11.4)
    assert order(9.0).offset_range_angst == 12.0
    # In a CC iteration the resolution decides: 360 / ceil(31.4) = 11.25, 0.8 of it 9.
    by_resolution = coarser_sampling(STALLED, original, policy, is_cross_correlation=True)
    assert by_resolution.healpix_order == 2
