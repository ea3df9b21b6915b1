"""Host memory that a driver knows, so that copies to and from it go at the speed of the bus."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pyopencl as cl

if TYPE_CHECKING:
    from clrelion.device.session import DeviceSession

__all__ = ["pinned"]

_LARGEST_BYTES = 2**30
"""Memory that is pinned cannot be swapped out, and a driver may keep a copy of it."""


def pinned(session: DeviceSession, memory: Any) -> object:
    """Make host memory known to the driver of a GPU for as long as the result is kept.

    Parameters
    ----------
    memory
        Writable buffer; its content is left alone.

    Returns
    -------
    object
        None where that cannot be had; copies work all the same, more slowly.
    """
    n_bytes = memoryview(memory).nbytes
    if session.is_cpu or not 0 < n_bytes <= _LARGEST_BYTES:
        return None
    with contextlib.suppress(cl.Error):
        flags = cl.mem_flags.READ_WRITE | cl.mem_flags.USE_HOST_PTR
        buffer = cl.Buffer(session.context, flags, hostbuf=memory)
        # a pointer that is mapped is what drivers recognise; nothing is copied back for this flag
        whole, kind = (n_bytes,), np.dtype(np.uint8)
        flag = cl.map_flags.WRITE_INVALIDATE_REGION
        host: Any
        host, _ = cl.enqueue_map_buffer(session.queue, buffer, flag, 0, whole, kind)
        session.finish()
        return buffer, host
    return None
