"""Sizes of the iterations to come: none that really happens is larger."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from clrelion.orientations.sampling import OrientationGrid
from clrelion.orientations.symmetry import PointGroup
from clrelion.refinement.forecast import ImageGroup, RunSizes, _pixels_within, foresee
from clrelion.refinement.sampling_schedule import start_sampling
from clrelion.refinement.schedule import image_sizes
from clrelion.refinement.schedule_state import SamplingState, SchedulePolicy, ScheduleState

PIXEL = 1.2
AUTO = SchedulePolicy(is_auto_refine=True, oversampling=1, particle_diameter_angst=200.0)
CLASSES = replace(AUTO, is_auto_refine=False)
STATE = ScheduleState(current_resolution_inv_angst=1 / 40.0)


def run_of(policy: SchedulePolicy, **changes: Any) -> RunSizes:
    run = RunSizes(
        ori_size=256,
        pixel_size_angst=PIXEL,
        padding_factor=2.0,
        n_classes=1 if policy.is_auto_refine else 3,
        n_halves=2 if policy.is_auto_refine else 1,
        groups=(ImageGroup(256, PIXEL, 5000),),
        symmetry_order=4,
        policy=policy,
        n_iterations=25,
    )
    return replace(run, **changes)


def sampling_of(policy: SchedulePolicy, order: int = 2) -> SamplingState:
    return start_sampling(
        policy, healpix_order=order, psi_step_deg=-1.0, offset_range_px=5.0, offset_step_px=2.0,
        pixel_size_angst=PIXEL,
    )  # fmt: skip


def test_auto_refine_to_its_last_iteration() -> None:
    found = foresee(run_of(AUTO), STATE, sampling_of(AUTO), 1)
    assert [f.number for f in found] == list(range(1, len(found) + 1))
    assert [f.is_last for f in found] == [False] * (len(found) - 1) + [True]
    sizes = [f.current_size for f in found]
    assert sizes == sorted(sizes)
    assert sizes[0] == 2 * (8 + 10)  # 40 A of 307 A, ten shells beyond
    assert sizes[-1] == 256
    assert found[-1].steps[0].volumes.r_max == 128
    assert [f.sampling for f in found][:4:2] == ["order 2", "order 3"]
    assert found[-1].sampling.endswith("local")
    assert not found[-1].steps[0].is_dense
    assert found[0].steps[0].n_orientations > found[-1].steps[0].n_orientations


def test_classification_has_its_iterations() -> None:
    found = foresee(run_of(CLASSES), STATE, sampling_of(CLASSES), 4)
    assert [f.number for f in found] == list(range(4, 26))
    assert {f.sampling for f in found} == {"order 2"}
    sizes = [f.current_size for f in found]
    assert sizes[0] == 36
    assert sizes[-1] == 256
    assert not any(f.is_last for f in found)


def test_forced_convergence_leaves_the_last_alone() -> None:
    found = foresee(run_of(AUTO), STATE, sampling_of(AUTO), 7, forced_last=True)
    assert [(f.number, f.is_last, f.current_size) for f in found] == [(7, True, 256)]


@pytest.mark.parametrize("high", [False, True])
def test_no_iteration_of_the_schedule_is_larger(high: bool) -> None:
    """Play the schedule with every image resolved to its edge."""
    run, sampling = run_of(AUTO), sampling_of(AUTO)
    foreseen = foresee(run, STATE, sampling, 1)
    state = STATE
    for one in foreseen[:-1]:
        size = image_sizes(
            state, sampling, AUTO, ori_size=256, pixel_size_angst=PIXEL, image_boxes_px=[256],
            image_pixel_sizes_angst=[PIXEL],
        ).current_size  # fmt: skip
        assert size <= one.current_size
        state = replace(
            state,
            current_resolution_inv_angst=(size // 2 - 1) / (256 * PIXEL),
            has_high_fsc=high,
            ave_pmax=0.5,
        )


@pytest.mark.parametrize("symmetry", ["C1", "C4", "D2", "O"])
def test_grids_are_not_larger_than_foreseen(symmetry: str) -> None:
    group = PointGroup.from_name(symmetry)
    for order in range(4):
        run = run_of(CLASSES, symmetry_order=group.order, n_classes=1)
        grid = OrientationGrid.create(order, None, group, oversampling=1)
        first = foresee(run, STATE, sampling_of(CLASSES, order), 1)[0].steps[0]
        assert grid.n_dir * grid.n_psi <= first.n_orientations <= 2 * grid.n_dir * grid.n_psi + 100


def test_pixels_of_a_size() -> None:
    for size in (2, 8, 30):
        half = size // 2
        expected = sum(
            1
            for kx in range(half + 1)
            for ky in range(-half, half + 1)
            if (kx > 0 or ky >= 0) and kx * kx + ky * ky <= half * half
        )
        assert _pixels_within(size) == expected


def test_orientations_that_are_kept_need_no_list() -> None:
    kept = run_of(CLASSES, keeps_orientation=True, keeps_shift=True)
    step = foresee(kept, STATE, sampling_of(CLASSES), 1)[0].steps[0]
    assert (step.n_orientations, step.n_translations, step.n_child_orientations) == (3, 1, 1)
