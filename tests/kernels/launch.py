"""Run one kernel on host arrays, with outputs that notice what is missing or out of place."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from clrelion.device.session import DeviceSession

_GUARD = 64  # elements behind every output that no kernel may touch
_UNTOUCHED_INTEGER = -1234567
_UNTOUCHED_BYTE = 0x5A


class Output:
    """Device array that a kernel fills; NaN (or a large negative integer) until then.

    ``start`` gives it contents for kernels that add to what is there or change it in place.
    """

    def __init__(
        self,
        session: DeviceSession,
        shape: int | tuple[int, ...],
        dtype: npt.DTypeLike | None = None,
        start: npt.ArrayLike | None = None,
    ) -> None:
        self._session = session
        self.shape = (shape,) if isinstance(shape, int) else shape
        self._size = math.prod(self.shape)
        self._dtype = np.dtype(session.real if dtype is None else dtype)
        host = np.full(self._size + _GUARD, self._untouched, self._dtype)
        if start is not None:
            host[: self._size] = np.asarray(start).ravel()
        self.array = session.to_device(host)

    @property
    def _untouched(self) -> float:
        if self._dtype.kind in "fc":
            return np.nan
        if self._dtype.itemsize == 1:
            return _UNTOUCHED_BYTE
        return -_UNTOUCHED_INTEGER if self._dtype.kind == "u" else _UNTOUCHED_INTEGER

    def read(self) -> npt.NDArray[Any]:
        """Copy to the host, after a look at the guard."""
        host = self._session.to_host(self.array)
        guard = host[self._size :]
        expected = np.full(_GUARD, self._untouched, self._dtype)
        np.testing.assert_array_equal(guard, expected, err_msg="written behind the end")
        return host[: self._size].reshape(self.shape)

    def read_untouched(self) -> npt.NDArray[np.bool_]:
        """Tell which elements nobody wrote."""
        host = self.read()
        return np.isnan(host) if self._dtype.kind in "fc" else host == self._untouched


def run_kernel(
    session: DeviceSession,
    name: str,
    n_items: tuple[int, ...],
    group: tuple[int, ...] | None,
    *arguments: Any,
    **parameters: Any,
) -> None:
    """Launch a kernel over at least ``n_items`` work-items.

    ``name`` is that of a template with its folder, or without it for ``expectation/name``.

    Floating-point arrays are given in the session's precision; integer arrays as they are, so
    that int and long pointers get what the host would pass. The global size is rounded up to
    whole work-groups, so that kernels must leave the surplus work-items out.
    """
    kernel = session.kernel(name if "/" in name else f"expectation/{name}", **parameters)
    if group is None:
        group = (1,) * len(n_items)
    global_size = tuple(-(-n // g) * g for n, g in zip(n_items, group, strict=True))
    kernel(global_size, group, *(_device_argument(session, a) for a in arguments))


def _device_argument(session: DeviceSession, argument: Any) -> Any:
    if isinstance(argument, Output):
        return argument.array
    if not isinstance(argument, np.ndarray):
        return argument
    if argument.dtype.kind == "f":
        argument = argument.astype(session.real)
    elif argument.dtype.kind == "c":
        argument = argument.astype(session.complex)
    if argument.size == 0:
        argument = np.zeros(1, argument.dtype)  # OpenCL has no empty buffers
    return session.to_device(argument)


def rounded(session: DeviceSession, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Round inputs to the session's precision, so that twin and kernel start from the same."""
    if np.iscomplexobj(values):
        return values.astype(session.complex).astype(np.complex128)
    return values.astype(session.real).astype(np.float64)


def int32(values: npt.ArrayLike) -> npt.NDArray[np.int32]:
    """Index vector for an ``int`` pointer."""
    return np.asarray(values, dtype=np.int32)


def int64(values: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """Index vector for a ``long`` pointer."""
    return np.asarray(values, dtype=np.int64)
