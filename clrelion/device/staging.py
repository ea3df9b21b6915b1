"""Host memory that copies to a device start from: used again and again, so its pages are there."""

from __future__ import annotations

import mmap
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Staging"]


class Staging:
    """Buffers of one size; as many as are in use at a time.

    Parameters
    ----------
    prepare
        Is given each new buffer; what it returns is kept for as long as the buffer.
    n_bytes
        Of a buffer.
    """

    def __init__(self, prepare: Callable[[Any], object], n_bytes: int) -> None:
        self.n_bytes = n_bytes
        self._prepare = prepare
        self._kept: list[object] = []
        self._free: list[NDArray[np.uint8]] = []
        self._lock = threading.Lock()

    def provide(self, n_buffers: int) -> None:
        """Make buffers beforehand: some devices are ready for that only in between their work."""
        with self._lock:
            for _ in range(n_buffers - len(self._kept)):
                self._free.append(self._made())

    @contextmanager
    def buffer(self) -> Iterator[NDArray[np.uint8]]:
        """Lend a buffer, uint8, to one thread."""
        with self._lock:
            lent = self._free.pop() if self._free else self._made()
        try:
            yield lent
        finally:
            with self._lock:
                self._free.append(lent)

    def _made(self) -> NDArray[np.uint8]:
        # begins with a page
        memory = mmap.mmap(-1, self.n_bytes)
        buffer = np.frombuffer(memory, dtype=np.uint8)
        buffer.fill(0)
        self._kept.append(self._prepare(memory))
        return buffer
