"""Transforms of lines by the libraries, between a kernel that pads and one that crops."""

from __future__ import annotations

import numpy as np
import scipy.fft

from clrelion.device.line_kernel import Samples
from clrelion.device.session import DeviceSession
from clrelion.fourier.transforms import workers_or_default

__all__ = ["HostLines", "ReiknaLines", "VkfftLines"]

_GROUP = 64
_CHUNK_BYTES = 2**27
_MAX_CHUNK = 1 << 14
_ROOM_SHARE = 1 / 16


class _WholeLines:
    """Chunks of lines padded to whole, contiguous ones, transformed in place, and cropped."""

    def __init__(self, session: DeviceSession, length: int) -> None:
        self._session = session
        self._length = length
        line_bytes = length * np.dtype(session.complex).itemsize
        chunk_bytes = min(_CHUNK_BYTES, int(_ROOM_SHARE * session.room_bytes))
        self._chunk = max(1, min(_MAX_CHUNK, chunk_bytes // line_bytes))
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
        """Transform lines as `clrelion.device.line_fft.LineFFT` does; shape (n_outer, n_inner)."""
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


class ReiknaLines(_WholeLines):
    """reikna's transform; its inverse divides by N."""

    def __init__(self, session: DeviceSession, length: int) -> None:
        from reikna.cluda import ocl_api
        from reikna.fft import FFT

        super().__init__(session, length)
        thread = ocl_api().Thread(session.queue)
        self._given = self._work.for_library(session.queue)
        self._plan = FFT(self._given, axes=(1,)).compile(thread)

    def _apply(self, inverse: bool) -> float:
        self._plan(self._given, self._given, int(inverse))
        return float(self._length) if inverse else 1.0


class VkfftLines(_WholeLines):
    """VkFFT's transform by pyvkfft."""

    def __init__(self, session: DeviceSession, length: int) -> None:
        from pyvkfft.opencl import VkFFTApp

        super().__init__(session, length)
        self._plan = VkFFTApp(
            self._work.shape, self._work.dtype, session.queue, ndim=1, inplace=True, norm=0
        )
        self._given = self._work.for_library(session.queue)

    def _apply(self, inverse: bool) -> float:
        if inverse:
            self._plan.ifft(self._given)
        else:
            self._plan.fft(self._given)
        return 1.0


class HostLines(_WholeLines):
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
