"""Batched one-dimensional transforms of lines that are padded before or cropped after.

The axis-by-axis transforms of zero-padded volumes are made of these (`clrelion.device.padded_fft`):
one pass reads the given samples of each line, transforms, and writes the wanted ones, so that no
padded array exists.
"""

from __future__ import annotations

import importlib.util
import logging
import time
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pyopencl.array as cl_array
import scipy.fft

from clrelion.device.measured_times import MeasuredTimes
from clrelion.device.session import DeviceSession
from clrelion.errors import DeviceError, OptionsError
from clrelion.fourier.transforms import workers_or_default

__all__ = ["LINE_BACKENDS", "LineFFT", "Samples", "line_fft"]

logger = logging.getLogger(__name__)

LINE_BACKENDS = ("kernel", "reikna", "pyvkfft", "host")
"""Our own fused kernel; the libraries between a padding and a cropping kernel; scipy.fft."""

_RADICES = (8, 4, 2, 3, 5, 7)
_LOCAL_BYTES = 32 * 1024
"""Local memory of a work-group of the fused kernel, where a line is not longer."""

_MAX_LINES = 8
_SAMPLES_PER_ITEM = 16
_MAX_ITEMS = 256
_GROUP = 64
_CHUNK_BYTES = 2**27
_ROOM_SHARE = 1 / 16
_N_TRIAL_LINES = 1 << 14
# A library's plan takes 1-4 s to compile: below this much time of our own it cannot pay.
_WORTHWHILE_SECONDS = 2.0


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

    array: cl_array.Array
    outer: int
    step: int
    first: int
    n: int
    start: int = 0


class _Backend(Protocol):
    def transform(
        self,
        source: Samples,
        target: Samples,
        shape: tuple[int, int],
        inverse: bool,
        scale: float,
    ) -> None: ...


class LineFFT:
    """Transforms of lines of one length.

    Parameters
    ----------
    session : DeviceSession
    length : int
        N, at least 1.
    backend : str
        One of :data:`LINE_BACKENDS`.

    Attributes
    ----------
    backend : str

    Raises
    ------
    OptionsError
        Unknown backend.
    DeviceError
        The backend is not installed, or a line does not fit into the device's local memory.
    """

    def __init__(self, session: DeviceSession, length: int, backend: str = "kernel") -> None:
        self._session = session
        self.length = length
        self.backend = backend
        self._implementation = _make_backend(session, length, backend)

    def __call__(
        self,
        source: Samples,
        target: Samples,
        n_outer: int,
        n_inner: int = 1,
        *,
        inverse: bool = False,
        scale: float = 1.0,
    ) -> None:
        """Transform ``n_outer * n_inner`` lines; exponent -2 pi i (+ for inverse).

        Parameters
        ----------
        source : Samples
            Complex or, for a forward transform, real; places that are not given count as 0.
        target : Samples
            Complex or, for an inverse transform, real: then the source holds places within
            0..N/2 of Hermitian lines, and imaginary parts at 0 and N/2 do not count.
        scale : float
            Factor of the sums.

        Raises
        ------
        TypeError
            Arrays of another precision.
        ValueError
            More samples than places in the source, or places out of range.
        """
        real, kind = np.dtype(self._session.real), np.dtype(self._session.complex)
        for side, sign in ((source, True), (target, False)):
            if side.array.dtype != kind and (side.array.dtype != real or inverse == sign):
                raise TypeError(
                    f"LineFFT: {side.array.dtype} {'input' if sign else 'output'} for a"
                    f" transform in {self._session.precision} precision"
                )
            if not -self.length <= side.first < self.length or side.first + side.n > (
                2 * self.length
            ):
                raise ValueError(f"LineFFT: places from {side.first} in lines of {self.length}")
        if source.n > self.length:
            raise ValueError(f"LineFFT: {source.n} samples given for lines of {self.length}")
        if n_outer * n_inner * target.n:
            self._implementation.transform(source, target, (n_outer, n_inner), inverse, scale)


