"""Images on their way to the device while others are worked on."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from clrelion.device.session import DeviceSession
from clrelion.errors import DeviceMemoryError, ImageError
from clrelion.expectation import upload_ahead
from clrelion.expectation.batch_work import BatchWork
from clrelion.expectation.device_images import DeviceImages
from clrelion.expectation.resident_images import ResidentImages
from clrelion.expectation.upload_ahead import LoadedBatch, UploadAhead
from clrelion.particles import read_ahead
from clrelion.particles.read_ahead import ReadAhead
from clrelion.planning.step import StepPlan, plan_step
from tests.expectation.small_run import optics_group, particle_table, small_run

BOX, N = 4, 12
TABLE = particle_table([optics_group("one", BOX, 2.0)], [0] * N)


class NumberedImages:
    """Every pixel of an image is its number; some are bad or cannot be read."""

    def __init__(self, bad: tuple[int, ...] = (), missing: tuple[int, ...] = ()) -> None:
        self._bad = bad
        self._missing = missing
        self.threads: set[int] = set()

    def read(self, ids: Any, out: Any = None) -> Any:
        self.threads.add(threading.get_ident())
        time.sleep(0.001)
        for i, image in zip(ids.tolist(), out, strict=True):
            if i in self._missing:
                raise ImageError(f"image {i}: ends too early")
            image[:] = np.nan if i in self._bad else i
        return out


@pytest.fixture
def device(session: DeviceSession) -> DeviceSession:
    """A session that takes its device for a graphics card."""
    other = DeviceSession(session.info)
    other.is_cpu = False
    return other


@pytest.fixture(autouse=True)
def parts_of_two(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads read two images at a time."""
    for module in (read_ahead, upload_ahead):
        monkeypatch.setattr(module, "PART_BYTES", 2 * 4 * BOX**2)


@pytest.fixture
def source() -> NumberedImages:
    return NumberedImages()


@pytest.fixture
def ahead(source: NumberedImages) -> Iterator[ReadAhead]:
    with ReadAhead(TABLE, source, n_threads=3) as made:
        yield made


def held(session: DeviceSession, batch: LoadedBatch) -> list[float]:
    """Number of each image on the device, every pixel of which must be the same."""
    assert isinstance(batch.images, DeviceImages)
    np.testing.assert_array_equal(batch.images.ids, batch.ids)
    found = np.zeros((len(batch.ids), BOX, BOX))
    order, runs = batch.images.by_buffer()
    for array, first, n in runs:
        chosen = order[first : first + n]
        found[chosen] = session.to_host(array)[batch.images.place[chosen]]
    assert sum(n for _, _, n in runs) == len(order) == len(batch.ids)
    assert len({id(array) for array, _, _ in runs}) == len(runs)
    assert np.ptp(found, axis=(1, 2)).max(initial=0) == 0
    return found[:, 0, 0].tolist()


def test_batches_take_turns(device: DeviceSession, ahead: ReadAhead) -> None:
    """Two are on the device at a time, each whole, a shorter one too."""
    uploads = UploadAhead(device, ahead, None, BOX, 5)
    batches = [np.arange(5), np.array([7, 6, 11])]
    coming = [uploads.begin(ids)[0] for ids in batches]
    loaded = [one.result() for one in coming]
    for ids, batch in zip(batches, loaded, strict=True):
        assert held(device, batch) == ids.tolist()
    third = uploads.begin(np.array([9]))[0].result()
    assert held(device, third) == [9]
    assert isinstance(third.images, DeviceImages)
    assert isinstance(loaded[0].images, DeviceImages)
    assert list(third.images.buffers.values()) == list(loaded[0].images.buffers.values())


