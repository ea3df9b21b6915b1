"""Images on their way to the device while others are worked on."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from clrelion.device.session import DeviceSession
from clrelion.errors import DeviceMemoryError, ImageError
from clrelion.expectation.batch_work import BatchWork
from clrelion.expectation.upload_ahead import UploadAhead
from clrelion.particles.loader import HostBatch
from clrelion.planning.step import StepPlan, plan_step
from tests.expectation.small_run import small_run


@pytest.fixture
def device(session: DeviceSession) -> DeviceSession:
    """A session that takes its device for a graphics card."""
    other = DeviceSession(session.info)
    other.is_cpu = False
    return other


def batch(ids: list[int]) -> HostBatch:
    images = np.stack([np.full((4, 4), i, dtype=np.float32) for i in ids])
    return HostBatch(np.array(ids), images, 0, np.zeros(0, dtype=np.int64))


def read(result: HostBatch) -> Future[HostBatch]:
    future: Future[HostBatch] = Future()
    future.set_result(result)
    return future


def test_batches_take_turns(device: DeviceSession) -> None:
    """Two are on the device at a time, each whole, a shorter one too."""
    with UploadAhead(device, 4, 3) as uploads:
        coming = [uploads.send(read(batch(ids))) for ids in ([0, 1, 2], [3, 4])]
        for ids, future in zip(([0, 1, 2], [3, 4]), coming, strict=True):
            host, uploaded = future.result()
            assert host.ids.tolist() == ids
            assert uploaded is not None
            held = device.to_host(uploaded.images)[uploaded.places]
            np.testing.assert_array_equal(held[:, 0, 0], ids)
        third = uploads.send(read(batch([7]))).result()[1]
        assert third is not None
        first = coming[0].result()[1]
        assert first is not None
        assert third.images is first.images
        assert device.to_host(third.images)[0, 3, 3] == 7


def test_a_buffer_is_not_filled_while_the_device_works_with_it(
    device: DeviceSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_done = threading.Event()
    monkeypatch.setattr(device, "to_host_later", lambda: SimpleNamespace(result=is_done.wait))
    with UploadAhead(device, 4, 1) as uploads:
        try:
            first = uploads.send(read(batch([1]))).result()[1]
            assert first is not None
            uploads.note_use(first)
            second = uploads.send(read(batch([2]))).result()[1]
            assert second is not None
            third = uploads.send(read(batch([3])))
            time.sleep(0.2)
            assert not third.done()
            assert device.to_host(first.images)[0, 0, 0] == 1
        finally:
            is_done.set()
        assert third.result()[1] is not None
        assert device.to_host(first.images)[0, 0, 0] == 3


def test_errors_of_reading_come_with_the_batch(device: DeviceSession) -> None:
    failed: Future[HostBatch] = Future()
    failed.set_exception(ImageError("particles.mrcs: ends too early"))
    with UploadAhead(device, 4, 3) as uploads:
        with pytest.raises(ImageError, match="ends too early"):
            uploads.send(failed).result()
        assert uploads.send(read(batch([1]))).result()[1] is not None


@pytest.mark.parametrize("why", ["cpu", "held", "memory"])
def test_what_is_not_copied(
    device: DeviceSession, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    def full(*_: Any) -> Any:
        raise DeviceMemoryError("no memory left")

    device.is_cpu = why == "cpu"
    if why == "memory":
        monkeypatch.setattr(device, "empty", full)
    with UploadAhead(device, 4, 3, is_on=why != "held") as uploads:
        host, uploaded = uploads.send(read(batch([1]))).result()
    assert uploaded is None
    assert host.ids.tolist() == [1]


@pytest.mark.parametrize("batch_size", [1, 2])
def test_a_step_takes_what_was_copied(
    device: DeviceSession,
    monkeypatch: pytest.MonkeyPatch,
    batch_size: int,
) -> None:
    """Every batch comes from the device, and the sums are the same."""
    run = small_run()
    expected = run.run(device)
    seen = []
    original = BatchWork.process

    def counted(work: BatchWork, host: HostBatch, uploaded: Any = None) -> None:
        seen.append(uploaded is not None)
        original(work, host, uploaded)

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