def line_fft(session: DeviceSession, length: int, n_lines_expected: float = 0.0) -> LineFFT:
    """Give the fastest transform of a length on a device, measured once and remembered.

    Parameters
    ----------
    n_lines_expected : float
        How many lines the run will transform in all; the libraries are compiled and tried only
        where our own kernel would need more than two seconds for them, and never in a
        deterministic session.
    """
    key = ("line_fft", length)
    known: LineFFT | None = session.plans.get(key)
    if known is not None:
        return known
    own = "host" if length > longest_line(session) else "kernel"
    best = LineFFT(session, length, own)
    if n_lines_expected > 0 and not session.is_cpu and not session.deterministic:
        times = MeasuredTimes(session, f"{_N_TRIAL_LINES} lines of {length}")
        best_seconds = _seconds_of(best, times)
        if best_seconds / _N_TRIAL_LINES * n_lines_expected > _WORTHWHILE_SECONDS:
            for name in _installed_libraries():
                try:
                    candidate = LineFFT(session, length, name)
                    seconds = _seconds_of(candidate, times)
                except Exception as error:  # a library that fails on this device is not chosen
                    logger.warning("transforms by %s do not work here (%s); not used", name, error)
                    continue
                if seconds < best_seconds:
                    best, best_seconds = candidate, seconds
    session.plans[key] = best
    return best


def longest_line(session: DeviceSession) -> int:
    """Give the length of the longest line that fits into the device's local memory."""
    return int(session.device.local_mem_size) // np.dtype(session.complex).itemsize


def _installed_libraries() -> list[str]:
    return [n for n in ("reikna", "pyvkfft") if importlib.util.find_spec(n) is not None]


def _seconds_of(transform: LineFFT, times: MeasuredTimes) -> float:
    seconds = times.get(transform.backend)
    if seconds is None:
        seconds = _trial_seconds(transform)
        times.put(transform.backend, seconds)
        logger.info(
            "volume transforms of %d px by %s: %.3g ms for %d lines",
            transform.length, transform.backend, 1e3 * seconds, _N_TRIAL_LINES,
        )  # fmt: skip
    return seconds


def _trial_seconds(transform: LineFFT) -> float:
    """Time the fastest of three transforms of strided lines."""
    session, length = transform._session, transform.length
    n_inner = 128
    n_outer = _N_TRIAL_LINES // n_inner
    array = session.zeros((n_outer, length, n_inner), session.complex)
    samples = Samples(array, length * n_inner, n_inner, 0, length)
    seconds = float("inf")
    for _ in range(3):  # the first one warms up
        session.finish()
        start = time.perf_counter()
        transform(samples, samples, n_outer, n_inner)
        session.finish()
        seconds = min(seconds, time.perf_counter() - start)
    return seconds


def _make_backend(session: DeviceSession, length: int, name: str) -> _Backend:
    if name == "kernel":
        return _OwnKernel(session, length)
    if name == "host":
        return _HostLines(session, length)
    if name not in LINE_BACKENDS:
        raise OptionsError(f"transform library '{name}': choose one of {', '.join(LINE_BACKENDS)}")
    try:
        return (_ReiknaLines if name == "reikna" else _VkfftLines)(session, length)
    except ImportError as error:
        raise DeviceError(f"transform library {name} is not installed ({error})") from error


def _passes(length: int) -> tuple[tuple[int, int], ...]:
    """Radices of the passes of a transform with the product of the radices before each."""
    passes, done, rest = [], 1, length
    for radix in _RADICES:
        while rest % radix == 0:
            passes.append((radix, done))
            done, rest = done * radix, rest // radix
    prime = 11
    while rest > 1:
        while rest % prime == 0:
            passes.append((prime, done))
            done, rest = done * prime, rest // prime
        prime += 2
    return tuple(passes)


