"""Room for images that stay on the device: what is left once volumes and the step have theirs."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from clrelion.planning.images import bytes_of_maximization, bytes_of_volumes, images_room
from clrelion.planning.run import ForeseenIteration, plan_iteration
from clrelion.planning.step import plan_step, working_bytes
from clrelion.planning.volumes import VolumePlacement, VolumeSizes, place_volumes
from tests.planning.test_step import CASES, limits, size

GB = 10**9


def placed(n_bytes: int, case: str = "dense", n_halves: int = 2) -> VolumePlacement:
    step = ALL_CASES[case]
    volumes = replace(step.volumes, n_halves=n_halves)
    return place_volumes(limits(n_bytes), volumes, working_bytes(limits(n_bytes), step))


ALL_CASES = {
    **CASES,
    "many slices": size(60, n_translations=1, n_particles=50),
    "large volumes": size(180, volumes=VolumeSizes(360, 2.0, 180, 4, 1), box_px=360),
    "a large volume": size(
        180, volumes=VolumeSizes(360, 2.0, 180, 1, 1), n_orientations=300, is_dense=False
    ),
}


@pytest.mark.parametrize("name", ALL_CASES)
def test_volumes_and_work_come_first(name: str) -> None:
    """The step keeps all that made it fast, and the maps can be made beside the images."""
    case = replace(ALL_CASES[name], volumes=replace(ALL_CASES[name].volumes, n_halves=2))
    for n_bytes in [g * GB for g in (1, 2, 3, 4, 6, 7, 8, 12, 16, 24, 32, 48, 64, 100, 140)]:
        given, placement = limits(n_bytes), placed(n_bytes, name)
        room = images_room(given, [case], placement)
        assert 0 <= room <= 0.6 * n_bytes
        assert room + bytes_of_maximization(given, case.volumes, placement) <= n_bytes
        volumes = bytes_of_volumes(case.volumes, placement)
        assert room + volumes <= n_bytes
        if not room:
            continue
        best = plan_step(given, case, placement)
        others = volumes - placement.bytes - placement.brick_bytes
        beside = replace(given, budget_bytes=n_bytes - room - others)
        made = plan_step(beside, case, placement)
        assert made.batch.fits
        assert (made.keep_panels, made.table_fits) == (best.keep_panels, best.table_fits)
        assert made.batch.batch_size >= min(1024, best.batch.batch_size)


def test_more_memory_has_more_room() -> None:
    rooms = [
        images_room(limits(n * GB), [CASES["dense, small"]], placed(n * GB, "dense, small", 1))
        for n in (1, 4, 8, 24, 80, 140)
    ]
    assert all(more > less for less, more in pairwise(rooms))


def test_large_sets_stay_on_large_devices() -> None:
    """160,000 images of 256 px and a quarter more in 142 GB; some of them on small cards."""
    case = size(
        120, volumes=VolumeSizes(256, 2.0, 120, 3, 1), box_px=256, n_coarse_padded=2000,
        n_orientations=3 * 4608,
    )  # fmt: skip
    for n_bytes, least in ((142 * GB, 1.25 * 160000 * 4 * 256**2), (24 * GB, 4 * GB)):
        given = limits(n_bytes, largest=4 * GB)
        placement = place_volumes(given, case.volumes, working_bytes(given, case))
        assert images_room(given, [case], placement) >= least


def test_no_room_on_cpus_and_beside_tiles() -> None:
    case, placement = CASES["dense"], placed(8 * GB)
    assert images_room(limits(8 * GB, is_cpu=True), [case], placement) == 0
    assert images_room(limits(8 * GB), [case], placement) > 0
    for tiled in (replace(placement, sum_tiles=2), replace(placement, reference_tiles=2)):
        assert images_room(limits(8 * GB), [case], tiled) == 0


def test_the_plan_of_a_run_counts_the_images_that_stay() -> None:
    def planned(n_particles: int) -> tuple[int, int]:
        step = replace(CASES["dense, small"], n_particles=n_particles)
        step = replace(step, volumes=replace(step.volumes, n_halves=2))
        made = plan_iteration(limits(8 * GB), ForeseenIteration(1, False, 20, "", (step,)))
        assert made.device_bytes <= 8 * GB
        return made.images_room, made.steps[0].batch.budget_bytes

    image = 4 * 128**2
    room, few = planned(1000)
    assert planned(2000) == (room, few - 2 * 1000 * image)
    assert planned(10**6) == (room, few + 2 * 1000 * image - room)
