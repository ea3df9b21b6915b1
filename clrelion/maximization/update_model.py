"""Updates of the model parameters from their sums (specification M 4.5-4.10, E C.1)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from clrelion.fourier.filters import shell_low_pass_factors
from clrelion.fourier.shells import pixels_per_shell
from clrelion.maximization.spectra import ReconstructionSpectra
from clrelion.maximization.sums import ParameterSums

__all__ = [
    "average_norm_correction",
    "class_priors",
    "direction_priors",
    "low_pass_spectra",
    "mean_pmax",
    "noise_spectra",
    "offset_variance",
    "scale_corrections",
]

SMALLEST_TOTAL_WEIGHT = 1e-6
"""Below this sum of posteriors the priors keep their values (specification M 4.5)."""

MINIMUM_SIGMA2_OFFSET_ANGST2 = 2.0
"""Default of ``--min_sigma2_offset``, Å^2 (specification M 4.6)."""

_SCALE_RANGE = 5.0
_SMALLEST_SIGMA2_NOISE = 1e-14
_SMALLEST_PREMULTIPLIED_SIGMA2_NOISE = 1e-15


def class_priors(sums: ParameterSums, previous: ArrayLike) -> NDArray[np.float64]:
    """Update the class probabilities.

    Parameters
    ----------
    sums
        of one half-set.
    previous
        float64, (n_classes,); kept if no particle contributed.

    Returns
    -------
    float64, (n_classes,), sum 1.  Specification M 4.5.
    """
    total = sums.total_weight
    if total < SMALLEST_TOTAL_WEIGHT:
        return np.array(previous, dtype=np.float64)
    pdf = np.asarray(sums.pdf_class / total)
    return np.asarray(pdf / pdf.sum())


def direction_priors(sums: ParameterSums, previous: ArrayLike) -> NDArray[np.float64]:
    """Update the direction probabilities; each class's sum is its class probability.

    Parameters
    ----------
    sums
        of one half-set.
    previous
        float64, (n_classes, n_directions); kept if no particle contributed.

    Returns
    -------
    float64, (n_classes, n_directions).  Specification M 4.5.
    """
    total = sums.total_weight
    if total < SMALLEST_TOTAL_WEIGHT:
        return np.array(previous, dtype=np.float64)
    return sums.pdf_direction / total


def offset_variance(
    sums: ParameterSums, previous: float, minimum: float = MINIMUM_SIGMA2_OFFSET_ANGST2
) -> float:
    """Update the variance of the offsets of 2-D images, Å^2 (specification M 4.6)."""
    total = sums.total_weight
    if total < SMALLEST_TOTAL_WEIGHT:
        return previous
    return max(sums.sigma2_offset_sum / (2.0 * total), minimum)


def average_norm_correction(sums: ParameterSums, previous: float) -> float:
    """Update the mean norm correction (``--norm``; specification M 4.7)."""
    total = sums.total_weight
    return previous if total < SMALLEST_TOTAL_WEIGHT else sums.norm_sum / total


def mean_pmax(sums: ParameterSums) -> float:
    """Give the mean largest posterior of the particles; 0 without particles (E C.1)."""
    total = sums.total_weight
    return 0.0 if total < SMALLEST_TOTAL_WEIGHT else sums.pmax_sum / total


def scale_corrections(sums: ParameterSums, n_particles: ArrayLike) -> NDArray[np.float64]:
    """Update the intensity scale of each micrograph group (``--scale``).

    Parameters
    ----------
    sums
        of one half-set.
    n_particles
        int, (n_groups,); particles of each group in this half-set.

    Returns
    -------
    float64, (n_groups,); weighted mean 1, all 1 if there is only one group.

    Notes
    -----
    Specification M 4.8.  Not to be called in cross-correlation iterations.
    """
    n = np.asarray(n_particles, dtype=np.float64)
    if n.size <= 1:
        return np.ones(n.size)
    scale = np.divide(sums.scale_xa, sums.scale_aa, out=np.ones(n.size), where=sums.scale_aa > 0)
    middle = float(np.sort(scale)[n.size // 2])
    scale = np.minimum(np.maximum(scale, middle / _SCALE_RANGE), middle * _SCALE_RANGE)
    mean = float(n @ scale) / n.sum() if n.sum() > 0 else 0.0
    return scale / mean if mean > 0 else scale


def noise_spectra(
    sums: ParameterSums,
    previous: NDArray[np.float64],
    is_premultiplied: ArrayLike | None = None,
) -> NDArray[np.float64]:
    """Update the noise spectra of the images.

    Parameters
    ----------
    sums
        of one half-set.
    previous
        float64, (n_optics, N/2+1); kept for optics groups that received nothing.
    is_premultiplied
        bool, (n_optics,); optics groups whose data are CTF-premultiplied.

    Returns
    -------
    float64, (n_optics, N/2+1); variance of one component of a Fourier pixel.

    Notes
    -----
    Specification M 4.9.  Not to be called in cross-correlation iterations.
    """
    n_optics, n_shells = previous.shape
    premultiplied = (
        np.zeros(n_optics, dtype=np.bool_)
        if is_premultiplied is None
        else np.asarray(is_premultiplied, dtype=np.bool_)
    )
    result = np.array(previous, dtype=np.float64)
    counts = pixels_per_shell(2 * (n_shells - 1))
    received = (sums.sigma2_noise.sum(axis=1) > 0) & (sums.sumw_group > 0)
    for group in np.flatnonzero(received):
        spectrum = sums.sigma2_noise[group] / (2.0 * sums.sumw_group[group] * counts)
        if premultiplied[group]:
            spectrum = np.maximum(spectrum, _SMALLEST_PREMULTIPLIED_SIGMA2_NOISE)
        usable = spectrum >= _SMALLEST_SIGMA2_NOISE
        usable[0] = True
        # each unusable shell takes the value of the last usable one before it
        source = np.maximum.accumulate(np.where(usable, np.arange(n_shells), 0))
        result[group] = spectrum[source]
    return result


def low_pass_spectra(
    spectra: ReconstructionSpectra, ori_size: int, pixel_size_angst: float, ini_high_angst: float
) -> ReconstructionSpectra:
    """Multiply tau2 and data versus prior by the squared filter (specification M 4.10)."""
    factors = shell_low_pass_factors(ori_size, pixel_size_angst, ini_high_angst) ** 2
    return replace(
        spectra, tau2=spectra.tau2 * factors, data_vs_prior=spectra.data_vs_prior * factors
    )
