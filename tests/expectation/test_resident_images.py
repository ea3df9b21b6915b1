"""Images that stay on the device."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from clrelion.device.session import DeviceSession
from clrelion.errors import DeviceMemoryError
from clrelion.expectation.batch_work import BatchWork
from clrelion.expectation.resident_images import ResidentImages
from clrelion.expectation.step import ExpectationStep
from tests.expectation.small_run import (
    ROOMY,
    ImagesInMemory,
    claims_on_all,
    room_for_results,
    small_run,
)

IMAGE = 4 * 16**2
"""Bytes of an image of the first optics group."""


class CountingImages(ImagesInMemory):
    """Counts the images read."""

    n_read = 0

    def read(self, ids: Any, *args: Any, **names: Any) -> Any:
        self.n_read += len(ids)
        return super().read(ids, *args, **names)


@pytest.fixture(scope="module")
def card(session_double: DeviceSession) -> DeviceSession:
    """A session that takes its device for a graphics card; its kernels are such a one's."""
    made = DeviceSession(session_double.info, "double")
    made.is_cpu = False
    return made


def resident_images(
    session: DeviceSession, room: int = 2**30, largest: int = 2**28, own: Any = None
) -> ResidentImages:
    table = small_run().table
    made = ResidentImages(session, table, np.arange(table.n) if own is None else own, largest)
    made.leave_room(room)
    made.fill_room()
    return made


def keep(resident: ResidentImages, images: ImagesInMemory, ids: Any, session: Any) -> None:
    """Hold what there is room for, as a step does."""
    missing = ids[resident.find(ids)[0] < 0]
    number, place = resident.reserve(missing, 1)
    for i, of_image, at in zip(missing, number, place, strict=True):
        if of_image >= 0:
            session.write_rows(resident.arrays[of_image], int(at), images.read(np.array([i])))
    resident.confirm(missing, number, place)


def check_held(resident: ResidentImages, images: ImagesInMemory, ids: Any, session: Any) -> None:
    """All of these are held, each as it was read."""
    number, place = resident.find(ids)
    assert (number >= 0).all()
    for i, of_image, at in zip(ids, number, place, strict=True):
        held = session.to_host(resident.arrays[of_image])[at]
        np.testing.assert_array_equal(held, images.read(np.array([i]))[0])


def step_sums(
    session: DeviceSession, images: CountingImages, resident: ResidentImages | None
) -> Any:
    run = small_run()
    order = np.array(sorted(run.images, key=lambda i: (run.table.optics_group[i], i)))
    source: Any = images
    step = ExpectationStep(
        session, run.settings, run.table, source, ROOMY, resident=resident
    )
    claims = claims_on_all(order, run.table.optics_group)
    return step.run(claims, room_for_results(run.table)).parameters.to_vector()


def first_group() -> Any:
    table = small_run().table
    return np.flatnonzero(table.optics_group == table.optics_group[0])


def test_second_step_reads_nothing_and_finds_the_same(card: DeviceSession) -> None:
    run = small_run()
    images = CountingImages(run.images)
    resident = resident_images(card)
    expected = step_sums(card, images, None)
    n = images.n_read
    first = step_sums(card, images, resident)
    assert images.n_read == 2 * n
    second = step_sums(card, images, resident)
    assert images.n_read == 2 * n
    np.testing.assert_allclose(first, expected, rtol=1e-10)
    np.testing.assert_allclose(second, expected, rtol=1e-10)


