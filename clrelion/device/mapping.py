"""Device arrays as host arrays; on CPUs without a copy."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy.typing as npt
import pyopencl as cl
import pyopencl.array as cl_array

from clrelion.device.memory import translated_allocation_errors

if TYPE_CHECKING:
    from clrelion.device.session import DeviceSession

__all__ = ["mapped"]


@contextmanager
def mapped(
    session: DeviceSession, array: cl_array.Array, writes: bool = False
) -> Iterator[npt.NDArray[Any]]:
    """Give a device array to the host while the block lasts.

    Parameters
    ----------
    writes : bool
        All elements will be overwritten.

    Raises
    ------
    DeviceMemoryError
    """
    flags = cl.map_flags.WRITE_INVALIDATE_REGION if writes else cl.map_flags.READ
    memory: Any = array.base_data
    host: Any
    with translated_allocation_errors("mapping"):
        host, _ = cl.enqueue_map_buffer(
            session.queue, memory, flags, array.offset, array.shape, array.dtype, is_blocking=True
        )
    try:
        yield host
    finally:
        # unmapping is what hands the memory back to the device
        host.base.release(session.queue)
