"""Copies between device and host in pieces, and host memory that is ready for them.

Drivers fail at single operations on many gigabytes (`fill_zero` of a session has met one), and a
copy into new memory mostly waits for its pages: one thread gets some 2 GB/s of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyopencl as cl

from clrelion.device.memory import translated_allocation_errors
from clrelion.fourier.transforms import workers_or_default

if TYPE_CHECKING:
    from clrelion.device.array import Array
    from clrelion.device.session import DeviceSession

__all__ = ["copy_on_device", "host_empty", "read_bytes", "start_reading", "write_bytes"]

_PIECE_BYTES = 2**30
_PAGE_BYTES = 4096
_WORTH_THREADS_BYTES = 2**24


def host_empty(shape: int | tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """Allocate a host array whose pages are there already; content undefined."""
    array = np.empty(shape, dtype=dtype)
    if array.nbytes >= _WORTH_THREADS_BYTES:
        pages = _bytes_of(array)[::_PAGE_BYTES]
        n_threads = workers_or_default()
        with ThreadPoolExecutor(n_threads) as pool:
            list(pool.map(lambda part: part.fill(0), np.array_split(pages, n_threads)))
    return array


def write_bytes(
    queue: cl.CommandQueue, memory: cl.Buffer, start: int, host: npt.NDArray[Any]
) -> None:
    """Copy a host array (C order) into a buffer from byte ``start`` on; returns when done."""
    source = _bytes_of(host)
    for first, last in _pieces(len(source)):
        cl.enqueue_copy(
            queue, memory, source[first:last], dst_offset=start + first, is_blocking=True
        )


def read_bytes(
    queue: cl.CommandQueue, memory: cl.Buffer, start: int, host: npt.NDArray[Any]
) -> None:
    """Fill a host array (C order) from a buffer from byte ``start`` on; returns when done."""
    target = _bytes_of(host)
    for first, last in _pieces(len(target)):
        cl.enqueue_copy(
            queue, target[first:last], memory, src_offset=start + first, is_blocking=True
        )


def start_reading(
    session: DeviceSession, array: Array, host: npt.NDArray[Any]
) -> Callable[[], None]:
    """Begin to fill a host array from a device array of the same type and size, both C order.

    Returns
    -------
    callable
        Waits for it. Where the host does not work ahead it is done at once.

    Raises
    ------
    DeviceMemoryError
    """
    if not session.works_ahead:
        session.read_rows(array, 0, host)
        return lambda: None
    target = _bytes_of(host)
    with translated_allocation_errors("copy from the device"):
        events = [
            cl.enqueue_copy(
                session.queue, target[first:last], array.base_data, src_offset=first,
                is_blocking=False,
            )
            for first, last in _pieces(len(target))
        ]  # fmt: skip
        session.queue.flush()

    def wait(_until_then: Array = array) -> None:
        with translated_allocation_errors("copy from the device"):
            for event in events:
                event.wait()

    return wait


def copy_on_device(
    queue: cl.CommandQueue, target: cl.Buffer, source: cl.Buffer, source_start: int, n_bytes: int
) -> None:
    """Copy bytes from ``source_start`` on of one buffer to the beginning of another one."""
    for first, last in _pieces(n_bytes):
        cl.enqueue_copy(
            queue,
            target,
            source,
            byte_count=last - first,
            src_offset=source_start + first,
            dst_offset=first,
        )


def _pieces(n_bytes: int) -> Iterator[tuple[int, int]]:
    for first in range(0, n_bytes, _PIECE_BYTES):
        yield first, min(first + _PIECE_BYTES, n_bytes)


def _bytes_of(array: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    if not array.flags.c_contiguous:
        raise TypeError("copies between host and device need C-contiguous arrays")
    return array.reshape(-1).view(np.uint8)
