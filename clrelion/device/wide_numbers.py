"""Numbers in more than single precision on any device (``wide`` in ``cl/common``)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from clrelion.device.array import Array
    from clrelion.device.session import DeviceSession

__all__ = ["wide_empty", "wide_kind", "wide_to_device"]


def wide_kind(session: DeviceSession) -> str:
    """Template parameter ``wide``: double where the device has it, else a pair of floats."""
    return "double" if session.capabilities.fp64 else "pair"


def wide_empty(session: DeviceSession, shape: tuple[int, ...], kind: str) -> Array:
    """Allocate a device array of wide numbers.

    Raises
    ------
    DeviceMemoryError
    """
    if kind == "double":
        return session.empty(shape, np.float64)
    return session.empty((*shape, 2), np.float32)


def wide_to_device(session: DeviceSession, values: npt.NDArray[np.float64], kind: str) -> Array:
    """Copy float64 values to a device array of wide numbers.

    Returns
    -------
    Array
        float64 of the same shape, or float32 with a last axis of two more: the value rounded, and
        the rest.

    Raises
    ------
    DeviceMemoryError
    """
    if kind == "double":
        return session.to_device(values, np.float64)
    high = values.astype(np.float32)
    return session.to_device(np.stack([high, (values - high).astype(np.float32)], axis=-1))
