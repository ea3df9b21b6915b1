"""The memory plan of an expectation step: it fits what it is given, and more gives more."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from clrelion.planning.limits import DeviceLimits
from clrelion.planning.step import StepPlan, StepSize, plan_step, working_bytes
from clrelion.planning.volumes import VolumeSizes, place_volumes

MB = 10**6
BUDGETS = [64 * MB, 128 * MB, 256 * MB, 1000 * MB, 4000 * MB, 16000 * MB, 64000 * MB, 140000 * MB]


def limits(n_bytes: int, largest: int | None = None, is_cpu: bool = False) -> DeviceLimits:
    largest = largest or max(n_bytes // 4, 1)
    return DeviceLimits(n_bytes, largest, n_bytes, is_cpu, 4, 4)


def size(radius: int, **changes: object) -> StepSize:
    n = int(3.1416 * radius**2 / 2)
    base = StepSize(
        title="test",
        volumes=VolumeSizes(128, 2.0, radius, 1, 1),
        n_particles=10**5,
        box_px=128,
        n_list=n,
        n_coarse_padded=max(16, n // 4 // 16 * 16),
        n_fine_padded=n // 16 * 16 + 16,
        n_orientations=36864,
        is_dense=True,
        n_translations=21,
        n_child_orientations=8,
    )
    return replace(base, **changes)  # type: ignore[arg-type]


CASES = {
    "dense, small": size(10, n_orientations=4608),
    "dense": size(12),
    "local": size(18, n_orientations=300, is_dense=False),
    "kept": size(18, n_orientations=1, is_dense=False, n_translations=1, n_child_orientations=1),
}


@pytest.mark.parametrize("is_cpu", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_plans_fit_their_budgets(name: str, is_cpu: bool) -> None:
    case = CASES[name]
    for n_bytes in BUDGETS:
        made = plan_step(limits(n_bytes, is_cpu=is_cpu), case)
        assert made.batch.fits, f"{name}: {n_bytes}"
        assert made.batch.total_bytes <= n_bytes
        assert 1 <= made.batch.batch_size <= 8192
        assert made.batch.buffers[0].bytes_fixed >= case.volumes.voxels * 4 * 6
        assert made.fine_bytes <= n_bytes // 2
        largest = n_bytes // 4
        for buffer in made.batch.buffers:
            if buffer.name in ("squared differences", "candidate weights", "shifted images"):
                assert buffer.total(made.batch.batch_size) <= largest
            if buffer.name in ("coarse slices", "fine slices (table)"):
                assert buffer.total(1) <= largest


@pytest.mark.parametrize("name", CASES)
def test_more_memory_gives_larger_launches(name: str) -> None:
    plans = [plan_step(limits(n), CASES[name]) for n in BUDGETS]
    for smaller, larger in pairwise(plans):
        assert smaller.columns_per_run <= larger.columns_per_run
        assert smaller.rows_per_run <= larger.rows_per_run
        assert smaller.fine_bytes <= larger.fine_bytes
        assert smaller.keep_panels <= larger.keep_panels
        assert smaller.table_fits <= larger.table_fits
        if smaller.keep_panels == larger.keep_panels and smaller.table_fits == larger.table_fits:
            assert smaller.batch.batch_size <= larger.batch.batch_size
    assert plans[0].batch.batch_size < plans[-1].batch.batch_size
    assert plans[-1].keep_panels == CASES[name].is_dense or not CASES[name].is_dense


def test_the_largest_buffer_limits_the_batch() -> None:
    free = plan_step(limits(16000 * MB), CASES["dense"])
    limited = plan_step(limits(16000 * MB, 16 * MB), CASES["dense"])
    assert limited.batch.batch_size < free.batch.batch_size
    assert limited.columns_per_run < free.columns_per_run
    assert limited.largest_bytes == 16 * MB
    # also where the references and sums together are larger, in several buffers
    tiny = plan_step(limits(16000 * MB, MB // 2), CASES["dense, small"])
    assert tiny.batch.buffers[0].bytes_fixed > MB // 2
    for buffer in tiny.batch.buffers:
        if buffer.name in ("squared differences", "shifted images"):
            assert buffer.total(tiny.batch.batch_size) <= MB // 2


def test_images_of_a_batch_are_in_several_buffers() -> None:
    """A card with room for many large images is not kept to what one buffer could hold of all."""
    case = size(80, box_px=256, n_orientations=576, n_coarse_padded=512)
    made = plan_step(limits(100_000 * MB, 4000 * MB), case)
    images = next(b for b in made.batch.buffers if b.name == "images")
    assert images.total(made.batch.batch_size) > 4000 * MB
    # a half-transform is the largest
    assert made.batch.batch_size * 256 * 129 * 8 <= 4000 * MB
    assert made.batch.batch_size == 8192
    small = plan_step(limits(100_000 * MB, 1000 * MB), case)
    assert small.batch.batch_size == 1000 * MB // (256 * 129 * 8)


def test_a_budget_for_nothing_says_so() -> None:
    made = plan_step(limits(2 * MB), CASES["dense"])
    assert made.batch.batch_size == 1
    assert not made.batch.fits
    assert "MORE than the budget" in made.lines()[0]
    assert any("coarse orientations a launch" in line for line in made.lines())
    sparse = plan_step(limits(MB), CASES["local"])
    assert any("coarse slices a launch" in line for line in sparse.lines())


def pressure(plan: StepPlan, case: StepSize) -> int:
    """How far down the order of measures a plan is: 0 everything fits, 4 tiles."""
    n_planes, n_classes = case.volumes.n_planes, case.volumes.n_classes
    if min(plan.placement.sum_planes, plan.placement.reference_planes) < n_planes:
        return 4
    if plan.placement.sum_planes < n_classes * n_planes:
        return 3
    if not plan.keep_panels:
        return 2
    return int(plan.batch.batch_size < case.n_particles)


def test_order_under_pressure() -> None:
    """Fewer particles, fewer orientations, one class at a time, tiles of a volume."""
    case = size(40, volumes=VolumeSizes(128, 2.0, 40, 4, 1), n_orientations=4 * 36864)
    case = replace(case, n_particles=400)
    budgets = [int(64 * MB * 1.1**i) for i in range(90)]
    seen = [pressure(plan_step(limits(n, 10**12), case), case) for n in budgets]
    assert seen == sorted(seen, reverse=True)
    assert set(seen) == {0, 1, 2, 3, 4}


def test_classes_stay_as_long_as_few_particles_fit() -> None:
    case = size(40, volumes=VolumeSizes(128, 2.0, 40, 4, 1))
    for n_bytes in (int(64 * MB * 1.2**i) for i in range(40)):
        given = limits(n_bytes, 10**12)
        plan = plan_step(given, case)
        if plan.placement.sum_tiles > 1:
            volumes = case.volumes.voxels * 4 * 4 * 6
            assert volumes + working_bytes(given, case) > n_bytes
            assert plan.batch.batch_size >= 4 or not plan.batch.fits


def test_several_optics_groups_share_one_placement() -> None:
    placement = place_volumes(limits(10**9), CASES["dense"].volumes)
    assert plan_step(limits(10**9), CASES["dense"], placement).placement is placement


def test_bricks_are_counted() -> None:
    for n_bytes in BUDGETS:
        given = limits(n_bytes, 10**12)
        plan = plan_step(given, CASES["local"])
        n_bricks = plan.placement.brick_bytes
        named = {b.name: b.bytes_fixed for b in plan.batch.buffers}
        assert named.get("references in bricks", 0) == n_bricks
        without = plan_step(given, CASES["local"], replace(plan.placement, brick_bytes=0))
        assert plan.batch.total_bytes <= n_bytes
        assert (plan.fine_bytes < without.fine_bytes) == (n_bricks > 0)
    assert n_bricks == CASES["local"].volumes.bytes_in_bricks(4) > 0
