"""Host memory that the driver knows."""

from __future__ import annotations

import mmap

import numpy as np
import pytest

from clrelion.device.pinned import pinned
from clrelion.device.session import DeviceSession


def test_memory_keeps_what_it_holds(
    any_session: DeviceSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where it is common to several processes; the device reads and writes it as before."""
    monkeypatch.setattr(any_session, "is_cpu", False)
    memory = mmap.mmap(-1, 3 * mmap.PAGESIZE)
    host = np.frombuffer(memory, np.float32)
    host[:] = np.arange(len(host))
    kept = pinned(any_session, memory)
    np.testing.assert_array_equal(host, np.arange(len(host)))
    on_device = any_session.to_device(host)
    host[:] = 0
    any_session.read_rows(on_device, 0, host)
    np.testing.assert_array_equal(host, np.arange(len(host)))
    del kept
    any_session.finish()
    np.testing.assert_array_equal(host, np.arange(len(host)))
