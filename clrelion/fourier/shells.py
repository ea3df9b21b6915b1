"""Integer rounding, frequency grids and resolution shells (specification E 0, 1.4, 1.8, 3.8).

Two layouts occur.  The *half transform* of an even box ``n`` is what ``rfft`` returns: the last
axis holds kx = 0..n/2, every other axis the frequencies 0..n/2, -n/2+1..-1, so that Nyquist is
positive.  The *centred half array* of padded radius P has x = 0..P+1 and y, z = -(P+1)..P+1.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "centred_z_chunks",
    "fftw_frequencies",
    "half_transform_frequencies",
    "half_transform_shells",
    "half_transform_shells_3d",
    "pixels_per_shell",
    "resolution_of_shell",
    "round_half_away",
    "round_half_away_int",
    "shell_bounds",
    "shell_means",
    "shell_of_resolution",
    "shell_sums",
    "squared_radius_shells",
]

_Scalar = TypeVar("_Scalar", bound=np.generic)

_CHUNK_VOXELS = 1 << 19
"""Voxels handled at once by sweeps over a volume: index and weight blocks stay within the cache."""


def round_half_away(values: ArrayLike) -> NDArray[np.int64]:
    """Round to the nearest integer, halves away from zero (``rnd`` of the specification).

    Parameters
    ----------
    values
        real array of any shape.

    Returns
    -------
    int64, same shape.

    Notes
    -----
    Specification E 0.
    """
    x = np.asarray(values, dtype=np.float64)
    return np.trunc(x + np.copysign(0.5, x)).astype(np.int64)


def round_half_away_int(value: float) -> int:
    """Round one number to the nearest integer, halves away from zero (specification E 0)."""
    return math.trunc(value + 0.5) if value > 0 else math.trunc(value - 0.5)


@lru_cache(maxsize=32)
def fftw_frequencies(n: int) -> NDArray[np.int64]:
    """Give the logical frequency of each index along a full axis of ``n`` samples.

    Parameters
    ----------
    n
        number of samples; index i stands for i if i <= n/2 and for i - n above.

    Returns
    -------
    int64, (n,), read-only; Fourier pixels.  Specification E 1.4.
    """
    index = np.arange(n, dtype=np.int64)
    return _frozen(np.where(index <= n // 2, index, index - n))


@lru_cache(maxsize=16)
def half_transform_frequencies(n: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Give the frequencies kx and ky of every pixel of a 2-D half transform.

    Parameters
    ----------
    n
        edge of the image, even, px.

    Returns
    -------
    kx, ky
        int64, (n, n//2+1), read-only; Fourier pixels.  Specification E 1.4.
    """
    kx, ky = np.meshgrid(np.arange(n // 2 + 1, dtype=np.int64), fftw_frequencies(n))
    return _frozen(np.ascontiguousarray(kx)), _frozen(np.ascontiguousarray(ky))


@lru_cache(maxsize=16)
def half_transform_shells(n: int) -> NDArray[np.int64]:
    """Give the shell rnd(|k|) of every pixel of a 2-D half transform.

    Parameters
    ----------
    n
        edge of the image, even, px.

    Returns
    -------
    int64, (n, n//2+1), read-only; corners reach beyond n/2.  Specification E 0, 1.4.
    """
    kx, ky = half_transform_frequencies(n)
    return _frozen(round_half_away(np.sqrt(kx * kx + ky * ky)))


@lru_cache(maxsize=2)
def half_transform_shells_3d(n: int) -> NDArray[np.int16]:
    """Give the shell rnd(|k|) of every voxel of a 3-D half transform.

    Parameters
    ----------
    n
        edge of the volume, even, px.

    Returns
    -------
    int16, (n, n, n//2+1), read-only; corners reach beyond n/2.  Specification E 0, 1.4.
    """
    squares = fftw_frequencies(n) ** 2
    table = squared_radius_shells(3 * (n // 2) ** 2, 1.0).astype(np.int16)
    squares_yx = squares[:, None] + np.arange(n // 2 + 1) ** 2
    return _frozen(np.stack([table[square + squares_yx] for square in squares]))


@lru_cache(maxsize=16)
def squared_radius_shells(
    max_squared: int, padding_factor: float, rounding: Literal["nearest", "floor"] = "nearest"
) -> NDArray[np.int64]:
    """Tabulate the shell of every squared integer radius in padded Fourier pixels.

    Parameters
    ----------
    max_squared
        largest squared radius in the table.
    padding_factor
        padded Fourier pixels per Fourier pixel.
    rounding
        ``nearest``: rnd(sqrt(r2)/p); ``floor``: floor(sqrt(r2)/p).

    Returns
    -------
    int64, (max_squared+1,), read-only.  Specification M 2.1, 2.2a, 3.
    """
    radius = np.sqrt(np.arange(max_squared + 1, dtype=np.float64)) / padding_factor
    if rounding == "floor":
        return _frozen(np.floor(radius).astype(np.int64))
    return _frozen(round_half_away(radius))


def shell_bounds(
    n_shells: int,
    limit: int,
    padding_factor: float,
    rounding: Literal["nearest", "floor"] = "nearest",
) -> NDArray[np.int32]:
    """Give the squared radii at which the shells of `squared_radius_shells` begin.

    Parameters
    ----------
    n_shells
        shells wanted.
    limit
        only voxels with squared radius below it count, padded Fourier pixels^2.
    padding_factor, rounding
        as for `squared_radius_shells`.

    Returns
    -------
    int32, (n_shells+1,); shell s holds the squared radii bounds[s] <= r2 < bounds[s+1].
    """
    table = squared_radius_shells(limit - 1, padding_factor, rounding)
    return np.searchsorted(table, np.arange(n_shells + 1)).astype(np.int32)


def centred_z_chunks(padded_radius: int) -> Iterator[tuple[slice, NDArray[np.int64]]]:
    """Walk a centred half array in blocks of z planes.

    Parameters
    ----------
    padded_radius
        P of the array (2(P+1)+1, 2(P+1)+1, P+2).

    Yields
    ------
    planes
        slice along the first axis.
    squared_radius
        int64, (planes, M, P+2); squared distance from the origin, padded Fourier pixels.
    """
    edge = padded_radius + 1
    axis = np.arange(-edge, edge + 1, dtype=np.int64) ** 2
    squares_yx = axis[:, None] + np.arange(edge + 1, dtype=np.int64) ** 2
    step = max(1, _CHUNK_VOXELS // squares_yx.size)
    for start in range(0, axis.size, step):
        planes = slice(start, min(start + step, axis.size))
        yield planes, axis[planes, None, None] + squares_yx


@lru_cache(maxsize=16)
def pixels_per_shell(ori_size: int) -> NDArray[np.int64]:
    """Count the independent pixels of a 2-D half transform in each shell (``Npix``).

    Parameters
    ----------
    ori_size
        edge N of the image, even, px.

    Returns
    -------
    int64, (N/2+1,), read-only; the duplicates kx = 0, ky < 0 are left out.  Specification E 3.8.
    """
    kx, ky = half_transform_frequencies(ori_size)
    shells = half_transform_shells(ori_size)
    keep = (shells <= ori_size // 2) & ~((kx == 0) & (ky < 0))
    return _frozen(np.bincount(shells[keep], minlength=ori_size // 2 + 1).astype(np.int64))


def shell_sums(values: NDArray[Any], shells: NDArray[Any], n_shells: int) -> NDArray[np.float64]:
    """Add up a real quantity over the pixels of each shell.

    Parameters
    ----------
    values
        real, any shape.
    shells
        integer, same shape, >= 0; shells >= ``n_shells`` are dropped.
    n_shells
        length of the result.

    Returns
    -------
    float64, (n_shells,).
    """
    sums = np.bincount(shells.ravel(), weights=values.ravel(), minlength=n_shells)
    return sums[:n_shells].astype(np.float64, copy=False)


def shell_means(values: NDArray[Any], shells: NDArray[Any], n_shells: int) -> NDArray[np.float64]:
    """Average a real quantity over the pixels of each shell; 0 for empty shells.

    Parameters are those of `shell_sums`.
    """
    counts = np.bincount(shells.ravel(), minlength=n_shells)[:n_shells]
    sums = shell_sums(values, shells, n_shells)
    return np.divide(sums, counts, out=np.zeros(n_shells), where=counts > 0)


def resolution_of_shell(shell: ArrayLike, ori_size: int, pixel_size_angst: float) -> Any:
    """Convert a model shell into a resolution in Å (999 for shell 0).

    Parameters
    ----------
    shell
        shell index, scalar or array.
    ori_size
        model box, px.
    pixel_size_angst
        model pixel size, Å/px.

    Returns
    -------
    float64 scalar or array, Å.  Specification E 1.8.
    """
    index = np.asarray(shell, dtype=np.float64)
    extent = ori_size * pixel_size_angst
    result = np.divide(extent, index, out=np.full(index.shape, 999.0), where=index > 0)
    return result if result.ndim else float(result)


def shell_of_resolution(resolution_inv_angst: float, ori_size: int, pixel_size_angst: float) -> int:
    """Convert a resolution in 1/Å into the nearest model shell (specification E 1.8)."""
    return round_half_away_int(resolution_inv_angst * pixel_size_angst * ori_size)


def _frozen(array: NDArray[_Scalar]) -> NDArray[_Scalar]:
    array.setflags(write=False)
    return array
