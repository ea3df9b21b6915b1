"""Device arrays: shapes, sizes, and the same memory seen otherwise."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from clrelion.device.buffer_pool import BufferPool
from clrelion.device.session import DeviceSession


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        (7, (7,)),
        ((), ()),
        ((3, 0, 5), (3, 0, 5)),
        (0, (0,)),
        ((np.int64(3), 5), (3, 5)),
        (np.int32(4), (4,)),
        ((np.int16(30), np.uint8(3)), (30, 3)),
    ],
)
def test_shapes(session: DeviceSession, shape: Any, expected: tuple[int, ...]) -> None:
    for make in (session.empty, session.zeros):
        array = make(shape, np.complex64)
        assert array.shape == expected
        assert all(type(n) is int for n in array.shape)
        assert (array.ndim, array.size) == (len(expected), int(np.prod(expected)))
        assert (array.dtype, array.nbytes) == (np.dtype(np.complex64), 8 * array.size)
        assert (array.base_data is None) == (array.size == 0)
        assert session.to_host(array).shape == expected
    host = np.arange(np.prod(expected)).reshape(expected)
    found = session.to_host(session.to_device(host))
    assert found.dtype == host.dtype
    np.testing.assert_array_equal(found, host)


@pytest.mark.parametrize(
    ("shape", "error", "match"),
    [
        ((3, 2.0), TypeError, "whole numbers"),
        ([3, 2], TypeError, "whole numbers"),
        ((3, -2), ValueError, "negative"),
        ((-3, -2), ValueError, "negative"),
        ((0, -2), ValueError, "negative"),
    ],
)
def test_wrong_shapes(
    session: DeviceSession, shape: Any, error: type[Exception], match: str
) -> None:
    with pytest.raises(error, match=match):
        session.empty(shape, np.float32)


def test_reshape(session: DeviceSession) -> None:
    host = np.arange(24, dtype=np.int32).reshape(2, 3, 4)
    array = session.to_device(host)
    for shape in ((24,), (4, 6), (-1, 4), (2, -1, 2, 2), (-1,)):
        seen = array.reshape(*shape)
        assert seen.base_data is array.base_data
        assert seen.shape == host.reshape(shape).shape
        np.testing.assert_array_equal(session.to_host(seen), host.reshape(shape))
    assert session.empty((0, 4), np.int32).reshape(-1, 2).shape == (0, 2)
    for wrong in ((5, 5), (-1, 5), (-1, -1, 24), ()):
        with pytest.raises(TypeError, match="reshape"):
            array.reshape(*wrong)


def test_view(session: DeviceSession) -> None:
    host = np.arange(24, dtype=np.complex64).reshape(2, 3, 4)
    array = session.to_device(host)
    for dtype in (np.float32, np.uint8, np.complex128):
        seen = array.view(dtype)
        expected = host.view(dtype)
        assert (seen.shape, seen.dtype) == (expected.shape, expected.dtype)
        assert (seen.size, seen.nbytes) == (expected.size, expected.nbytes)
        np.testing.assert_array_equal(session.to_host(seen), expected)
    with pytest.raises(TypeError, match="no number of float64"):
        session.empty((4, 3), np.float32).view(np.float64)


def test_memory_lives_as_long_as_one_view_of_it(session: DeviceSession) -> None:
    before = session.allocated_bytes
    array = session.to_device(np.arange(1000, dtype=np.float32))
    seen = array.reshape(10, 100)
    del array
    assert session.allocated_bytes == before + 4000
    np.testing.assert_array_equal(session.to_host(seen).ravel(), np.arange(1000))
    of_library = seen.for_library(session.queue)
    del seen
    assert session.allocated_bytes == before + 4000
    np.testing.assert_array_equal(of_library.get().ravel(), np.arange(1000))
    del of_library
    assert session.allocated_bytes == before


def test_freed_buffers_give_way_where_they_exceed_the_limit(session: DeviceSession) -> None:
    pool = BufferPool(session.queue, lambda: 10_000)
    first, second = pool.allocate(4000), pool.allocate(4000)
    of_one = pool.held_bytes // 2  # with what the pool rounds up
    assert 4000 <= of_one < 4500
    del first
    assert (pool.alive_bytes, pool.held_bytes, pool.peak_bytes) == (4000, 2 * of_one, 8000)
    small = pool.allocate(10)
    assert pool.held_bytes > 2 * of_one
    other = pool.allocate(2000)
    assert of_one + 2000 < pool.held_bytes < of_one + 2500
    # what is alive may be more than the limit: the device decides
    large = pool.allocate(8000)
    assert pool.alive_bytes == pool.peak_bytes == 14_010
    pool.limit_bytes = 20_000
    del second, small, other, large
    assert pool.alive_bytes == 0
    assert pool.held_bytes > 14_010
    pool.release_unused()
    assert (pool.held_bytes, pool.peak_bytes) == (0, 14_010)
