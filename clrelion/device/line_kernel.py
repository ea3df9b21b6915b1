"""Our own kernel for lines that are padded before or cropped after, and its plan."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from clrelion.device.array import Array
from clrelion.device.session import DeviceSession
from clrelion.errors import DeviceError

__all__ = ["KernelLines", "Samples", "longest_line"]

_LARGEST_RADIX = 16
"""Of a transform in registers."""

_LOCAL_BYTES = 32 * 1024
"""Local memory of a work-group, where a line is not longer."""

_MAX_LINES = 8
_SAMPLES_PER_ITEM = 24
"""At most, where the device's work-groups are large enough."""

_MAX_ITEMS = 256
_WARP = 32


@dataclass(frozen=True)
class Samples:
    """Where the samples of all lines lie in one array, and at which places of a line.

    Sample s of line ``o * n_inner + i`` is element ``start + o * outer + s * step + i`` and has
    the place (first + s) mod N.

    Attributes
    ----------
    array
        Device array, complex or real; C-contiguous.
    outer, step
        Elements between lines of different o, and between samples.
    first, n
        Place of the first sample, -N <= first < N, and number of samples.
    start
        Element of the first sample of the first line.
    """

    array: Array
    outer: int
    step: int
    first: int
    n: int
    start: int = 0


def longest_line(session: DeviceSession) -> int:
    """Give the length of the longest line that fits into the device's local memory."""
    return int(session.device.local_mem_size) // np.dtype(session.complex).itemsize * 16 // 17


def passes_of(length: int) -> tuple[tuple[int, int], ...]:
    """Radices of the passes of a transform with the product of the radices before each.

    As few passes as there can be, with the smallest radices; larger prime factors come second.
    """
    large, rest, prime = [], length, 2
    smooth = 1
    while rest > 1:
        while rest % prime == 0:
            rest //= prime
            if prime > _LARGEST_RADIX:
                large.append(prime)
            else:
                smooth *= prime
        prime += 1
    small = _small_radices(smooth)
    passes, done = [], 1
    for radix in (*small[:1], *large, *small[1:]):
        passes.append((radix, done))
        done *= radix
    return tuple(passes)


@cache
def _small_radices(length: int) -> tuple[int, ...]:
    """Fewest factors of at most 16, of these those with the least sum."""
    choices = [
        (radix, *_small_radices(length // radix))
        for radix in range(2, _LARGEST_RADIX + 1)
        if length % radix == 0
    ]
    return min(choices, key=lambda factors: (len(factors), sum(factors)), default=())


def _roots_of(length: int, passes: tuple[tuple[int, int], ...]) -> NDArray[np.complex128]:
    """Roots of unity, then the factors of each pass but the first, in the order of their use."""
    tables = [np.arange(length) / length]
    for radix, before in passes[1:]:
        tables.append(np.outer(np.arange(1, radix), np.arange(before)).ravel() / (radix * before))
    roots: NDArray[np.complex128] = np.exp(-2j * np.pi * np.concatenate(tables))
    return roots


def _items_of(passes: tuple[tuple[int, int], ...], samples: int, most: int) -> int:
    """Work-items of a group of ``samples``: as few idle ones as possible, enough registers."""
    best, best_cost = most, float("inf")
    for items in range(min(_WARP, most), most + 1, _WARP):
        work = [
            -(-samples // radix // items) * radix
            for radix, _ in passes
            if radix <= _LARGEST_RADIX
        ]
        if max(work, default=0) <= _SAMPLES_PER_ITEM and sum(work) * items <= best_cost:
            best, best_cost = items, sum(work) * items
    return best


class KernelLines:
    """One fused kernel: read, transform, write."""

    def __init__(self, session: DeviceSession, length: int) -> None:
        line_bytes = length * np.dtype(session.complex).itemsize
        if length > longest_line(session):
            raise DeviceError(
                f"device {session.info.label}: a line of {length} samples exceeds its local memory"
            )
        self._session = session
        self._length = length
        self._passes = passes_of(length)
        local_bytes = min(_LOCAL_BYTES, int(session.device.local_mem_size) * 16 // 17)
        self._lines = max(1, min(_MAX_LINES, local_bytes // line_bytes))
        most = min(_MAX_ITEMS, int(session.device.max_work_group_size))
        self._items = _items_of(self._passes, length * self._lines, most)
        self._roots = session.to_device(_roots_of(length, self._passes), session.complex)

    def transform(
        self,
        source: Samples,
        target: Samples,
        shape: tuple[int, int],
        inverse: bool,
        scale: float,
    ) -> None:
        """Transform lines as `clrelion.device.line_fft.LineFFT` does; shape (n_outer, n_inner)."""
        n_outer, n_inner = shape
        real_input, real_output = (x.array.dtype.kind == "f" for x in (source, target))
        kernel = self._session.kernel(
            "device/line_fft",
            length=self._length,
            passes=self._passes,
            lines=self._lines,
            items=self._items,
            adjacent=n_inner > 1,
            inverse=inverse,
            real_input=real_input,
            real_output=real_output,
        )
        n_lines = n_outer * n_inner
        n_together = 2 * self._lines if real_input or real_output else self._lines
        n_groups = -(-n_lines // n_together)
        kernel(
            (n_groups * self._items,), (self._items,),
            source.array, source.start, source.outer, source.step, source.first, source.n,
            target.array, target.start, target.outer, target.step, target.first, target.n,
            n_inner, n_lines, scale, self._roots,
        )  # fmt: skip