def test_a_buffer_is_not_filled_while_the_device_works_with_it(
    device: DeviceSession, ahead: ReadAhead, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_done = threading.Event()
    monkeypatch.setattr(device, "to_host_later", lambda: SimpleNamespace(result=is_done.wait))
    uploads = UploadAhead(device, ahead, None, BOX, 1)
    try:
        coming = uploads.begin(np.array([1]))[0]
        first = coming.result()
        coming.note_use()
        uploads.begin(np.array([2]))[0].result()
        third = uploads.begin(np.array([3]))[0]
        waiting = threading.Thread(target=third.result)
        waiting.start()
        time.sleep(0.2)
        assert waiting.is_alive()
        assert held(device, first) == [1]
    finally:
        is_done.set()
    waiting.join(10)
    assert held(device, first) == [3]


@pytest.mark.parametrize("n_held", [0, 3, 8, N])
def test_images_that_stay_and_others_in_one_batch(
    device: DeviceSession, ahead: ReadAhead, source: NumberedImages, n_held: int
) -> None:
    resident = ResidentImages(device, TABLE, np.arange(N), 3 * 4 * BOX**2)
    resident.leave_room(n_held * 4 * BOX**2)
    resident.fill_room()
    uploads = UploadAhead(device, ahead, resident, BOX, N)
    order = np.random.default_rng(0).permutation(N)
    for repeat in range(3):
        for ids in (order[:7], order[7:]):
            coming, rest = uploads.begin(ids)
            assert not len(rest)
            assert coming.is_here == (n_held == N and repeat > 0)
            assert held(device, coming.result()) == ids.tolist()
            coming.note_use()
        assert abs(int((resident.find(order)[0] >= 0).sum()) - n_held) <= 1
        # a slice and a choice are of the same images
        batch = uploads.begin(order)[0].result()
        for chosen in (slice(2, 5), order > 4):
            assert isinstance(batch.images, DeviceImages)
            part = LoadedBatch(order[chosen], batch.images[chosen], order[:0])
            assert held(device, part) == order[chosen].tolist()
    assert len(source.threads) > 1


def test_bad_images_are_left_out_and_not_held(device: DeviceSession) -> None:
    resident = ResidentImages(device, TABLE, np.arange(N), 2**20)
    resident.leave_room(2**20)
    resident.fill_room()
    with ReadAhead(TABLE, NumberedImages(bad=(2, 5)), n_threads=2) as ahead:
        uploads = UploadAhead(device, ahead, resident, BOX, N)
        batch = uploads.begin(np.arange(8))[0].result()
    assert held(device, batch) == [0, 1, 3, 4, 6, 7]
    assert batch.bad_ids.tolist() == [2, 5]
    assert (resident.find(np.arange(8))[0] < 0).nonzero()[0].tolist() == [2, 5]


def test_the_first_error_of_a_batch_comes_with_it(device: DeviceSession) -> None:
    """Whichever thread meets one, and whatever is left to be read."""
    resident = ResidentImages(device, TABLE, np.arange(N), 2**20)
    resident.leave_room(2**20)
    resident.fill_room()
    with ReadAhead(TABLE, NumberedImages(missing=(3, 4, 9)), n_threads=3) as ahead:
        uploads = UploadAhead(device, ahead, resident, BOX, N)
        coming = [uploads.begin(ids)[0] for ids in (np.arange(10), np.array([10, 11]))]
        with pytest.raises(ImageError, match="image 3: ends too early"):
            coming[0].result()
        assert held(device, coming[1].result()) == [10, 11]
    assert (resident.find(np.arange(10))[0] < 0).all()


def test_less_memory_makes_smaller_batches(
    device: DeviceSession, ahead: ReadAhead, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Images that stay go first, then batches are cut; a single image is needed."""
    resident = ResidentImages(device, TABLE, np.arange(N), 2**20)
    resident.leave_room(2 * 4 * BOX**2)
    resident.fill_room()
    assert resident.is_on
    empty = device.empty
    most = 3

    def full(shape: Any, dtype: Any) -> Any:
        if isinstance(shape, tuple) and shape[0] > most:
            raise DeviceMemoryError("no memory left")
        return empty(shape, dtype)

    monkeypatch.setattr(device, "empty", full)
    uploads = UploadAhead(device, ahead, resident, BOX, N)
    ids, seen = np.arange(N), []
    while len(ids):
        coming, ids = uploads.begin(ids)
        seen.append(held(device, coming.result()))
        assert len(seen[-1]) <= 3 + 2  # two that were to stay found places before
    assert np.concatenate(seen).tolist() == list(range(N))
    assert not resident.is_on
    most = 0
    with pytest.raises(DeviceMemoryError):
        UploadAhead(device, ahead, None, BOX, N).begin(np.arange(2))


def test_staging_is_used_again(device: DeviceSession) -> None:
    staging = device.staging(64)
    assert device.staging(32) is staging
    assert device.staging(65) is not staging
    with staging.buffer() as first, staging.buffer() as second:
        assert first.ctypes.data != second.ctypes.data
        assert len(first) == len(second) == 64
    with staging.buffer() as again:
        assert again.ctypes.data in (first.ctypes.data, second.ctypes.data)


@pytest.mark.parametrize("batch_size", [1, 2])
def test_a_step_takes_what_was_copied(
    device: DeviceSession,
    monkeypatch: pytest.MonkeyPatch,
    batch_size: int,
) -> None:
    """Every batch comes from the device, and the sums are the same."""
    run = small_run()
    device.is_cpu = True
    expected = run.run(device)
    device.is_cpu = False
    seen = []
    original = BatchWork.process

    def counted(work: BatchWork, batch: LoadedBatch) -> None:
        seen.append(isinstance(batch.images, DeviceImages))
        original(work, batch)

    monkeypatch.setattr(BatchWork, "process", counted)

    def plan(*args: Any) -> StepPlan:
        made = plan_step(*args)
        return replace(made, batch=replace(made.batch, batch_size=batch_size))

    monkeypatch.setattr("clrelion.expectation.step.plan_step", plan)
    found = run.run(device)
    assert len(seen) >= 3
    assert all(seen)
    np.testing.assert_allclose(
        found[0].parameters.to_vector(), expected[0].parameters.to_vector(), rtol=1e-4, atol=1e-6
    )
    np.testing.assert_allclose(found[1].rot_deg, expected[1].rot_deg, atol=1e-6)
