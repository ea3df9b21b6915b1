"""Pruned transforms between a map and its zero-padded, centred half transform.

A reference is oversampled in Fourier space by zero-padding it to an even box N_p before the
transform; only the coefficients within a padded radius P are ever used.  Both directions are done
axis by axis on the non-zero part only, so no array of N_p^3 samples exists: for a box of 256 and
padding 2 that halves the time and takes a third of the memory.  The results are those of the full
transform of specification M 2.3 and 2.4.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from clrelion.fourier.shells import round_half_away_int
from clrelion.fourier.transforms import workers_or_default

__all__ = [
    "RowRun",
    "centred_shape",
    "correct_gridding",
    "inverse_along_y_and_x",
    "inverse_along_z",
    "padded_forward",
    "padded_inverse",
    "padded_size_of",
    "row_runs",
    "squared_radii",
]

_CHUNK_BYTES = 1 << 24
"""Size of one block of lines handed to scipy.fft."""

_RUN_BYTES = 1 << 23
"""Size of a run of rows transformed along z: it stays in the processor's cache."""


def padded_size_of(ori_size: int, padding_factor: float) -> int:
    """Give the even edge N_p of the zero-padded box (specification M 0.1).

    Parameters
    ----------
    ori_size
        box of the map, voxels.
    padding_factor
        requested padding factor.

    Returns
    -------
    rnd(p N), plus one if odd.
    """
    size = round_half_away_int(padding_factor * ori_size)
    return size + size % 2


def centred_shape(padding_factor: float, r_max: int) -> tuple[int, int, int]:
    """Give the shape (M, M, P+2) of a centred half array (specification M 0.3)."""
    edge = round_half_away_int(padding_factor * r_max) + 1
    return 2 * edge + 1, 2 * edge + 1, edge + 1


