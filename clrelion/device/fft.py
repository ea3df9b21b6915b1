"""Batched two-dimensional real transforms on a device, by whichever library is fastest there."""

from __future__ import annotations

import importlib.util
import logging
import time
from typing import Protocol

import numpy as np
import pyopencl as cl
import scipy.fft

from clrelion.device.array import Array
from clrelion.device.line_fft import LineFFT
from clrelion.device.line_kernel import Samples, longest_line
from clrelion.device.mapping import mapped
from clrelion.device.measured_times import MeasuredTimes
from clrelion.device.session import DeviceSession
from clrelion.errors import DeviceError, OptionsError
from clrelion.fourier.transforms import workers_or_default

logger = logging.getLogger(__name__)

BACKENDS = ("host", "kernel", "reikna", "pyvkfft")
"""scipy.fft; our own kernel, two passes of lines; the libraries for devices."""

_GROUP = 64
_CHUNK_BYTES = 2**26
_MAX_CHUNK = 256
_N_TRIAL_IMAGES = 32
# Plans of the device libraries take 1-4 s to compile: below this much host time they cannot pay.
_WORTHWHILE_SECONDS = 2.0

_ROOM_SHARE = 1 / 16
"""Part of what the memory limit leaves that a library may take for its chunks."""


class _Backend(Protocol):
    """One way to transform ``images`` into ``output``, scaled by 1 / box^2."""

    def transform(self, images: Array, output: Array) -> None: ...