@pytest.mark.parametrize("n_held", [1, 2, 3])
def test_some_are_held_and_the_others_read_each_time(card: DeviceSession, n_held: int) -> None:
    run = small_run()
    images = CountingImages(run.images)
    expected = step_sums(card, images, None)
    n = images.n_read
    # a part of the room for each optics group
    wanted = sum(4 * run.table.optics[g].box_px ** 2 for g in run.table.optics_group.tolist())
    resident = resident_images(card, wanted * n_held // 4)
    np.testing.assert_allclose(step_sums(card, images, resident), expected, rtol=1e-10)
    n_resident = int((resident.find(np.arange(run.table.n))[0] >= 0).sum())
    images.n_read = 0
    np.testing.assert_allclose(step_sums(card, images, resident), expected, rtol=1e-10)
    assert images.n_read == n - n_resident
    if n_held == 3:
        assert 0 < n_resident < n


def test_what_is_held_is_spread_over_the_set(card: DeviceSession) -> None:
    """Each part of the particles has as many as any other one."""
    n = 400
    small = small_run().table
    table = replace(
        small, optics_group=np.zeros(n, dtype=np.int64), image_name=[small.image_name[0]] * n
    )
    resident = ResidentImages(card, table, np.arange(n), 40 * IMAGE)
    resident.leave_room(100 * IMAGE)
    resident.fill_room()
    assert resident.n_bytes == 100 * IMAGE
    held = []
    for first in range(0, n, 40):
        number, place = resident.reserve(np.arange(first, first + 40), 4)
        assert 8 <= (number >= 0).sum() <= 12
        held += list(zip(number[number >= 0].tolist(), place[number >= 0].tolist(), strict=True))
    assert len(held) == len(set(held)) >= 98
    # so do the buffers: giving one up takes as many from each
    assert len({number for number, _ in held[:20]}) == 3


def test_not_on_a_cpu_and_not_beyond_the_room(
    session_double: DeviceSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_double, "is_cpu", True)
    assert not resident_images(session_double).is_on
    monkeypatch.setattr(session_double, "is_cpu", False)
    assert resident_images(session_double).is_on
    for room in (0, IMAGE, 3 * IMAGE):
        assert resident_images(session_double, room).n_bytes <= room
    assert not resident_images(session_double, largest=4 * 15**2).is_on


def test_several_buffers(card: DeviceSession) -> None:
    """Where not all images fit into one buffer, batches come from several."""
    run = small_run()
    largest = 2 * IMAGE + 8  # two images of one optics group, one of the other
    images = CountingImages(run.images)
    resident = resident_images(card, largest=largest)
    expected = step_sums(card, images, None)
    step_sums(card, images, resident)
    n = images.n_read
    np.testing.assert_allclose(step_sums(card, images, resident), expected, rtol=1e-10)
    assert images.n_read == n
    members = first_group()
    assert len(set(resident.find(members)[0].tolist())) == -(-len(members) // 2)
    check_held(resident, images, members[::-1], card)


def test_shares_that_move(card: DeviceSession) -> None:
    """Particles that went to another rank make room for those that came."""
    images = CountingImages(small_run().images)
    members = first_group()
    resident = resident_images(card, own=members[:2])  # room for one more
    keep(resident, images, members[:2], card)
    check_held(resident, images, members[:2], card)
    resident.retain(members[1:])
    assert resident.find(members[:1])[0].tolist() == [-1]
    assert resident.is_waiting(int(small_run().table.optics_group[members[0]]))
    keep(resident, images, members, card)
    check_held(resident, images, members[1:], card)


def test_images_of_those_who_were_helped_stay_for_one_step(card: DeviceSession) -> None:
    """The share stays as it is; what was read of others' is given up all the same."""
    images, members = CountingImages(small_run().images), first_group()
    resident = resident_images(card, own=members[:-1])  # room for one more
    resident.retain(members[:-1])
    keep(resident, images, members, card)
    check_held(resident, images, members, card)
    for _ in range(2):
        resident.retain(members[:-1].copy())
        assert resident.find(members[-1:])[0].tolist() == [-1]
        check_held(resident, images, members[:-1], card)


def test_others_images_take_no_place_of_own_ones(card: DeviceSession) -> None:
    members = first_group()
    resident = resident_images(card, room=IMAGE, own=members[1:])
    assert (resident.reserve(members[:1], 1)[0] == -1).all()


def test_places_of_images_that_never_came_are_free_again(card: DeviceSession) -> None:
    members = first_group()
    resident = resident_images(card)
    for _ in range(3):
        assert (resident.reserve(members, 2)[0] >= 0).all()
        assert resident.is_empty
        resident.fill_room()


def test_room_that_shrinks(card: DeviceSession) -> None:
    images = CountingImages(small_run().images)
    expected = step_sums(card, images, None)
    resident = resident_images(card, largest=2 * IMAGE)
    step_sums(card, images, resident)
    before = resident.n_bytes
    resident.leave_room(before - 1)
    assert 0 < resident.n_bytes < before
    resident.fill_room()
    np.testing.assert_allclose(step_sums(card, images, resident), expected, rtol=1e-10)
    resident.leave_room(0)
    assert not resident.is_on
    np.testing.assert_allclose(step_sums(card, images, resident), expected, rtol=1e-10)
    resident.leave_room(2**30)
    resident.fill_room()
    assert resident.n_bytes == before


def test_memory_that_is_not_there_leaves_fewer_images(
    card: DeviceSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = CountingImages(small_run().images)
    empty = card.empty
    left = [2]

    def full(shape: Any, dtype: Any) -> Any:
        left[0] -= 1
        if left[0] < 0:
            raise DeviceMemoryError("full")
        return empty(shape, dtype)

    monkeypatch.setattr(card, "empty", full)
    resident = resident_images(card, largest=2 * IMAGE)
    assert resident.is_on
    taken = resident.n_bytes
    monkeypatch.undo()
    resident.fill_room()
    assert resident.n_bytes == taken
    step_sums(card, images, resident)
    expected = step_sums(card, images, None)
    np.testing.assert_allclose(step_sums(card, images, resident), expected, rtol=1e-10)


def test_images_are_given_up_where_the_work_lacks_memory(
    card: DeviceSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """First some, then all of them; then batches become smaller."""
    images = CountingImages(small_run().images)
    expected = step_sums(card, images, None)
    resident = resident_images(card, largest=2 * IMAGE)
    step_sums(card, images, resident)
    coarse = BatchWork._coarse
    tried = []

    def full(work: BatchWork, ids: Any, *args: Any) -> Any:
        tried.append((len(ids), resident.is_on))
        if resident.is_on:
            raise DeviceMemoryError("full")
        return coarse(work, ids, *args)

    monkeypatch.setattr(BatchWork, "_coarse", full)
    np.testing.assert_allclose(step_sums(card, images, resident), expected, rtol=1e-10)
    assert [is_on for _, is_on in tried].count(True) >= 2
    assert len({n for n, _ in tried[:3]}) == 1
    resident.fill_room()
    assert not resident.is_on, "for good"
