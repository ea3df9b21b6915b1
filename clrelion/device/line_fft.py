"""Batched one-dimensional transforms of lines that are padded before or cropped after.

The axis-by-axis transforms of zero-padded volumes are made of these (`clrelion.device.padded_fft`):
one pass reads the given samples of each line, transforms, and writes the wanted ones, so that no
padded array exists.
"""

from __future__ import annotations

import importlib.util
import logging
import time
from typing import Protocol

import numpy as np

from clrelion.device.line_kernel import KernelLines, Samples, longest_line
from clrelion.device.line_libraries import HostLines, ReiknaLines, VkfftLines
from clrelion.device.measured_times import MeasuredTimes
from clrelion.device.session import DeviceSession
from clrelion.errors import DeviceError, OptionsError

__all__ = ["LINE_BACKENDS", "LineFFT", "line_fft"]

logger = logging.getLogger(__name__)

LINE_BACKENDS = ("kernel", "reikna", "pyvkfft", "host")
"""Our own fused kernel; the libraries between a padding and a cropping kernel; scipy.fft."""

_N_TRIAL_LINES = 1 << 14
# A library's plan takes 1-4 s to compile: below this much time of our own it cannot pay.
_WORTHWHILE_SECONDS = 2.0


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
            More samples than places in the source, or than twice as many in the target, or places
            out of range.
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
        if source.n > self.length or target.n > 2 * self.length:
            raise ValueError(
                f"LineFFT: {source.n} samples given and {target.n} wanted of lines of {self.length}"
            )
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
    known: LineFFT | None = session.kept.get(key)
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
    session.kept[key] = best
    return best


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
        return KernelLines(session, length)
    if name == "host":
        return HostLines(session, length)
    if name not in LINE_BACKENDS:
        raise OptionsError(f"transform library '{name}': choose one of {', '.join(LINE_BACKENDS)}")
    try:
        return (ReiknaLines if name == "reikna" else VkfftLines)(session, length)
    except ImportError as error:
        raise DeviceError(f"transform library {name} is not installed ({error})") from error
