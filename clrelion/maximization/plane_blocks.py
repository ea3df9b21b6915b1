"""Blocks of planes of back-projection sums, wherever they lie: how volumes travel between ranks.

A block is real, (n, M, P+2, 4) with re, im, weight and 0, as on the device; M planes make a
volume.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clrelion.device import boxes
from clrelion.device.shell_sums import run_over_lines
from clrelion.fourier.padded import centred_shape
from clrelion.maximization.device_sums import DeviceSums
from clrelion.maximization.sums import BackprojectionSums
from clrelion.maximization.waiting_sums import VolumeSums, WaitingSums

__all__ = [
    "add_planes",
    "from_planes",
    "largest_block_bytes",
    "plane_blocks",
    "read_box",
    "read_planes",
    "write_box",
]

_BLOCK_BYTES = 16 * 2**20


def plane_blocks(shape: tuple[int, int, int], dtype: Any) -> Iterator[tuple[int, int]]:
    """Cut a volume into blocks of about 16 MB.

    Parameters
    ----------
    shape
        (M, M, P+2) of the sums.
    dtype
        float32 or float64.

    Yields
    ------
    first, last
        Planes of a block, the last exclusive.
    """
    plane_bytes = 4 * np.dtype(dtype).itemsize * shape[1] * shape[2]
    step = max(1, _BLOCK_BYTES // plane_bytes)
    for first in range(0, shape[0], step):
        yield first, min(shape[0], first + step)


def largest_block_bytes(padding_factor: float, r_max: int, dtype: Any) -> int:
    """Bytes of the largest block that `plane_blocks` cuts volumes of up to this size into."""
    _, ny, nx = centred_shape(padding_factor, r_max)
    return max(_BLOCK_BYTES, 4 * int(np.dtype(dtype).itemsize) * ny * nx)


def read_planes(sums: VolumeSums, first: int, last: int, block: NDArray[Any]) -> None:
    """Copy planes first .. last - 1 to a host array, real, (last - first, M, P+2, 4)."""
    if isinstance(sums, DeviceSums) and block.dtype == sums.values.dtype:
        sums.session.read_rows(_all_planes(sums), _first_row(sums) + first, block)
        return
    if isinstance(sums, DeviceSums):
        row = _first_row(sums)
        block[...] = sums.session.to_host(
            sums.session.copy_rows(_all_planes(sums), row + first, row + last)
        )
        return
    if isinstance(sums, WaitingSums):
        block[...] = sums.on_host()[first:last]
        return
    data = sums.data[first:last]
    block[..., 0], block[..., 1] = data.real, data.imag
    block[..., 2] = sums.weight[first:last]
    block[..., 3] = 0


def read_box(sums: VolumeSums, plane: int, line: int, box: NDArray[Any]) -> None:
    """Copy part of the sums to a host array, real, (n_planes, n_lines, n <= P+2, 4), C order.

    Parameters
    ----------
    plane, line
        The first ones of the box; x begins at 0.
    """
    if isinstance(sums, DeviceSums):
        boxes.read_box(sums.session, _all_planes(sums), _first_row(sums) + plane, line, box)
        return
    place = _place_of(box, plane, line)
    if isinstance(sums, WaitingSums):
        box[...] = sums.on_host()[place]
        return
    data = sums.data[place]
    box[..., 0], box[..., 1] = data.real, data.imag
    box[..., 2] = sums.weight[place]
    box[..., 3] = 0


def write_box(sums: VolumeSums, plane: int, line: int, box: NDArray[Any]) -> None:
    """Overwrite what `read_box` reads."""
    if isinstance(sums, DeviceSums):
        sums.changed()
        boxes.write_box(sums.session, _all_planes(sums), _first_row(sums) + plane, line, box)
        return
    place = _place_of(box, plane, line)
    if isinstance(sums, WaitingSums):
        sums.on_host()[place] = box
        return
    sums.data[place] = box[..., 0] + 1j * box[..., 1]
    sums.weight[place] = box[..., 2]


def add_planes(sums: VolumeSums, first: int, block: NDArray[Any]) -> None:
    """Add a block to the planes from ``first`` on."""
    last = first + len(block)
    if isinstance(sums, DeviceSums):
        sums.changed()
        other = sums.session.to_device(block, sums.session.real)
        n_plane = sums.shape[1] * sums.shape[2]
        n = n_plane * len(block)
        start = sums.start + first * n_plane
        run_over_lines(sums.session, "add_volume", n, sums.values, start, other, 0, n)
        return
    if isinstance(sums, WaitingSums):
        sums.on_host()[first:last] += block
        return
    sums.data[first:last] += block[..., 0] + 1j * block[..., 1]
    sums.weight[first:last] += block[..., 2]


def from_planes(
    planes: NDArray[Any], padding_factor: float, r_max: int, ori_size: int
) -> BackprojectionSums:
    """Make sums on the host of all planes, real (M, M, P+2, 4)."""
    kind = np.result_type(planes.dtype, np.complex64)
    data = np.empty(planes.shape[:3], dtype=kind)
    data.real, data.imag = planes[..., 0], planes[..., 1]
    weight = np.ascontiguousarray(planes[..., 2])
    return BackprojectionSums(data, weight, padding_factor, r_max, ori_size)


def _first_row(sums: DeviceSums) -> int:
    return sums.start // (sums.shape[1] * sums.shape[2])


def _all_planes(sums: DeviceSums) -> Any:
    """Planes of all volumes of the device array, one after the other."""
    values: Any = sums.values
    return values.reshape(-1, *values.shape[2:])


def _place_of(box: NDArray[Any], plane: int, line: int) -> tuple[slice, slice, slice]:
    n_planes, n_lines, n, _ = box.shape
    return slice(plane, plane + n_planes), slice(line, line + n_lines), slice(n)
