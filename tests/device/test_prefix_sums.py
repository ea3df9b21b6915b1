"""Device-wide prefix sums against NumPy, over one and several levels of chunks."""

from __future__ import annotations

import numpy as np
import pytest

from clrelion.device import prefix_sums as module
from clrelion.device.prefix_sums import prefix_sums
from clrelion.device.session import DeviceSession
from tests.reference.prefix_sums import prefix_chunks, sum_chunks


@pytest.mark.parametrize("n", [0, 1, 5, 63, 64, 65, 1000, 4097])
@pytest.mark.parametrize(("is_cpu", "chunk"), [(True, 10**6), (True, 7), (False, 256), (False, 48)])
def test_random_counts(
    session: DeviceSession, monkeypatch: pytest.MonkeyPatch, is_cpu: bool, chunk: int, n: int
) -> None:
    """Chunks of 7 and 48 need three levels."""
    monkeypatch.setattr(module, "_CPU_CHUNK" if is_cpu else "_GPU_CHUNK", chunk)
    monkeypatch.setattr(module, "_GROUP", 16)
    own = DeviceSession(session.info)
    own.is_cpu = is_cpu
    values = np.random.default_rng(n).integers(0, 9, n)
    # what lies behind the end does not count
    found = prefix_sums(own, own.to_device(np.append(values, [1000, 1000]), np.int32), n)
    np.testing.assert_array_equal(own.to_host(found), prefix_chunks(values))


@pytest.mark.parametrize("wg", [1, 16, 64])
def test_chunks(session: DeviceSession, wg: int) -> None:
    values = np.random.default_rng(wg).integers(-5, 9, 301)
    values_d, out = session.to_device(values, np.int32), session.empty(7, np.int32)
    session.kernel("device/sum_chunks", wg=wg)((7 * wg,), (wg,), values_d, 301, 50, out)
    expected = sum_chunks(values, 50)
    np.testing.assert_array_equal(session.to_host(out), expected)
    starts = session.to_device(prefix_chunks(expected)[:-1], np.int32)
    sums = session.empty(302, np.int32)
    kernel = session.kernel("device/prefix_chunks", wg=wg)
    kernel((7 * wg,), (wg,), values_d, starts, 301, 50, sums)
    np.testing.assert_array_equal(session.to_host(sums), prefix_chunks(values))
