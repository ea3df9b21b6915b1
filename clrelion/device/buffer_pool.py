"""Buffers of one device: freed ones are kept for reuse as long as there is room for them."""

from __future__ import annotations

from collections.abc import Callable

import pyopencl as cl
import pyopencl.tools as cl_tools

__all__ = ["BufferPool"]


class BufferPool:
    """What a session has of a device's memory.

    Parameters
    ----------
    queue
        Queue of the device.
    measure_limit
        Gives the bytes that may be held; asked once, where ``limit_bytes`` has not been set before.

    Attributes
    ----------
    peak_bytes : int
        Most bytes of buffers alive at a time so far.
    limit_bytes : int
        Bytes that may be held.
    """

    def __init__(self, queue: cl.CommandQueue, measure_limit: Callable[[], int]) -> None:
        # Immediate allocation: a missing byte shows here and not at some later launch.
        self._pool = cl_tools.MemoryPool(cl_tools.ImmediateAllocator(queue))
        self._measure_limit = measure_limit
        self._limit: int | None = None
        self.peak_bytes = 0

    @property
    def limit_bytes(self) -> int:  # noqa: D102
        if self._limit is None:
            self._limit = self._measure_limit()
        return self._limit

    @limit_bytes.setter
    def limit_bytes(self, limit: int) -> None:
        self._limit = limit

    @property
    def alive_bytes(self) -> int:
        """Bytes of the buffers now alive."""
        return self._pool.active_bytes

    @property
    def held_bytes(self) -> int:
        """Bytes taken from the device: buffers alive and freed blocks kept for reuse."""
        return self._pool.managed_bytes

    def allocate(self, n_bytes: int) -> cl.MemoryObjectHolder:
        """Give a buffer of at least one byte; content undefined.

        The pool never shrinks by itself, and blocks of sizes that are not asked for again add up:
        they go back to the driver where keeping them would exceed the limit.

        Raises
        ------
        pyopencl.Error
            There is no such memory.
        """
        pool = self._pool
        limit = self._limit
        if limit is None:
            limit = self.limit_bytes
        held = pool.managed_bytes
        if held + n_bytes > limit and held > pool.active_bytes:
            pool.free_held()
        buffer = pool.allocate(n_bytes)
        alive = pool.active_bytes
        if alive > self.peak_bytes:
            self.peak_bytes = alive
        return buffer

    def release_unused(self) -> None:
        """Give freed blocks back to the driver."""
        self._pool.free_held()
