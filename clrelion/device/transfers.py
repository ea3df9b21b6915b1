"""Copies between the host and a session's device: who waits for them, and who does not."""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy.typing as npt
import pyopencl as cl

from clrelion.device.large_copies import host_empty, read_bytes, write_bytes
from clrelion.device.memory import translated_allocation_errors

__all__ = ["Transfers"]

# Arrays up to this size are copied once more on the host, so that nobody waits for their upload.
_LARGEST_LATER_BYTES = 2**22


class Transfers:
    """Copies to and from buffers of one device, in the order of its queue.

    Parameters
    ----------
    queue
        In-order queue of the kernels.
    waits_for_uploads
        Every upload is waited for: on CPUs, whose memory it is, that costs nothing.
    """

    def __init__(self, queue: cl.CommandQueue, waits_for_uploads: bool) -> None:
        self._queue = queue
        self._waits_for_uploads = waits_for_uploads
        self._beside: cl.CommandQueue | None = None
        self._uploads: deque[cl.Event] = deque()

    def write(self, memory: cl.Buffer, start: int, host: npt.NDArray[Any]) -> None:
        """Copy a host array to byte ``start`` ... of a buffer; it may be changed afterwards.

        Raises
        ------
        DeviceMemoryError
        """
        with translated_allocation_errors("copy to the device"):
            if self._waits_for_uploads or host.nbytes > _LARGEST_LATER_BYTES:
                write_bytes(self._queue, memory, start, host)
                return
            # a copy of its own, which its event keeps alive, lets the host go on at once
            event = cl.enqueue_copy(
                self._queue, memory, host.copy(), dst_offset=start, is_blocking=False
            )
            self._uploads.append(event)
            while self._uploads and _is_complete(self._uploads[0]):
                self._uploads.popleft()

    def write_beside(self, memory: cl.Buffer, host: npt.NDArray[Any]) -> None:
        """Copy a host array to a buffer on a queue of its own; returns when done.

        For another thread than that of the kernels, which must not use the buffer meanwhile.

        Raises
        ------
        DeviceMemoryError
        """
        with translated_allocation_errors("copy to the device"):
            if self._beside is None:
                self._beside = cl.CommandQueue(self._queue.context, self._queue.device)
            write_bytes(self._beside, memory, 0, host)

    def read(self, memory: cl.Buffer, start: int, host: npt.NDArray[Any]) -> None:
        """Fill a host array from byte ``start`` ... of a buffer; waits for the queue."""
        with translated_allocation_errors("copy from the device"):
            read_bytes(self._queue, memory, start, host)

    def read_new(
        self, memory: cl.Buffer, start: int, shape: tuple[int, ...], dtype: npt.DTypeLike
    ) -> npt.NDArray[Any]:
        """Copy from byte ``start`` ... of a buffer to a new host array, as ``read``."""
        host = host_empty(shape, dtype)
        if host.nbytes:
            self.read(memory, start, host)
        return host


def _is_complete(event: cl.Event) -> bool:
    return bool(event.command_execution_status == cl.command_execution_status.COMPLETE)
