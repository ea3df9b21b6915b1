"""Copies in pieces, and host memory whose pages are there."""

from __future__ import annotations

import numpy as np
import pytest

from clrelion.device import large_copies
from clrelion.device.session import DeviceSession


@pytest.mark.parametrize("piece_bytes", [2**30, 28, 64])
def test_pieces_add_up(
    session: DeviceSession, monkeypatch: pytest.MonkeyPatch, piece_bytes: int
) -> None:
    monkeypatch.setattr(large_copies, "_PIECE_BYTES", piece_bytes)
    rows = np.random.default_rng(0).standard_normal((7, 3, 5)).astype(np.float32)
    array = session.to_device(rows)
    np.testing.assert_array_equal(session.to_host(array), rows)
    np.testing.assert_array_equal(session.to_host(session.copy_rows(array, 2, 6)), rows[2:6])
    session.write_rows(array, 3, -rows[:4])
    found = np.zeros((5, 3, 5), dtype=np.float32)
    session.read_rows(array, 2, found)
    np.testing.assert_array_equal(found, np.concatenate([rows[2:3], -rows[:4]]))


def test_pieces_of_other_types(session: DeviceSession) -> None:
    for host in (np.arange(5) > 2, np.zeros((0, 3), np.float32), np.array(7, np.int32)):
        found = session.to_host(session.to_device(host))
        np.testing.assert_array_equal(found, host, strict=True)


def test_scattered_memory_is_refused(session: DeviceSession) -> None:
    """A copy into a temporary would be lost."""
    array = session.zeros((4, 6), np.float32)
    with pytest.raises(TypeError, match="C-contiguous"):
        session.read_rows(array, 0, np.empty((6, 4), np.float32).T)


def test_every_page_is_touched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large_copies, "_WORTH_THREADS_BYTES", 1)
    memory = np.full(5 * 4096 + 100, 255, dtype=np.uint8)
    monkeypatch.setattr(np, "empty", lambda shape, dtype: memory)
    array = large_copies.host_empty(memory.shape, memory.dtype)
    assert array is memory
    np.testing.assert_array_equal(np.flatnonzero(array == 0), 4096 * np.arange(6))
