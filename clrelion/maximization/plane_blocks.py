"""Blocks of planes of back-projection sums, wherever they lie: how volumes travel between ranks.

A block is real, (n, M, P+2, 4) with re, im, weight and 0, as on the device; M planes make a
volume.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clrelion.device.shell_sums import run_over_lines
from clrelion.maximization.device_sums import DeviceSums
from clrelion.maximization.sums import BackprojectionSums
from clrelion.maximization.waiting_sums import VolumeSums, WaitingSums

__all__ = ["add_planes", "from_planes", "plane_blocks", "read_planes", "write_planes"]

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


def read_planes(sums: VolumeSums, first: int, last: int) -> NDArray[Any]:
    """Copy planes first .. last - 1 to the host, real, (last - first, M, P+2, 4)."""
    if isinstance(sums, DeviceSums):
        row = _first_row(sums)
        rows = sums.session.copy_rows(_all_planes(sums), row + first, row + last)
        return sums.session.to_host(rows)
    if isinstance(sums, WaitingSums):
        return np.array(sums.on_host()[first:last])
    block = np.zeros((last - first, *sums.data.shape[1:], 4), dtype=sums.weight.dtype)
    data = sums.data[first:last]
    block[..., 0], block[..., 1] = data.real, data.imag
    block[..., 2] = sums.weight[first:last]
    return block


def write_planes(sums: VolumeSums, first: int, block: NDArray[Any]) -> None:
    """Overwrite planes from ``first`` on."""
    last = first + len(block)
    if isinstance(sums, DeviceSums):
        sums.changed()
        sums.session.write_rows(_all_planes(sums), _first_row(sums) + first, block)
        return
    if isinstance(sums, WaitingSums):
        sums.on_host()[first:last] = block
        return
    sums.data[first:last] = block[..., 0] + 1j * block[..., 1]
    sums.weight[first:last] = block[..., 2]


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
