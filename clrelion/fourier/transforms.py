"""Real transforms of images and volumes, centring, resizing and shifts (specification E 1.4-1.10).

Forward transforms divide by the number of samples, inverse ones do not scale.  The last axes hold
the image; any leading axes are a batch.  float32 input gives complex64, anything else complex128.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import scipy.fft
from numpy.typing import ArrayLike, NDArray

from clrelion.fourier.shells import fftw_frequencies

__all__ = [
    "apply_shift",
    "available_cores",
    "centre_half_transform",
    "forward_2d",
    "forward_3d",
    "inverse_2d",
    "inverse_3d",
    "rescale_image",
    "rescale_map",
    "resize_half_transform",
    "set_workers",
    "shift_phases",
    "window_map",
    "workers_or_default",
]

_SMALLEST_SHIFT = 1e-6
"""Shifts below this fraction of the box leave the transform untouched (specification E 1.10)."""


class _Threads:
    """Threads of one scipy.fft call where a caller names none; None: all cores of this process."""

    default: int | None = None


def set_workers(n_threads: int | None) -> None:
    """Set how many threads a transform takes in this process unless its caller says otherwise.

    Parameters
    ----------
    n_threads
        at least 1; None for all cores that this process may use.

    Raises
    ------
    ValueError
        if there is less than one.
    """
    if n_threads is not None and n_threads < 1:
        raise ValueError(f"n_threads = {n_threads}: transforms need at least one thread")
    _Threads.default = n_threads


def available_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):  # a batch system may have given fewer cores
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def workers_or_default(workers: int | None = None) -> int:
    """Resolve the threads of one transform: ``workers`` if given, else those of `set_workers`."""
    if workers is not None:
        return workers
    if _Threads.default is not None:
        return _Threads.default
    return available_cores()


def forward_2d(images: NDArray[Any], workers: int | None = None) -> NDArray[Any]:
    """Transform real images, divided by the number of pixels.

    Parameters
    ----------
    images
        float32 or float64, (..., n, n); real space, as stored.
    workers
        threads; None: see `set_workers`.

    Returns
    -------
    complex64 or complex128, (..., n, n//2+1); half transform, phase origin at pixel (0, 0).

    Notes
    -----
    Specification E 1.4; `centre_half_transform` moves the phase origin to n/2.
    """
    threads = workers_or_default(workers)
    result: NDArray[Any] = scipy.fft.rfft2(images, norm="forward", workers=threads)
    return result


def inverse_2d(transforms: NDArray[Any], workers: int | None = None) -> NDArray[Any]:
    """Transform half transforms (..., n, n//2+1) of even n back to images (..., n, n), unscaled."""
    n = transforms.shape[-2]
    threads = workers_or_default(workers)
    result: NDArray[Any] = scipy.fft.irfft2(transforms, s=(n, n), norm="forward", workers=threads)
    return result


def forward_3d(volumes: NDArray[Any], workers: int | None = None) -> NDArray[Any]:
    """Transform real volumes, divided by the number of voxels.

    Parameters
    ----------
    volumes
        float32 or float64, (..., n, n, n) as [z, y, x]; real space.
    workers
        threads; None: see `set_workers`.

    Returns
    -------
    complex64 or complex128, (..., n, n, n//2+1); half transform, phase origin at voxel (0, 0, 0).
    """
    axes = (-3, -2, -1)
    threads = workers_or_default(workers)
    result: NDArray[Any] = scipy.fft.rfftn(volumes, axes=axes, norm="forward", workers=threads)
    return result


def inverse_3d(transforms: NDArray[Any], workers: int | None = None) -> NDArray[Any]:
    """Transform half transforms (..., n, n, n//2+1) of even n back to volumes, unscaled."""
    n = transforms.shape[-2]
    threads = workers_or_default(workers)
    result: NDArray[Any] = scipy.fft.irfftn(
        transforms, s=(n, n, n), axes=(-3, -2, -1), norm="forward", workers=threads
    )
    return result


def centre_half_transform(transforms: NDArray[Any], ndim: int = 2) -> NDArray[Any]:
    """Move the phase origin between index 0 and n/2 by the signs (-1)^(i+j[+k]), in place.

    Parameters
    ----------
    transforms
        complex, (..., n, n//2+1) or (..., n, n, n//2+1); half transforms of even n, changed.
    ndim
        dimension of one transform, 2 or 3.

    Returns
    -------
    The same array.  The operation is its own inverse.  Specification E 1.5.
    """
    for axis in range(-ndim, 0):
        odd = [slice(None)] * transforms.ndim
        odd[axis] = slice(1, None, 2)
        view = transforms[tuple(odd)]
        np.negative(view, out=view)
    return transforms


def resize_half_transform(transforms: NDArray[Any], new_size: int, ndim: int = 2) -> NDArray[Any]:
    """Change the edge of half transforms (``window``).

    Parameters
    ----------
    transforms
        complex, (..., n, n//2+1) or (..., n, n, n//2+1).
    new_size
        edge of the result, even, px.
    ndim
        dimension of one transform, 2 or 3.

    Returns
    -------
    complex, same dtype, edge ``new_size``, always a new array: a smaller one keeps the square
    corners; a larger one is zero outside the sphere |k| <= n/2 of the input.

    Notes
    -----
    Specification E 1.9, M 0.3.  The Nyquist row of the result is its positive frequency.
    """
    n = transforms.shape[-2]
    shape = (*transforms.shape[: transforms.ndim - ndim], *((new_size,) * (ndim - 1)))
    result = np.zeros((*shape, new_size // 2 + 1), dtype=transforms.dtype)
    frequencies = fftw_frequencies(min(n, new_size))
    full_axes = [frequencies] * (ndim - 1)
    half_axis = np.arange(min(n, new_size) // 2 + 1)
    source = np.ix_(*(axis % n for axis in full_axes), half_axis)
    target = np.ix_(*(axis % new_size for axis in full_axes), half_axis)
    taken: Any = (..., *source)
    into: Any = (..., *target)
    block = transforms[taken]
    if new_size > n:
        squared = np.add.outer(frequencies**2, half_axis**2)
        if ndim == 3:
            squared = np.add.outer(frequencies**2, squared)
        block[..., squared > (n // 2) ** 2] = 0
    result[into] = block
    return result


def rescale_image(images: NDArray[Any], new_size: int, workers: int | None = None) -> NDArray[Any]:
    """Resample square images to ``new_size`` pixels over the same field by Fourier resizing.

    Parameters
    ----------
    images
        float32 or float64, (..., n, n) with even n.
    new_size
        new even edge, px.
    workers
        threads; None: see `set_workers`.

    Returns
    -------
    float32 or float64, (..., new_size, new_size).  The origin stays at index n//2.
    """
    return _rescale(images, new_size, 2, workers)


def rescale_map(volume: NDArray[Any], new_size: int, workers: int | None = None) -> NDArray[Any]:
    """Resample a map to ``new_size`` voxels over the same extent by Fourier resizing.

    Parameters
    ----------
    volume
        float32 or float64, (n, n, n) with even n.
    new_size
        new even edge, voxels.
    workers
        threads; None: see `set_workers`.

    Returns
    -------
    float32 or float64, (new_size,)*3.  The origin stays at index n//2.  Specification E 3.1.
    """
    return _rescale(volume, new_size, 3, workers)


def _rescale(data: NDArray[Any], new_size: int, ndim: int, workers: int | None) -> NDArray[Any]:
    forward, inverse = (forward_2d, inverse_2d) if ndim == 2 else (forward_3d, inverse_3d)
    transforms = centre_half_transform(forward(data, workers), ndim)
    resized = resize_half_transform(transforms, new_size, ndim)
    return inverse(centre_half_transform(resized, ndim), workers)


def window_map(data: NDArray[Any], new_size: int, ndim: int = 3) -> NDArray[Any]:
    """Crop or zero-pad real data about its origin.

    Parameters
    ----------
    data
        real, the last ``ndim`` axes of edge n; origin at n//2.
    new_size
        new edge, px.
    ndim
        2 for images, 3 for maps.

    Returns
    -------
    Same dtype, new edge, origin at new_size//2; always a new array.
    """
    n = data.shape[-1]
    result = np.zeros((*data.shape[: data.ndim - ndim], *((new_size,) * ndim)), dtype=data.dtype)
    offset = new_size // 2 - n // 2
    span = slice(max(0, offset), min(new_size, n + offset))
    into: Any = (..., *([span] * ndim))
    taken: Any = (..., *([slice(span.start - offset, span.stop - offset)] * ndim))
    result[into] = data[taken]
    return result


def shift_phases(offsets_px: ArrayLike, box_px: int, size: int | None = None) -> NDArray[Any]:
    """Compute the phase factors that shift image content by whole or fractional pixels.

    Parameters
    ----------
    offsets_px
        float, (..., 2) as (x, y); positive moves the content to larger x, y.
    box_px
        edge of the image the offsets refer to, px.
    size
        edge of the half transform the factors are for (a resized one), default ``box_px``.

    Returns
    -------
    complex128, (..., size, size//2+1).

    Notes
    -----
    Specification E 1.10; offsets below 1e-6 of the box in both directions give exactly 1.
    """
    size = box_px if size is None else size
    shifts = np.asarray(offsets_px, dtype=np.float64) / box_px
    still = np.all(np.abs(shifts) < _SMALLEST_SHIFT, axis=-1, keepdims=True)
    shifts = np.where(still, 0.0, shifts)
    along_x = np.exp(-2j * np.pi * shifts[..., 0, None] * np.arange(size // 2 + 1))
    along_y = np.exp(-2j * np.pi * shifts[..., 1, None] * fftw_frequencies(size))
    product: NDArray[Any] = along_y[..., :, None] * along_x[..., None, :]
    return product


def apply_shift(transforms: NDArray[Any], offsets_px: ArrayLike, box_px: int) -> NDArray[Any]:
    """Shift the content of images given by their half transforms (specification E 1.10).

    Parameters
    ----------
    transforms
        complex, (..., size, size//2+1).
    offsets_px
        float, (..., 2) as (x, y), pixels of the full box.
    box_px
        edge of the full box, px.

    Returns
    -------
    complex, (..., size, size//2+1), dtype of ``transforms``.
    """
    phases = shift_phases(offsets_px, box_px, transforms.shape[-2])
    shifted: NDArray[Any] = transforms * phases.astype(transforms.dtype)
    return shifted
