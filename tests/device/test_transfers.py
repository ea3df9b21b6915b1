"""Copies between host and device that the host does not wait for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from clrelion.device import transfers as module
from clrelion.device.large_copies import write_bytes
from clrelion.device.session import DeviceSession
from tests.reference.held_device import held


@pytest.fixture
def card(session: DeviceSession) -> DeviceSession:
    """Session that treats its device as a graphics card."""
    opened = DeviceSession(session.info)
    opened._transfers._waits_for_uploads = False
    return opened


def test_host_arrays_may_change_at_once(card: DeviceSession) -> None:
    """Of many uploads in a row, each has the numbers that were there when it was asked for."""
    rng = np.random.default_rng(3)
    sent, kept = [], []
    for n in (1, 2, 257, 5000):
        for _ in range(20):
            host = rng.integers(0, 1000, n).astype(np.int32)
            kept.append(host.copy())
            sent.append(card.to_device(host))
            host[:] = -1
    for array, expected in zip(sent, kept, strict=True):
        np.testing.assert_array_equal(card.to_host(array), expected)
        assert card.read_int(array, len(expected) - 1) == expected[-1]


def test_what_has_been_converted_is_not_copied_again(
    card: DeviceSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only arrays that nobody else can write to are sent as they are."""
    sent = []
    write = card._transfers.write

    def noted(
        memory: Any, start: int, host: NDArray[Any], is_own: bool = False, lasts: bool = False
    ) -> None:
        sent.append((host, is_own))
        write(memory, start, host, is_own, lasts)

    monkeypatch.setattr(card._transfers, "write", noted)
    given = np.arange(24).reshape(4, 6)
    shared = np.empty(24, np.longlong)
    for array, dtype, is_own in (
        (given, None, False),
        (given, np.int64, False),
        (given, np.float32, True),
        (given.T, None, True),
        (given[1:], None, False),
        (shared, np.int64, False),
        (given.data, None, False),
        (given.view(np.matrix), None, False),
        ([1, 2, 3], None, False),
    ):
        found = card.to_device(array, dtype)
        host, found_own = sent.pop()
        assert found_own == is_own
        if is_own:
            assert not any(np.shares_memory(host, x) for x in (given, shared))
        np.testing.assert_array_equal(card.to_host(found), np.asarray(array, dtype))


def test_large_arrays_are_not_copied_on_the_host(
    card: DeviceSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited = []

    def noted(queue: object, memory: object, start: int, host: NDArray[np.uint8]) -> None:
        waited.append(host.nbytes)
        write_bytes(queue, memory, start, host)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "write_bytes", noted)
    card.to_device(np.zeros(module._LARGEST_LATER_BYTES, np.uint8))
    assert waited == []
    card.to_device(np.zeros(module._LARGEST_LATER_BYTES + 1, np.uint8))
    assert waited == [module._LARGEST_LATER_BYTES + 1]
    # nor waited for, if they stay as they are
    lasting = np.arange(module._LARGEST_LATER_BYTES, dtype=np.float32)
    found = card.to_device(lasting, lasts=True)
    assert card._transfers._uploads[-1][1] == lasting.nbytes
    assert len(waited) == 1
    np.testing.assert_array_equal(card.to_host(found), lasting)


def test_uploads_that_are_done_are_forgotten(card: DeviceSession) -> None:
    kept = card._transfers._uploads
    for n in (10, 2**16):
        for _ in range(300):
            card.to_device(np.zeros(n, np.float32))
            card.finish()
            assert len(kept) <= module._MANY_UPLOADS
            assert card._transfers._kept_bytes <= 1.5 * module._LARGEST_LATER_BYTES
            assert card._transfers._kept_bytes == sum(n_bytes for _, n_bytes in kept)
    # those that may be on their way are kept, however many
    with held(card):
        for _ in range(200):
            card.to_device(np.zeros(10, np.float32))
        assert len(kept) >= 200
    card.finish()
    for _ in range(10):
        card.to_device(np.zeros(10, np.float32))
    assert len(kept) <= module._MANY_UPLOADS
