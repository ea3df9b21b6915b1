"""Where volumes live: all on the device, one class at a time, in tiles."""

from __future__ import annotations

from dataclasses import replace

import pytest

from clrelion.planning.limits import DeviceLimits
from clrelion.planning.volumes import VolumePlacement, VolumeSizes, place_volumes

GB = 10**9
# R = 3, p = 2: P = 6, 15 x 15 x 8 voxels; two halves of one class
SMALL = VolumeSizes(16, 2.0, 3, 1, 2)
VOXELS = 15 * 15 * 8


def gpu(n_bytes: int, largest: int = 10**12, real_bytes: int = 4) -> DeviceLimits:
    return DeviceLimits(n_bytes, largest, largest, False, 1, real_bytes)


def cpu(n_bytes: int, real_bytes: int = 4) -> DeviceLimits:
    return DeviceLimits(n_bytes, n_bytes, n_bytes, True, 2, real_bytes)


def test_bytes_and_choice() -> None:
    assert (SMALL.n_planes, SMALL.voxels_per_plane, SMALL.voxels) == (15, 15 * 8, VOXELS)
    n_bytes = SMALL.bytes_of_all(4)
    assert n_bytes == 4 * (VOXELS * (2 * (2 + 4) + 4) + 2 * 16**3)
    assert place_volumes(gpu(2 * n_bytes), SMALL).stays
    assert place_volumes(gpu(4 * n_bytes, real_bytes=8), SMALL).stays
    assert not place_volumes(gpu(n_bytes), SMALL).stays
    largest = 4 * VOXELS * 4
    assert place_volumes(gpu(2 * n_bytes, largest), SMALL).stays
    assert not place_volumes(gpu(2 * n_bytes, largest - 1), SMALL).stays


def test_choice_on_cpus() -> None:
    large = VolumeSizes(128, 2.0, 20, 1, 1)
    assert place_volumes(cpu(10**12), large).stays
    assert not place_volumes(cpu(10**12), replace(large, padding_factor=1.0)).stays
    assert not place_volumes(cpu(10**12, 8), large).stays


def planes(placement: VolumePlacement) -> tuple[int, int]:
    return placement.reference_planes, placement.sum_planes


def test_measures_in_their_order() -> None:
    """Whole, sums of one class, everything of one class, tiles of the sums, tiles of both."""
    sizes = replace(SMALL, n_classes=3)
    reference, sums = 2 * 4 * 15 * 8, 4 * 4 * 15 * 8  # bytes of a plane

    def at(n_bytes: int) -> tuple[int, int]:
        placement = place_volumes(gpu(n_bytes), sizes)
        assert placement.bytes <= n_bytes
        return planes(placement)

    assert at(45 * (reference + sums)) == (45, 45)
    assert at(45 * (reference + sums) - 1) == (45, 15)
    assert at(45 * reference + 15 * sums - 1) == (15, 15)
    assert at(15 * (reference + sums) - 1) == (15, 8)
    assert at(15 * reference + 4 * sums) == (15, 4)
    assert at(15 * reference + 3 * sums)[0] < 15
    assert at(5 * (reference + sums)) == (5, 5)


def test_a_tile_is_never_empty() -> None:
    assert planes(place_volumes(gpu(1), SMALL)) == (2, 1)