class _OwnKernel:
    """One fused kernel: read, transform in local memory, write."""

    def __init__(self, session: DeviceSession, length: int) -> None:
        line_bytes = length * np.dtype(session.complex).itemsize
        if length > longest_line(session):
            raise DeviceError(
                f"device {session.info.label}: a line of {length} samples exceeds its local memory"
            )
        self._session = session
        self._length = length
        local_bytes = min(_LOCAL_BYTES, int(session.device.local_mem_size))
        self._lines = max(1, min(_MAX_LINES, local_bytes // line_bytes))
        wanted = max(1, length * self._lines // _SAMPLES_PER_ITEM)
        limit = min(_MAX_ITEMS, int(session.device.max_work_group_size))
        self._items = min(limit, 1 << (wanted - 1).bit_length())
        self._roots = session.to_device(
            np.exp(-2j * np.pi * np.arange(length) / length), session.complex
        )

    def transform(
        self,
        source: Samples,
        target: Samples,
        shape: tuple[int, int],
        inverse: bool,
        scale: float,
    ) -> None:
        n_outer, n_inner = shape
        kernel = self._session.kernel(
            "device/line_fft",
            length=self._length,
            passes=_passes(self._length),
            lines=self._lines,
            items=self._items,
            adjacent=n_inner > 1,
            inverse=inverse,
            real_input=source.array.dtype.kind == "f",
            real_output=target.array.dtype.kind == "f",
        )
        n_lines = n_outer * n_inner
        n_groups = -(-n_lines // self._lines)
        kernel(
            (n_groups * self._items,), (self._items,),
            source.array, source.start, source.outer, source.step, source.first, source.n,
            target.array, target.start, target.outer, target.step, target.first, target.n,
            n_inner, n_lines, scale, self._roots,
        )  # fmt: skip


class _WholeLines:
    """Chunks of lines padded to whole, contiguous ones, transformed in place, and cropped."""

    def __init__(self, session: DeviceSession, length: int) -> None:
        self._session = session
        self._length = length
        line_bytes = length * np.dtype(session.complex).itemsize
        chunk_bytes = min(_CHUNK_BYTES, int(_ROOM_SHARE * session.room_bytes))
        self._chunk = max(1, min(_N_TRIAL_LINES, chunk_bytes // line_bytes))
        # zeros: what a plan reads beyond the last line of a chunk must be a number
        self._work = session.zeros((self._chunk, length), session.complex)

    def _apply(self, inverse: bool) -> float:
        """Transform the lines; give the factor that the library divided its sums by."""
        raise NotImplementedError

    def transform(
        self,
        source: Samples,
        target: Samples,
        shape: tuple[int, int],
        inverse: bool,
        scale: float,
    ) -> None:
        n_outer, n_inner = shape
        session, length, n_lines = self._session, self._length, n_outer * n_inner
        is_real = target.array.dtype.kind == "f"
        pad = session.kernel(
            "device/pad_lines", real_input=source.array.dtype.kind == "f", real_output=is_real
        )
        crop = session.kernel("device/crop_lines", real_output=is_real)
        for first in range(0, n_lines, self._chunk):
            count = min(self._chunk, n_lines - first)
            pad(
                (_rounded(count * length),), (_GROUP,),
                source.array, source.start, source.outer, source.step, source.first, source.n,
                n_inner, first, count, length, self._work,
            )  # fmt: skip
            divided = self._apply(inverse)
            crop(
                (_rounded(count * target.n),), (_GROUP,),
                self._work, target.array, target.start, target.outer, target.step, target.first,
                target.n, n_inner, first, count, length, scale * divided,
            )  # fmt: skip


def _rounded(n: int) -> int:
    return -(-n // _GROUP) * _GROUP


class _ReiknaLines(_WholeLines):
    """reikna's transform; its inverse divides by N."""

    def __init__(self, session: DeviceSession, length: int) -> None:
        from reikna.cluda import ocl_api
        from reikna.fft import FFT

        super().__init__(session, length)
        thread = ocl_api().Thread(session.queue)
        self._plan = FFT(self._work, axes=(1,)).compile(thread)

    def _apply(self, inverse: bool) -> float:
        self._plan(self._work, self._work, int(inverse))
        return float(self._length) if inverse else 1.0


class _VkfftLines(_WholeLines):
    """VkFFT's transform by pyvkfft."""

    def __init__(self, session: DeviceSession, length: int) -> None:
        from pyvkfft.opencl import VkFFTApp

        super().__init__(session, length)
        self._plan = VkFFTApp(
            self._work.shape, self._work.dtype, session.queue, ndim=1, inplace=True, norm=0
        )

    def _apply(self, inverse: bool) -> float:
        if inverse:
            self._plan.ifft(self._work)
        else:
            self._plan.fft(self._work)
        return 1.0


class _HostLines(_WholeLines):
    """scipy.fft: for lines that no kernel can hold."""

    def _apply(self, inverse: bool) -> float:
        host = self._session.to_host(self._work)
        workers = workers_or_default()
        if inverse:
            result = scipy.fft.ifft(host, axis=1, norm="forward", workers=workers)
        else:
            result = scipy.fft.fft(host, axis=1, workers=workers)
        self._session.copy_to_device(np.ascontiguousarray(result), self._work)
        return 1.0
