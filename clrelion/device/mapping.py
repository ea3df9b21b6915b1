"""Device arrays as host arrays; on CPUs without a copy."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

import numpy.typing as npt
import pyopencl as cl

from clrelion.device.array import Array
from clrelion.device.memory import translated_allocation_errors

if TYPE_CHECKING:
    from clrelion.device.session import DeviceSession

__all__ = ["Access", "mapped"]

Access = Literal["read", "write", "change"]

_FLAGS: dict[Access, Any] = {
    "read": cl.map_flags.READ,
    "write": cl.map_flags.WRITE_INVALIDATE_REGION,
    "change": cl.map_flags.READ | cl.map_flags.WRITE,
}


@contextmanager
def mapped(
    session: DeviceSession, array: Array, access: Access = "read"
) -> Iterator[npt.NDArray[Any]]:
    """Give a device array to the host while the block lasts.

    Parameters
    ----------
    access : str
        What the host does: ``read``, ``write`` (all elements will be overwritten), or ``change``.

    Raises
    ------
    DeviceMemoryError
    """
    flags = _FLAGS[access]
    host: Any
    with translated_allocation_errors("mapping"):
        host, _ = cl.enqueue_map_buffer(
            session.queue, array.base_data, flags, 0, array.shape, array.dtype, is_blocking=True
        )
    try:
        yield host
    finally:
        # unmapping is what hands the memory back to the device
        host.base.release(session.queue)
