"""Soft solvent masks from a map: threshold, extend, soften (specification M 8)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from clrelion.errors import ImageError
from clrelion.fourier.filters import low_pass_map
from clrelion.fourier.padded import squared_radii

__all__ = ["MaskRules", "automatic_threshold", "make_mask", "soften"]

_NOISE_SDS = 5.0
"""Density counts as particle from so many standard deviations of the solvent on."""

_SMALLEST_PART = 0.05
"""Pieces below this fraction of the largest one are noise."""

_MAD_TO_SD = 1.4826


@dataclass(frozen=True)
class MaskRules:
    """How a mask is made.

    Attributes
    ----------
    threshold
        Density at which the low-passed map is cut; None: see `automatic_threshold`.
    low_pass_angst
        The map is low-passed to this resolution before, Å; 0 or less: not at all.
    extend_px, width_edge_px
        The cut-out is grown by this, and this is the width of the raised-cosine edge outside it.
    """

    threshold: float | None = None
    low_pass_angst: float = 15.0
    extend_px: float = 3.0
    width_edge_px: float = 6.0


def make_mask(
    volume: NDArray[Any], pixel_size_angst: float, rules: MaskRules
) -> tuple[NDArray[np.float32], float]:
    """Make a soft mask around the density of a map.

    Parameters
    ----------
    volume
        Real, (N, N, N), real space.
    pixel_size_angst
        Å/px.
    rules
        How.

    Returns
    -------
    mask
        float32, (N, N, N) in [0, 1].
    threshold
        The density that it was cut at.

    Raises
    ------
    ImageError
        Nothing, or everything, is above the threshold.

    Notes
    -----
    With a given threshold this is ``relion_mask_create``; without one, small pieces of noise are
    left out and closed holes filled as well.
    """
    filtered = low_pass_map(volume, pixel_size_angst, rules.low_pass_angst, round_to_shell=True)
    threshold = rules.threshold
    if threshold is None:
        threshold = automatic_threshold(filtered)
        inside = ndimage.binary_fill_holes(_large_parts(filtered >= threshold))
    else:
        inside = filtered >= threshold
    if not inside.any():
        raise ImageError(
            f"no density reaches the mask's threshold {threshold:.4g} (largest: "
            f"{float(filtered.max()):.4g}); give a lower --inimask_threshold"
        )
    if inside.all():
        raise ImageError(
            f"all of the map is above the mask's threshold {threshold:.4g}; "
            "give a higher --inimask_threshold"
        )
    return soften(inside, rules.extend_px, rules.width_edge_px), threshold


def automatic_threshold(volume: NDArray[Any]) -> float:
    """Find the density that stands out of the solvent.

    Parameters
    ----------
    volume
        Real, (N, N, N); low-passed.

    Returns
    -------
    float
        Median plus five standard deviations of the voxels within the sphere of the box. Most of
        these are solvent, so their median and median absolute deviation are the solvent's.
    """
    n = volume.shape[0]
    sphere = volume[squared_radii(n) <= (n // 2) ** 2]
    middle = float(np.median(sphere))
    deviation = _MAD_TO_SD * float(np.median(np.abs(sphere - middle)))
    return middle + _NOISE_SDS * deviation


def soften(
    inside: NDArray[np.bool_], extend_px: float, width_edge_px: float
) -> NDArray[np.float32]:
    """Grow a set of voxels and give it a soft edge.

    Parameters
    ----------
    inside
        bool, (N, N, N).
    extend_px
        Voxels nearer than this to the set join it.
    width_edge_px
        Width of the edge 0.5 + 0.5 cos(pi d / width) outside it.

    Returns
    -------
    float32, (N, N, N) in [0, 1].  Specification M 8.
    """
    if extend_px > 0:
        inside = inside | (_distance(inside, extend_px) < extend_px)
    mask = inside.astype(np.float32)
    if width_edge_px > 0:
        distance = _distance(inside, width_edge_px)
        edge = ~inside & (distance < width_edge_px)
        mask[edge] = 0.5 + 0.5 * np.cos(np.pi * distance[edge] / width_edge_px)
    return mask


def _distance(inside: NDArray[np.bool_], reach_px: float) -> NDArray[np.float32]:
    """Distance to the nearest voxel of a set, px; beyond ``reach_px`` only known to be larger."""
    result = np.full(inside.shape, np.inf, dtype=np.float32)
    margin = int(np.ceil(reach_px))
    box = tuple(
        slice(max(0, found[0] - margin), found[-1] + margin + 1)
        for axis in range(3)
        if (found := np.flatnonzero(inside.any(axis=tuple({0, 1, 2} - {axis})))).size
    )
    result[box] = ndimage.distance_transform_edt(~inside[box])
    return result


def _large_parts(inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Leave out connected pieces that are small beside the largest."""
    labels, n_parts = ndimage.label(inside)
    if n_parts == 0:
        return inside
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    is_large = sizes >= _SMALLEST_PART * sizes.max()
    is_large[0] = False
    return np.asarray(is_large[labels])