def test_tiles_overlap_by_the_plane_that_interpolation_needs() -> None:
    placement = place_volumes(gpu(6 * 2 * 480 + 6 * 4 * 480), SMALL)
    assert placement.reference_planes > 2
    assert placement.reference_tiles == -(-15 // (placement.reference_planes - 1))
    assert placement.sum_tiles == -(-15 // placement.sum_planes)
    assert "tiles" in placement.text()


def test_what_a_batch_needs_is_left_over() -> None:
    whole = 15 * 15 * 8 * 6 * 4
    assert planes(place_volumes(gpu(whole + 1000), SMALL, 1000)) == (15, 15)
    assert planes(place_volumes(gpu(whole + 1000), SMALL, 1001)) == (15, 8)


def test_who_reconstructs_what_waits() -> None:
    """On CPUs kernels too, where they are worth it: single precision, large boxes."""
    large, small = VolumeSizes(256, 2.0, 128, 6, 1), VolumeSizes(80, 2.0, 40, 6, 1)
    for limits, sizes, by_kernels in (
        (cpu(4 * GB), large, True),
        (cpu(8 * GB, real_bytes=8), large, False),
        (cpu(GB), large, False),
        (cpu(GB // 10), small, False),
        (gpu(GB // 10), small, True),
    ):
        placement = place_volumes(limits, sizes)
        assert not placement.stays
        assert placement.maximizes_on_device == by_kernels
        least, most = sizes.bytes_of_reconstruction(4), sizes.most_bytes_of_reconstruction(4)
        assert least < most <= least + 6 * GB


def test_workers_of_cpus_become_fewer_before_tiles() -> None:
    whole = VOXELS * 4
    for n_bytes, workers in ((whole * 10, 2), (whole * 9, 1), (whole * 6, 1), (whole * 5, 1)):
        placement = place_volumes(cpu(n_bytes), SMALL)
        assert placement.n_workers == workers
        assert (placement.sum_tiles == 1) == (n_bytes >= 6 * whole)


@pytest.mark.parametrize(("box", "gigabytes"), [(512, 12), (800, 48)])
def test_the_largest_boxes(box: int, gigabytes: int) -> None:
    """References whole, sums in two tiles, and the maps are made on the device."""
    sizes = VolumeSizes(box, 2.0, box // 2, 1, 2)
    placement = place_volumes(gpu(gigabytes * GB), sizes, gigabytes * GB // 8)
    assert not placement.stays
    assert (placement.reference_tiles, placement.sum_tiles) == (1, 2)
    assert placement.maximizes_on_device
    assert not place_volumes(gpu(gigabytes * GB // 2), sizes).maximizes_on_device


def test_bricks_where_there_is_room() -> None:
    """2 x 4 x 4 voxels each: 4 x 4 x 4 of them hold 8 x 15 x 15."""
    n_bytes = 2 * 4 * (4 * 4 * 4) * 32
    assert SMALL.bytes_in_bricks(4) == n_bytes
    assert replace(SMALL, n_classes=3).bytes_in_bricks(8) == 6 * n_bytes
    roomy = place_volumes(gpu(GB), SMALL)
    assert roomy.stays
    assert roomy.brick_bytes == n_bytes
    assert place_volumes(gpu(GB, real_bytes=8), SMALL).brick_bytes == 2 * n_bytes
    assert place_volumes(cpu(GB), SMALL).brick_bytes == 0
    # the largest buffer holds the sums of the class, but not more: enough for one copy
    many = replace(SMALL, n_classes=3)
    assert place_volumes(gpu(GB, 3 * n_bytes), many).brick_bytes == 3 * n_bytes
    assert place_volumes(gpu(GB, 3 * n_bytes - 1), many).brick_bytes == 0


def test_bricks_take_a_small_part_of_what_is_left() -> None:
    """Never in tiles, never more than a twelfth of what the volumes and a batch leave."""
    n_bytes, working = SMALL.bytes_in_bricks(4), 10**4
    seen = set()
    for budget in (int(10**5 * 1.05**i) for i in range(60)):
        placement = place_volumes(gpu(budget), SMALL, working)
        taken = SMALL.bytes_of_all(4) if placement.stays else placement.bytes + working
        has_room = 12 * n_bytes <= budget - taken
        assert placement.brick_bytes == (n_bytes if has_room else 0), budget
        seen.add(placement.brick_bytes)
    assert seen == {0, n_bytes}
    in_tiles = place_volumes(gpu(6 * 2 * 480 + 6 * 4 * 480), SMALL)
    assert in_tiles.reference_tiles > 1
    assert in_tiles.brick_bytes == 0


def test_voxels_in_bricks_are_numbered_by_32_bits() -> None:
    for box, has_bricks in ((800, True), (820, False)):
        sizes = VolumeSizes(box, 2.0, box // 2, 1, 2)
        placement = place_volumes(gpu(10**13, 10**13), sizes)
        assert (placement.brick_bytes > 0) == has_bricks
