"""Raised-cosine spheres, background filling and user masks (specification M 4.4, E 3.6, 5.2)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from clrelion.errors import ImageError
from clrelion.fourier.shells import round_half_away_int
from clrelion.fourier.transforms import rescale_map, window_map

__all__ = [
    "background_ramp",
    "background_weights",
    "fill_background",
    "prepare_solvent_mask",
    "raised_cosine_mask",
]

_PIXEL_SIZE_TOLERANCE_ANGST = 1e-3
_MASK_RANGE_TOLERANCE = 1e-3


def background_weights(
    n: int, radius_px: float, width_px: float, ndim: int = 3
) -> NDArray[np.float64]:
    """Compute the weight g of each voxel in the background of a soft sphere.

    Parameters
    ----------
    n
        edge of the image or map, px; origin n//2.
    radius_px
        r0: g is 0 for r < r0.
    width_px
        e: g is 1 for r > r0 + e and 0.5 + 0.5 cos(pi (r0 + e - r)/e) between.
    ndim
        2 for images, 3 for maps.

    Returns
    -------
    float64, (n,)*ndim.

    Notes
    -----
    Specification M 4.4 (``softmask``), E 5.2 step 5.
    """
    axis = (np.arange(n, dtype=np.int64) - n // 2) ** 2
    # a table over the squared integer radius: the ramp is evaluated once a shell, not once a voxel
    radii = np.sqrt(np.arange(ndim * (n // 2) ** 2 + 1, dtype=np.float64))
    table = background_ramp(radii, radius_px, width_px)
    squares = axis[:, None] + axis
    if ndim == 2:
        return np.asarray(table[squares])
    return np.stack([table[squares + plane] for plane in axis])


def raised_cosine_mask(
    n: int, radius_px: float, width_px: float, ndim: int = 3
) -> NDArray[np.float64]:
    """Compute a soft-edged sphere or disc: 1 inside, 0 outside, the edge outside ``radius_px``.

    Parameters are those of `background_weights`.

    Returns
    -------
    float64, (n,)*ndim in [0, 1].  Specification E 3.6, M 4.4.
    """
    return 1.0 - background_weights(n, radius_px, width_px, ndim)


def fill_background(
    data: NDArray[Any], radius_px: float, width_px: float, ndim: int = 3
) -> NDArray[Any]:
    """Replace everything outside a soft sphere by the average found there.

    Parameters
    ----------
    data
        real, (..., n, n) or (..., n, n, n); origin n//2; leading axes are a batch.
    radius_px, width_px
        sphere radius and width of the edge outside it, px.
    ndim
        2 for images, 3 for maps.

    Returns
    -------
    Same shape and dtype: (1-g) v + g bg with bg = sum(g v)/sum(g), per image.

    Notes
    -----
    Specification M 4.4 (``softmask``), E 5.2 step 5 (``--zero_mask``).  A sphere that holds the
    whole box leaves the data unchanged.
    """
    weights = background_weights(data.shape[-1], radius_px, width_px, ndim)
    total = float(weights.sum())
    if total == 0:
        return np.array(data)
    flat = data.reshape(*data.shape[: data.ndim - ndim], -1)
    background = np.asarray(flat @ weights.ravel().astype(data.dtype)) / total
    shift = background.reshape(*background.shape, *([1] * ndim)).astype(data.dtype) - data
    result: NDArray[Any] = data + weights.astype(data.dtype) * shift
    return result


def prepare_solvent_mask(
    mask: NDArray[Any],
    mask_pixel_size_angst: float,
    ori_size: int,
    pixel_size_angst: float,
    name: str = "the solvent mask",
) -> NDArray[np.float64]:
    """Bring a user's mask to the box and pixel size of the model.

    Parameters
    ----------
    mask
        real, (n, n, n) with even n, real space, origin n//2.
    mask_pixel_size_angst
        its pixel size, Å/px.
    ori_size
        model box, voxels.
    pixel_size_angst
        model pixel size, Å/px.
    name
        file name for messages.

    Returns
    -------
    float64, (N, N, N) in [0, 1].

    Raises
    ------
    ImageError
        if the mask is not cubic and even or has values outside [0, 1].

    Notes
    -----
    Specification E 3.6, M 4.4.
    """
    n = mask.shape[0]
    if mask.ndim != 3 or mask.shape != (n, n, n) or n % 2:
        raise ImageError(f"{name}: a mask must be a cube of even size, this one is {mask.shape}")
    low, high = float(mask.min()), float(mask.max())
    if not (low >= -_MASK_RANGE_TOLERANCE and high <= 1.0 + _MASK_RANGE_TOLERANCE):
        raise ImageError(
            f"{name}: mask values must lie in [0, 1], these run from {low:g} to {high:g};"
            " make a mask with relion_mask_create"
        )
    result = np.asarray(mask, dtype=np.float64)
    if abs(mask_pixel_size_angst - pixel_size_angst) > _PIXEL_SIZE_TOLERANCE_ANGST:
        size = round_half_away_int(n * mask_pixel_size_angst / pixel_size_angst)
        result = rescale_map(result, size - size % 2)
    if result.shape[0] != ori_size:
        result = window_map(result, ori_size)
    return np.clip(result, 0.0, 1.0)


def background_ramp(radii: ArrayLike, radius: float, width: float) -> NDArray[np.float64]:
    """Compute the weight of `background_weights` at given radii, px; a step at zero width."""
    r = np.asarray(radii, dtype=np.float64)
    if width <= 0:
        return np.asarray(r > radius, dtype=np.float64)
    ramp = 0.5 + 0.5 * np.cos(np.pi * (radius + width - r) / width)
    return np.asarray(np.where(r < radius, 0.0, np.where(r > radius + width, 1.0, ramp)))
