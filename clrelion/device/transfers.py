"""Copies between the host and a session's device: who waits for them, and who does not."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy.typing as npt
import pyopencl as cl

from clrelion.device.large_copies import host_empty, read_bytes, write_bytes
from clrelion.device.memory import translated_allocation_errors

__all__ = ["PendingRead", "Transfers"]

# Arrays up to this size are copied once more on the host, so that nobody waits for their upload.
_LARGEST_LATER_BYTES = 2**22
_MANY_UPLOADS = 64
_COMPLETE = cl.command_execution_status.COMPLETE

_Part = tuple[cl.Buffer, int, tuple[int, ...], npt.DTypeLike]
"""Buffer, first byte, and shape and type of an array in it."""


class PendingRead:
    """Arrays on their way to the host; any thread may ask for them.

    The copies are made when they are asked for, on a queue of their own: what the device has been
    given to do meanwhile is not waited for.

    Parameters
    ----------
    queue
        For the copies.
    ready
        Event after which the arrays do not change any more; None: they are read now.
    parts
        Where they are.  The buffers are held until they have been read.
    """

    def __init__(
        self, queue: cl.CommandQueue, ready: cl.Event | None, parts: Sequence[_Part]
    ) -> None:
        self._queue = queue
        self._ready = ready
        self._parts = list(parts)
        self._found: list[npt.NDArray[Any]] | None = None
        self._lock = threading.Lock()
        if ready is None:
            self.result()

    def result(self) -> list[npt.NDArray[Any]]:
        """Wait for the arrays; give them in their order.

        Raises
        ------
        DeviceMemoryError
        """
        with self._lock:
            if self._found is None:
                with translated_allocation_errors("copy from the device"):
                    if self._ready is not None:
                        # not a condition of the copy: it would keep others on its queue waiting
                        self._ready.wait()
                    self._found = [self._read(*part) for part in self._parts]
                self._parts.clear()
                self._ready = None
            return self._found

    def _read(
        self, memory: cl.Buffer, start: int, shape: tuple[int, ...], dtype: npt.DTypeLike
    ) -> npt.NDArray[Any]:
        host = host_empty(shape, dtype)
        if host.nbytes:
            read_bytes(self._queue, memory, start, host)
        return host


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
        self._lock = threading.Lock()
        self._reads: cl.CommandQueue | None = None
        self._uploads: deque[tuple[cl.Event, int]] = deque()
        self._kept_bytes = 0

    def write(
        self,
        memory: cl.Buffer,
        start: int,
        host: npt.NDArray[Any],
        is_own: bool = False,
        lasts: bool = False,
    ) -> None:
        """Copy a host array to byte ``start`` ... of a buffer; it may be changed afterwards.

        Parameters
        ----------
        is_own
            But will not be.
        lasts
            Nor will it, and it may be kept whatever its size.

        Raises
        ------
        DeviceMemoryError
        """
        with translated_allocation_errors("copy to the device"):
            if self._waits_for_uploads or (host.nbytes > _LARGEST_LATER_BYTES and not lasts):
                write_bytes(self._queue, memory, start, host)
                return
            # a copy of its own, which its event keeps alive, lets the host go on at once
            kept = host if is_own or lasts else host.copy()
            event = cl.enqueue_copy(self._queue, memory, kept, dst_offset=start, is_blocking=False)
            self._uploads.append((event, kept.nbytes))
            self._kept_bytes += kept.nbytes
            if len(self._uploads) >= _MANY_UPLOADS or self._kept_bytes > _LARGEST_LATER_BYTES:
                self._forget_done()

    def _forget_done(self) -> None:
        """Give up the older half of the copies if it has arrived; to ask for each takes time."""
        uploads = self._uploads
        n = (len(uploads) + 1) // 2
        # they arrive in their order
        if uploads[n - 1][0].command_execution_status == _COMPLETE:
            for _ in range(n):
                self._kept_bytes -= uploads.popleft()[1]

    def write_beside(self, memory: cl.Buffer, start: int, host: npt.NDArray[Any]) -> None:
        """Copy a host array to byte ``start`` ... of a buffer on another queue; returns when done.

        For other threads than that of the kernels, which must not use these bytes meanwhile.

        Raises
        ------
        DeviceMemoryError
        """
        with translated_allocation_errors("copy to the device"):
            with self._lock:
                if self._beside is None:
                    self._beside = cl.CommandQueue(self._queue.context, self._queue.device)
            write_bytes(self._beside, memory, start, host)

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

    def read_later(self, parts: Sequence[_Part], works_ahead: bool) -> PendingRead:
        """Read arrays once all that has been enqueued so far is done, or now."""
        if not works_ahead:
            return PendingRead(self._queue, None, parts)
        with translated_allocation_errors("queue"):
            if self._reads is None:
                self._reads = cl.CommandQueue(self._queue.context, self._queue.device)
            ready = cl.enqueue_marker(self._queue)
            # whoever waits for it does not flush this queue
            self._queue.flush()
        return PendingRead(self._reads, ready, parts)
