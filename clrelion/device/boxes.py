"""Copies between the host and parts of volumes on the device, in one transfer each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy.typing as npt
import pyopencl as cl

from clrelion.device.memory import translated_allocation_errors

if TYPE_CHECKING:
    from clrelion.device.array import Array
    from clrelion.device.session import DeviceSession

__all__ = ["read_box", "write_box"]


def read_box(
    session: DeviceSession, array: Array, plane: int, line: int, box: npt.NDArray[Any]
) -> None:
    """Fill a host array from a device array of the same type; waits for the queue.

    Parameters
    ----------
    array
        (planes, lines, ...).
    plane, line
        The first ones.
    box
        (n_planes, n_lines, ...), C order; has the beginning of each line.

    Raises
    ------
    DeviceMemoryError
    """
    _copy(session, box, array.base_data, array, plane, line, box)


def write_box(
    session: DeviceSession, array: Array, plane: int, line: int, box: npt.NDArray[Any]
) -> None:
    """Overwrite what `read_box` reads."""
    _copy(session, array.base_data, box, array, plane, line, box)


def _copy(
    session: DeviceSession,
    target: Any,
    source: Any,
    array: Array,
    plane: int,
    line: int,
    box: npt.NDArray[Any],
) -> None:
    if not box.flags.c_contiguous:
        raise TypeError("copies between host and device need C-contiguous arrays")
    plane_bytes = int(array.nbytes) // int(array.shape[0])
    line_bytes = plane_bytes // int(array.shape[1])
    n_planes, n_lines = box.shape[:2]
    n_bytes = box.nbytes // (n_planes * n_lines)
    enqueue: Any = cl.enqueue_copy  # the stubs do not know this form
    with translated_allocation_errors("copy of a part of a volume"):
        enqueue(
            session.queue,
            target,
            source,
            buffer_origin=(0, line, plane),
            host_origin=(0, 0, 0),
            region=(n_bytes, n_lines, n_planes),
            buffer_pitches=(line_bytes, plane_bytes),
            host_pitches=(n_bytes, n_bytes * n_lines),
            is_blocking=True,
        )
