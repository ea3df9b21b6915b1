"""Fourier shell correlation of the two half-sets (specification M 1.6, 1.7)."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clrelion.fourier.fsc import first_shell_below, map_fsc, phase_randomised_fsc, transform_fsc
from clrelion.fourier.shells import round_half_away
from clrelion.maximization.sums import BackprojectionSums

__all__ = [
    "SolventCorrectedFsc",
    "averages_fsc",
    "bin_starts",
    "downsampled_average",
    "half_set_fsc",
    "solvent_corrected_fsc",
]

logger = logging.getLogger(__name__)

_RANDOMISE_BELOW_FSC = 0.8
"""Phases are randomised from the first shell whose unmasked FSC falls below this."""


def downsampled_average(sums: BackprojectionSums) -> NDArray[np.complex128]:
    """Average the data of each unpadded Fourier voxel, weighted by the weights.

    Parameters
    ----------
    sums
        symmetrised, low-resolution-joined sums of one half-set.

    Returns
    -------
    complex128, (2r+1, 2r+1, r+1), r = rnd((P+1)/p); centred half array on the scale of 2-D
    transforms, 0 where nothing was measured.

    Notes
    -----
    Specification M 1.6 A; voxels beyond the radius P contribute as well.
    """
    starts, half_starts = bin_starts(sums.padding_factor, sums.padded_radius)
    data = _bin_sums(sums.data, starts, half_starts, np.complex128)
    weight = _bin_sums(sums.weight, starts, half_starts, np.float64)
    average = np.zeros(data.shape, dtype=np.complex128)
    np.divide(data, weight, out=average, where=weight > 0)
    return average


def bin_starts(
    padding_factor: float, padded_radius: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Give the first index of each unpadded Fourier pixel along the axes of a centred half array.

    Returns
    -------
    starts, half_starts
        int64, (2r+1,) for z and y, (r+1,) for x.  Rounding is monotonic, so that bins are runs.
    """
    edge = padded_radius + 1
    axis = round_half_away(np.arange(-edge, edge + 1) / padding_factor)
    half = axis[edge:]
    return (
        np.flatnonzero(np.diff(axis, prepend=axis[0] - 1)),
        np.flatnonzero(np.diff(half, prepend=-1)),
    )


def half_set_fsc(first: BackprojectionSums, second: BackprojectionSums) -> NDArray[np.float64]:
    """Correlate two half-sets without a mask, before any reconstruction.

    Parameters
    ----------
    first, second
        symmetrised, low-resolution-joined sums.

    Returns
    -------
    float64, (N/2+1,); 1 at shell 0, 0 beyond R.  Specification M 1.6.
    """
    return averages_fsc(
        downsampled_average(first), downsampled_average(second), first.r_max, first.ori_size
    )


def averages_fsc(
    one: NDArray[np.complex128], two: NDArray[np.complex128], r_max: int, ori_size: int
) -> NDArray[np.float64]:
    """Correlate the averages of two half-sets (`downsampled_average`).

    Parameters
    ----------
    one, two
        complex128, (2r+1, 2r+1, r+1).
    r_max, ori_size
        R and N.

    Returns
    -------
    float64, (N/2+1,); 1 at shell 0, 0 beyond R.
    """
    radius = one.shape[2] - 1
    axis = np.arange(-radius, radius + 1) ** 2
    squared = axis[:, None, None] + (axis[:, None] + np.arange(radius + 1) ** 2)
    n_shells = r_max + 1
    shells = round_half_away(np.sqrt(squared))
    shells[squared > r_max**2] = n_shells
    fsc = np.zeros(ori_size // 2 + 1)
    fsc[:n_shells] = transform_fsc(one, two, shells, n_shells)
    fsc[0] = 1.0
    return fsc


@dataclass(frozen=True)
class SolventCorrectedFsc:
    """FSC corrected for the correlation that a mask brings in.

    Attributes
    ----------
    corrected
        float64, (N/2+1,); what the refinement uses.
    unmasked, masked, randomised
        float64, (N/2+1,); FSC of the maps as they are, masked, and masked with random phases (0 if
        no phases were randomised).
    first_random_shell
        shell from which phases were randomised; -1 if the unmasked FSC never fell below 0.8.
    """

    corrected: NDArray[np.float64]
    unmasked: NDArray[np.float64]
    masked: NDArray[np.float64]
    randomised: NDArray[np.float64]
    first_random_shell: int


def solvent_corrected_fsc(
    first: NDArray[Any],
    second: NDArray[Any],
    mask: NDArray[Any],
    current_size: int,
    rng: np.random.Generator,
) -> SolventCorrectedFsc:
    """Correlate two unregularised half-maps within a mask (``--solvent_correct_fsc``).

    Parameters
    ----------
    first, second
        real, (N, N, N), real space; unregularised reconstructions of the half-sets.
    mask
        real, (N, N, N) in [0, 1].
    current_size
        n_cur, px; the FSC is 0 from shell n_cur/2 + 1 on.
    rng
        source of the random phases.

    Returns
    -------
    SolventCorrectedFsc

    Notes
    -----
    Specification M 1.7.
    """
    unmasked = map_fsc(first, second)
    masked = map_fsc(first * mask, second * mask)
    below = first_shell_below(unmasked, _RANDOMISE_BELOW_FSC)
    if below is None:
        logger.warning(
            "the FSC of the unmasked half-maps never falls below %g: it is used uncorrected",
            _RANDOMISE_BELOW_FSC,
        )
        shell, randomised, corrected = -1, np.zeros_like(masked), unmasked.copy()
    else:
        shell = below
        randomised = phase_randomised_fsc(first, second, mask, shell, rng)
        corrected = masked.copy()
        beyond = slice(shell + 2, None)
        signal, chance = masked[beyond], randomised[beyond]
        corrected[beyond] = np.divide(
            signal - chance, 1.0 - chance, out=np.zeros_like(signal), where=chance <= signal
        )
    corrected[current_size // 2 + 1 :] = 0.0
    return SolventCorrectedFsc(corrected, unmasked, masked, randomised, shell)


def _bin_sums(
    array: NDArray[Any], starts: NDArray[np.int64], half_starts: NDArray[np.int64], dtype: Any
) -> NDArray[Any]:
    """Add up runs of voxels along each axis; rounding is monotonic, so bins are runs."""
    summed = np.zeros((starts.size, starts.size, array.shape[2]), dtype=dtype)
    bins = np.searchsorted(starts, np.arange(array.shape[0]), side="right") - 1
    for plane, i_bin in zip(array, bins, strict=True):
        summed[i_bin] += np.add.reduceat(plane.astype(dtype, copy=False), starts, axis=0)
    result: NDArray[Any] = np.add.reduceat(summed, half_starts, axis=2)
    return result
