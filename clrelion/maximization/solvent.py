"""Solvent flattening of references (specification M 4.4, E 3.6)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clrelion.fourier.filters import low_pass_map
from clrelion.fourier.masks import raised_cosine_mask

__all__ = ["SolventMasks", "flatten_solvent", "spherical_solvent_mask"]


@dataclass(frozen=True)
class SolventMasks:
    """Masks of one run, each float64 (N, N, N) in [0, 1], on the grid of the model.

    Attributes
    ----------
    solvent
        multiplies the reference: a user's mask or `spherical_solvent_mask`.
    second
        ``--solvent_mask2``; the reference is set to its mean there.
    low_pass
        ``--lowpass_mask``; here the reference is kept, but low-passed.
    low_pass_angst
        ``--lowpass``, Å.
    """

    solvent: NDArray[np.float64]
    second: NDArray[np.float64] | None = None
    low_pass: NDArray[np.float64] | None = None
    low_pass_angst: float = 0.0


def spherical_solvent_mask(
    ori_size: int,
    pixel_size_angst: float,
    particle_diameter_angst: float,
    width_mask_edge_px: float,
) -> NDArray[np.float64]:
    """Make the soft sphere that stands in for a user's mask.

    Parameters
    ----------
    ori_size
        N, voxels.
    pixel_size_angst
        Å/px.
    particle_diameter_angst
        diameter of the sphere, Å.
    width_mask_edge_px
        width of the raised-cosine edge outside the sphere, px.

    Returns
    -------
    float64, (N, N, N).  Specification M 4.4.
    """
    radius = particle_diameter_angst / (2.0 * pixel_size_angst)
    return raised_cosine_mask(ori_size, radius, width_mask_edge_px)


def flatten_solvent(
    reference: NDArray[Any], masks: SolventMasks, pixel_size_angst: float
) -> NDArray[Any]:
    """Remove density outside the particle.

    Parameters
    ----------
    reference
        real, (N, N, N), real space, origin N//2.
    masks
        masks of the run.
    pixel_size_angst
        Å/px.

    Returns
    -------
    Same shape, float64, a new array.

    Notes
    -----
    Specification M 4.4; skipped in the converged iteration.
    """
    flattened: NDArray[Any] = reference * masks.solvent
    if masks.low_pass is not None:
        flattened += low_pass_map(
            reference * masks.low_pass,
            pixel_size_angst,
            masks.low_pass_angst,
            round_to_shell=True,
        )
    if masks.second is not None:
        total = float(masks.second.sum())
        mean = float((masks.second * flattened).sum()) / total if total > 0 else 0.0
        flattened = (1.0 - masks.second) * flattened + masks.second * mean
    return flattened