def squared_radii(n: int, planes: slice = slice(None)) -> NDArray[np.int64]:
    """Give the squared distance of voxels from the origin n//2.

    Parameters
    ----------
    n
        edge of the volume, voxels.
    planes
        z planes wanted.

    Returns
    -------
    int64, (planes, n, n), voxels^2.
    """
    axis = (np.arange(n, dtype=np.int64) - n // 2) ** 2
    return axis[planes, None, None] + (axis[:, None] + axis)


def correct_gridding(volume: NDArray[Any], padding_factor: float) -> None:
    """Divide a map by the transform of the trilinear interpolation kernel, in place.

    Parameters
    ----------
    volume
        float32 or float64, (n, n, n), real space, origin n//2; changed.
    padding_factor
        oversampling of Fourier space.

    Notes
    -----
    Specification M 2.3.5: division by sinc(q)^2 with the radius q = r/(n p), not separable.
    """
    n = volume.shape[0]
    radii = np.sqrt(np.arange(3 * (n // 2) ** 2 + 1, dtype=np.float64))
    divisor = (np.sinc(radii / (n * padding_factor)) ** 2).astype(volume.dtype)
    step = _planes_per_chunk(n * n * 8)
    for start in range(0, n, step):
        planes = slice(start, start + step)
        volume[planes] /= divisor[squared_radii(n, planes)]


def padded_forward(
    volume: NDArray[Any], padded_size: int, padded_radius: int, workers: int | None = None
) -> NDArray[Any]:
    """Transform a map as if zero-padded, keeping the sphere |q|^2 <= P^2.

    Parameters
    ----------
    volume
        float32 or float64, (n, n, n), real space, origin n//2.
    padded_size
        even edge N_p of the padded box, voxels.
    padded_radius
        P <= N_p/2, padded Fourier pixels.
    workers
        threads; None: see `clrelion.fourier.transforms.set_workers`.

    Returns
    -------
    complex64 or complex128, (2(P+1)+1, 2(P+1)+1, P+2); centred half array, sum over voxels of the
    map times exp(-2 pi i q.x/N_p) with x counted from the origin (not divided by anything), zero
    outside the sphere and at the frequencies -N_p/2, which a half transform does not hold
    (specification E F.6).
    """
    workers = workers_or_default(workers)
    n, edge, columns = volume.shape[0], padded_radius + 1, padded_radius + 1
    lines = np.arange(-padded_radius, padded_radius + 1) % padded_size
    box = (np.arange(n) - n // 2) % padded_size
    kind = np.complex64 if volume.dtype == np.float32 else np.complex128
    half_way = np.empty((n, lines.size, columns), dtype=kind)
    step = _planes_per_chunk(n * padded_size * volume.dtype.itemsize)
    for start in range(0, n, step):
        planes = slice(start, min(start + step, n))
        rows = np.zeros((planes.stop - start, n, padded_size), dtype=volume.dtype)
        rows[:, :, box] = volume[planes]
        grid = np.zeros((planes.stop - start, padded_size, columns), dtype=kind)
        grid[:, box] = scipy.fft.rfft(rows, axis=-1, workers=workers)[..., :columns]
        grid = scipy.fft.fft(grid, axis=1, overwrite_x=True, workers=workers)
        half_way[planes] = grid[:, lines]
    result = np.zeros((2 * edge + 1, 2 * edge + 1, edge + 1), dtype=kind)
    step = _planes_per_chunk(padded_size * columns * half_way.itemsize)
    for start in range(0, lines.size, step):
        rows_y = slice(start, min(start + step, lines.size))
        grid = np.zeros((padded_size, rows_y.stop - start, columns), dtype=kind)
        grid[box] = half_way[:, rows_y]
        block = scipy.fft.fft(grid, axis=0, overwrite_x=True, workers=workers)[lines]
        result[1:-1, 1 + start : 1 + rows_y.stop, :-1] = block
    _clear_outside(result, padded_radius, padded_size)
    return result


def padded_inverse(
    transform: NDArray[Any], padded_size: int, box: int, workers: int | None = None
) -> NDArray[Any]:
    """Transform a centred half array into the central part of the padded real-space box.

    Parameters
    ----------
    transform
        complex64 or complex128, (2(P+1)+1, 2(P+1)+1, P+2); coefficients beyond the radius P are
        taken as zero only along the axes: the caller clears the rest.
    padded_size
        even edge N_p >= 2P of the padded box, voxels.
    box
        edge n <= N_p of the result, voxels.
    workers
        threads; None: see `clrelion.fourier.transforms.set_workers`.

    Returns
    -------
    float32 or float64, (n, n, n); unscaled sum over coefficients, origin n//2.  The frequencies
    -N_p/2 are left out, as in a half transform of edge N_p (specification M 0.3, 2.3).
    """
    radius, kind = transform.shape[2] - 2, transform.dtype
    half_way = np.empty((box, padded_size, radius + 1), dtype=kind)
    line_bytes = padded_size * kind.itemsize
    for run in row_runs(padded_size, radius, line_bytes, sphere=False):
        grid = np.zeros((padded_size, run.n_rows, run.n_columns), dtype=kind)
        rows = slice(run.first + radius + 1, run.first + run.n_rows + radius + 1)
        grid[: radius + 1] = transform[radius + 1 : -1, rows, :-1]
        # if P = N_p/2, it lies where -P would
        n = min(radius, padded_size - radius - 1)
        grid[padded_size - n :] = transform[radius + 1 - n : radius + 1, rows, :-1]
        inverse_along_z(grid, run, half_way, workers)
    volume = np.empty((box,) * 3, dtype=np.float32 if kind == np.complex64 else np.float64)
    inverse_along_y_and_x(half_way, volume, workers)
    return volume


@dataclass(frozen=True)
class RowRun:
    """A run of rows (ky) of a half transform that are transformed along z together.

    Attributes
    ----------
    first
        ky of the first one, signed.
    n_rows
        Number of rows.
    n_columns
        Columns (kx) from 0 on that may be other than zero.
    """

    first: int
    n_rows: int
    n_columns: int


def row_runs(
    padded_size: int, padded_radius: int, bytes_per_line: int, *, sphere: bool
) -> Iterator[RowRun]:
    """Cut the rows -P..P into runs, without the frequency -N_p/2.

    Parameters
    ----------
    padded_size, padded_radius
        N_p and P.
    bytes_per_line
        Of a line along z.
    sphere
        There is nothing beyond the radius P, so that outer rows are short.
    """
    columns = padded_radius + 1
    n = max(1, _RUN_BYTES // (bytes_per_line * columns))
    lowest = -padded_radius + (padded_radius == padded_size // 2)
    for begin, end in ((0, padded_radius + 1), (lowest, 0)):
        for first in range(begin, end, n):
            last = min(first + n, end) - 1
            nearest = min(abs(first), abs(last))
            reach = math.isqrt(padded_radius**2 - nearest**2) if sphere else padded_radius
            yield RowRun(first, last + 1 - first, reach + 1)


def inverse_along_z(
    grid: NDArray[Any], run: RowRun, half_way: NDArray[Any], workers: int | None = None
) -> None:
    """Transform a run of rows along z.

    Parameters
    ----------
    grid
        complex, (N_p, n_rows, n_columns); z in FFTW's order; overwritten.
    run
        Its rows and columns.
    half_way
        complex, (n, N_p, P+1); receives these rows: z from -n//2, y in FFTW's order.
    """
    half, (box, size, _) = half_way.shape[0] // 2, half_way.shape
    workers = workers_or_default(workers)
    inverse = scipy.fft.ifft(grid, axis=0, norm="forward", overwrite_x=True, workers=workers)
    start = run.first % size
    rows = slice(start, start + run.n_rows)
    half_way[:half, rows, : run.n_columns] = inverse[size - half :]
    half_way[half:, rows, : run.n_columns] = inverse[: box - half]
    half_way[:, rows, run.n_columns :] = 0


def inverse_along_y_and_x(
    half_way: NDArray[Any], result: NDArray[Any], workers: int | None = None
) -> None:
    """Transform along y and x what has been transformed along z.

    Parameters
    ----------
    half_way
        complex, (n, N_p, P+1), rows beyond +-P excepted; overwritten.
    result
        real, (n, n, n); receives unscaled sums over coefficients, origin n//2.
    """
    box, size, columns = half_way.shape
    half, radius, workers = box // 2, columns - 1, workers_or_default(workers)
    lowest = -radius + (radius == size // 2)
    half_way[:, columns : size + lowest] = 0
    step = max(1, _CHUNK_BYTES // (size * columns * half_way.itemsize))
    # the central half of each line, in order
    parts = ((slice(size - half, size), slice(0, half)), (slice(0, box - half), slice(half, box)))
    for start in range(0, box, step):
        planes = slice(start, min(start + step, box))
        inverse = scipy.fft.ifft(
            half_way[planes], axis=1, norm="forward", overwrite_x=True, workers=workers
        )
        for y_from, y_to in parts:
            rows = scipy.fft.irfft(
                inverse[:, y_from], n=size, axis=-1, norm="forward", workers=workers
            )
            for x_from, x_to in parts:
                result[planes, y_to, x_to] = rows[..., x_from]


def _clear_outside(result: NDArray[Any], padded_radius: int, padded_size: int) -> None:
    """Zero a centred half array beyond the radius P and at the frequencies -N_p/2."""
    edge = padded_radius + 1
    axis = np.arange(-edge, edge + 1, dtype=np.int64) ** 2
    squares_yx = axis[:, None] + np.arange(edge + 1, dtype=np.int64) ** 2
    for plane, square in zip(result, axis, strict=True):
        plane[squares_yx > padded_radius**2 - square] = 0
    if padded_radius == padded_size // 2:
        result[1, edge, 0] = 0
        result[edge, 1, 0] = 0


def _planes_per_chunk(bytes_per_plane: int) -> int:
    return max(1, _CHUNK_BYTES // bytes_per_plane)