class BatchFFT2D:
    """Forward transforms of a batch of square real images.

    Parameters
    ----------
    session : DeviceSession
    box : int
        Even image size in pixels.
    backend : str
        One of :data:`BACKENDS`, or ``auto``: the fastest, measured once for each device,
        precision and box and remembered in the user's cache folder; in a deterministic session
        nothing is measured.
    n_images_expected : int, optional
        How many images will be transformed in all; with ``auto``, the device libraries are not
        even compiled where the host needs under two seconds for them.

    Attributes
    ----------
    backend : str
        The one in use.

    Raises
    ------
    OptionsError
        Odd box or unknown backend.
    DeviceError
        The backend named is not installed or does not work on this device.
    """

    def __init__(
        self,
        session: DeviceSession,
        box: int,
        *,
        backend: str = "auto",
        n_images_expected: int | None = None,
    ) -> None:
        if box < 2 or box % 2:
            raise OptionsError(f"image size {box} px: it must be even")
        self._session = session
        self._box = box
        if backend == "auto":
            backend = _fastest_backend(session, box, n_images_expected)
        self.backend = backend
        self._implementation = _backend(backend, session, box)

    def __call__(
        self, images_d: Array, output: Array | None = None
    ) -> Array:
        """Transform a batch.

        Parameters
        ----------
        images_d : Array
            real, (n, box, box); real space, rows y, columns x; C-contiguous.
        output : Array, optional
            complex, (n, box, box // 2 + 1), to write into.

        Returns
        -------
        Array
            complex, (n, box, box // 2 + 1); half transform, ky in FFTW order, origin of space at
            pixel (0, 0), divided by box^2.

        Raises
        ------
        TypeError
            Wrong shape or dtype.
        DeviceMemoryError
        """
        box, session = self._box, self._session
        n = images_d.shape[0]
        if images_d.shape != (n, box, box) or images_d.dtype != session.real:
            raise TypeError(
                f"BatchFFT2D needs {session.real.__name__} images of ({box}, {box}), "
                f"not {images_d.dtype} {images_d.shape}"
            )
        shape = (n, box, box // 2 + 1)
        if output is None:
            output = session.empty(shape, session.complex)
        elif output.shape != shape or output.dtype != session.complex:
            raise TypeError(
                f"BatchFFT2D writes {session.complex.__name__} {shape}, "
                f"not {output.dtype} {output.shape}"
            )
        if n:
            self._implementation.transform(images_d, output)
        return output


def available_backends(session: DeviceSession) -> list[str]:
    """Backends worth trying on a device: reikna is 8 to 95 times slower than SciPy on CPUs."""
    names = ["host"]
    if not session.is_cpu:
        names.append("kernel")
        if importlib.util.find_spec("reikna") is not None:
            names.append("reikna")
    if importlib.util.find_spec("pyvkfft") is not None:
        names.append("pyvkfft")
    return names


def _fixed_backend(session: DeviceSession, box: int) -> str:
    """Choose without measuring: our own kernel on graphics cards, where a line fits into it."""
    return "host" if session.is_cpu or box > longest_line(session) else "kernel"


def _fastest_backend(session: DeviceSession, box: int, n_images_expected: int | None) -> str:
    if session.deterministic:
        return _fixed_backend(session, box)
    times = MeasuredTimes(session, f"{_N_TRIAL_IMAGES} images of {box} px")

    def seconds_of(name: str) -> float:
        seconds = times.get(name)
        if seconds is None:
            seconds = _trial_seconds(name, session, box)
            times.put(name, seconds)
            logger.info(
                "image transforms of %d px by %s: %.3g ms for %d images",
                box, name, 1e3 * seconds, _N_TRIAL_IMAGES,
            )  # fmt: skip
        return seconds

    best, best_seconds = "host", seconds_of("host")
    n_images = float("inf") if n_images_expected is None else n_images_expected
    if best_seconds / _N_TRIAL_IMAGES * n_images > _WORTHWHILE_SECONDS:
        for name in available_backends(session)[1:]:
            try:
                seconds = seconds_of(name)
            except Exception as error:  # a library that fails on this device is not chosen
                logger.warning("transforms by %s do not work here (%s); not used", name, error)
                continue
            if seconds < best_seconds:
                best, best_seconds = name, seconds
    return best


def _trial_seconds(name: str, session: DeviceSession, box: int) -> float:
    implementation = _backend(name, session, box)
    images = session.zeros((_N_TRIAL_IMAGES, box, box), session.real)
    output = session.empty((_N_TRIAL_IMAGES, box, box // 2 + 1), session.complex)
    seconds = float("inf")
    for _ in range(3):  # the first one warms up
        session.finish()
        start = time.perf_counter()
        implementation.transform(images, output)
        session.finish()
        seconds = min(seconds, time.perf_counter() - start)
    return seconds


def _backend(name: str, session: DeviceSession, box: int) -> _Backend:
    """Backend of a session, made once: planning anew for each iteration takes reikna 40 ms."""
    key = ("fft2d", name, box)
    if key not in session.kept:
        session.kept[key] = _make_backend(name, session, box)
    backend: _Backend = session.kept[key]
    return backend


def _make_backend(name: str, session: DeviceSession, box: int) -> _Backend:
    if name == "host":
        return _HostBackend(session, box)
    if name not in BACKENDS:
        raise OptionsError(f"transform library '{name}': choose one of {', '.join(BACKENDS)}")
    try:
        if name == "kernel":
            return _KernelBackend(session, box)
        if name == "reikna":
            return _ReiknaBackend(session, box)
        return _VkfftBackend(session, box)
    except ImportError as error:
        raise DeviceError(f"transform library {name} is not installed ({error})") from error


class _HostBackend:
    """scipy.fft on the host; on CPU devices without a copy of the images."""

    def __init__(self, session: DeviceSession, box: int) -> None:
        self._session = session
        self._box = box

    def transform(self, images: Array, output: Array) -> None:
        if not self._session.is_cpu:
            host = self._transform_host(self._session.to_host(images))
            self._session.copy_to_device(host, output)
            return
        with (
            mapped(self._session, images) as source,
            mapped(self._session, output, "write") as target,
        ):
            target[...] = self._transform_host(source)

    def _transform_host(self, images: np.ndarray) -> np.ndarray:
        transformed: np.ndarray = scipy.fft.rfft2(
            images, axes=(-2, -1), norm="forward", workers=workers_or_default()
        )
        return transformed


class _KernelBackend:
    """Our own kernel for lines, along x and then, in place, along y."""

    def __init__(self, session: DeviceSession, box: int) -> None:
        self._box = box
        self._lines = LineFFT(session, box, "kernel")

    def transform(self, images: Array, output: Array) -> None:
        box, half, n = self._box, self._box // 2 + 1, int(images.shape[0])
        self._lines(Samples(images, box, 1, 0, box), Samples(output, half, 1, 0, half), n * box)
        columns = Samples(output, box * half, half, 0, box)
        self._lines(columns, columns, n, half, scale=1.0 / box**2)


class _ChunkedBackend:
    """Device libraries plan for a fixed batch: transform in chunks of one size, last one padded."""

    def __init__(self, session: DeviceSession, box: int) -> None:
        self._session = session
        self._box = box
        self._half = box // 2 + 1
        bytes_per_image = box * box * np.dtype(session.complex).itemsize
        chunk_bytes = min(_CHUNK_BYTES, int(_ROOM_SHARE * session.room_bytes))
        self._chunk = max(1, min(_MAX_CHUNK, chunk_bytes // bytes_per_image))
        self._crop = session.kernel("device/crop_half_transform")

    def _chunks(self, n_images: int) -> list[tuple[int, int]]:
        return [
            (first, min(self._chunk, n_images - first)) for first in range(0, n_images, self._chunk)
        ]

    def _store(self, full: Array, output: Array, first: int, count: int) -> None:
        """Write ``count`` scaled half transforms of a chunk to their place."""
        per_image = self._box * self._half
        n = count * per_image
        self._crop(
            (-(-n // _GROUP) * _GROUP,), (_GROUP,), full, output, first * per_image, n,
            full.shape[-1], self._half, 1.0 / self._box**2,
        )  # fmt: skip


class _ReiknaBackend(_ChunkedBackend):
    """reikna's complex transform."""

    def __init__(self, session: DeviceSession, box: int) -> None:
        from reikna.cluda import ocl_api
        from reikna.fft import FFT

        super().__init__(session, box)
        self._work = session.zeros((self._chunk, box, box), session.complex)
        self._widen = session.kernel("device/widen_to_complex")
        thread = ocl_api().Thread(session.queue)
        self._given = self._work.for_library(session.queue)
        self._plan = FFT(self._given, axes=(1, 2)).compile(thread)

    def transform(self, images: Array, output: Array) -> None:
        n_pixels = self._box**2
        for first, count in self._chunks(images.shape[0]):
            n = count * n_pixels
            n_items = -(-n // _GROUP) * _GROUP
            self._widen((n_items,), (_GROUP,), images, self._work, first * n_pixels, n)
            self._plan(self._given, self._given, 0)
            self._store(self._work, output, first, count)


class _VkfftBackend(_ChunkedBackend):
    """VkFFT's real-to-complex transform by pyvkfft."""

    def __init__(self, session: DeviceSession, box: int) -> None:
        from pyvkfft.opencl import VkFFTApp

        super().__init__(session, box)
        self._real = session.zeros((self._chunk, box, box), session.real)
        self._full = session.empty((self._chunk, box, self._half), session.complex)
        self._plan = VkFFTApp(
            self._real.shape, self._real.dtype, session.queue, ndim=2, inplace=False, norm=0,
            r2c=True,
        )  # fmt: skip
        self._given = [a.for_library(session.queue) for a in (self._real, self._full)]

    def transform(self, images: Array, output: Array) -> None:
        item_bytes = np.dtype(self._session.real).itemsize * self._box**2
        for first, count in self._chunks(images.shape[0]):
            cl.enqueue_copy(
                self._session.queue, self._real.base_data, images.base_data,
                src_offset=first * item_bytes, byte_count=count * item_bytes,
            )  # fmt: skip
            self._plan.fft(*self._given)
            self._store(self._full, output, first, count)
