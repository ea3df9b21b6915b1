"""The plan of a whole run."""

from __future__ import annotations

from dataclasses import replace

from clrelion.planning.limits import DeviceLimits
from clrelion.planning.run import ForeseenIteration, plan_iteration, plan_run
from clrelion.planning.volumes import VolumeSizes
from tests.planning.test_step import CASES, limits

GB = 10**9


def foreseen(number: int, radius: int, is_last: bool = False) -> ForeseenIteration:
    step = replace(CASES["dense"], volumes=VolumeSizes(128, 2.0, radius, 1, 2), n_particles=3000)
    return ForeseenIteration(number, is_last, 2 * radius, "order 3", (step, step))


def test_lines_name_every_iteration_and_the_last() -> None:
    plan = plan_run(
        limits(8 * GB), [foreseen(i, 20) for i in range(3, 6)] + [foreseen(6, 64, True)]
    )
    lines = plan.lines()
    assert lines[0].startswith("Memory plan within 8.0 GB")
    assert lines[1].split()[:3] == ["iteration", "px", "sampling"]
    assert lines[2].split()[:2] == ["3-5", "40"]
    assert lines[3].split()[:2] == ["last", "128"]
    assert any("squared differences" in line for line in lines[4:])


def test_bytes_stay_within_the_budget_and_grow_with_the_image() -> None:
    previous = 0
    for radius in (10, 20, 40, 64):
        for n_bytes in (GB, 8 * GB, 100 * GB):
            made = plan_iteration(limits(n_bytes), foreseen(1, radius))
            assert made.fits
            assert made.device_bytes <= n_bytes
        assert made.host_bytes >= 8 * 128**3 * 2
        assert made.device_bytes > previous
        previous = made.device_bytes


def test_images_and_the_other_half_set_take_their_room() -> None:
    """What stays on the device between the steps is not planned for batches."""
    one = plan_iteration(limits(8 * GB), foreseen(1, 40))
    assert one.placement.stays
    alone = foreseen(1, 40)
    sizes = replace(alone.steps[0].volumes, n_halves=1)
    alone = replace(alone, steps=tuple(replace(s, volumes=sizes) for s in alone.steps))
    more = plan_iteration(limits(8 * GB), alone)
    assert one.steps[0].batch.budget_bytes < more.steps[0].batch.budget_bytes


def test_volumes_that_wait_count_on_the_host() -> None:
    given = DeviceLimits(GB, GB, GB, False, 1, 4)
    large = foreseen(1, 128)
    made = plan_iteration(given, large)
    assert not made.placement.stays
    voxels = large.steps[0].volumes.voxels
    assert made.host_bytes >= 2 * voxels * 16


def test_too_little_says_so() -> None:
    assert "MORE than the budget" in "\n".join(plan_run(limits(10**6), [foreseen(1, 20)]).lines())
