"""Noise and signal power of the reconstruction, data versus prior, coverage (specification M 3)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from clrelion.errors import NumericalError
from clrelion.fourier.shells import half_transform_shells_3d, pixels_per_shell, shell_means
from clrelion.fourier.transforms import forward_3d
from clrelion.maximization.sums import ShellWeights

__all__ = [
    "DATA_VS_PRIOR_OF_EMPTY_SHELL",
    "ReconstructionSpectra",
    "StartedSpectra",
    "average_ctf2",
    "classification_spectra",
    "gold_standard_spectra",
    "initial_spectra",
    "overall_fourier_coverage",
]

DATA_VS_PRIOR_OF_EMPTY_SHELL = 999.0
_SMALLEST_WEIGHT_SUM = 1e-20
_FSC_RANGE = (0.001, 0.999)
_PRIOR_OF_EMPTY_SHELL = 0.001


@dataclass(frozen=True)
class ReconstructionSpectra:
    """Spectra of one class after an M-step, each float64 (N/2+1,).

    Attributes
    ----------
    sigma2
        noise power in the reconstruction (``rlnReferenceSigma2``).
    tau2
        signal power (``rlnReferenceTau2``).
    data_vs_prior
        their ratio (``rlnSsnrMap``).
    fourier_coverage
        fraction of voxels measured better than the prior (``rlnFourierCompleteness``).
    overall_coverage
        its mean over the resolved ball (``rlnOverallFourierCompleteness``).
    """

    sigma2: NDArray[np.float64]
    tau2: NDArray[np.float64]
    data_vs_prior: NDArray[np.float64]
    fourier_coverage: NDArray[np.float64]
    overall_coverage: float


@dataclass(frozen=True)
class StartedSpectra:
    """Spectra of which the device still counts the coverage.

    Attributes
    ----------
    tau2
        As in `ReconstructionSpectra`: what a reconstruction waits for.
    result
        Waits for the rest, and gives them all.
    """

    tau2: NDArray[np.float64]
    result: Callable[[], ReconstructionSpectra]


class _Weights(Protocol):
    """What the spectra need of back-projection sums, on the host or on the device."""

    @property
    def padding_factor(self) -> float: ...
    @property
    def r_max(self) -> int: ...
    def shell_weights(self) -> ShellWeights: ...
    def start_count(
        self, thresholds: NDArray[np.float64]
    ) -> Callable[[], NDArray[np.int64]]: ...


def gold_standard_spectra(
    sums: _Weights, fsc: ArrayLike, tau2_fudge: float = 1.0, is_joined: bool = False
) -> StartedSpectra:
    """Derive the spectra from the FSC of the half-sets (auto-refine).

    Parameters
    ----------
    sums
        symmetrised sums of the half-set, or of both when ``is_joined``.
    fsc
        float64, (N/2+1,).
    tau2_fudge
        T.
    is_joined
        the sums hold both half-sets, so the FSC is raised to that of the full data.

    Returns
    -------
    StartedSpectra

    Notes
    -----
    Specification M 3.1, 3.2, 3.5.  ``tau2`` contains T, and the reconstruction and the coverage
    multiply by T once more (M quirk 5).
    """
    weights = sums.shell_weights()
    sigma2 = _noise_power(sums, weights)
    low, high = _FSC_RANGE
    correlation = np.maximum(low, np.asarray(fsc, dtype=np.float64))
    if is_joined:
        correlation = np.sqrt(2.0 * correlation / (correlation + 1.0))
    correlation = np.minimum(high, correlation)
    ssnr = tau2_fudge * correlation / (1.0 - correlation)
    tau2 = ssnr * sigma2
    measured = _start_coverage(sums, tau2, tau2_fudge, np.ones_like(tau2))
    return _started(sigma2, tau2, ssnr, measured, weights.counts)


def classification_spectra(
    sums: _Weights,
    tau2: ArrayLike,
    tau2_fudge: float = 1.0,
    ctf2: ArrayLike | None = None,
) -> StartedSpectra:
    """Derive the spectra from the power of the current reference (classification).

    Parameters
    ----------
    sums
        symmetrised sums of one class.
    tau2
        float64, (N/2+1,); power spectrum of the reference at the start of the iteration.
    tau2_fudge
        T.
    ctf2
        float64, (N/2+1,); `average_ctf2` of CTF-premultiplied data, else None.

    Returns
    -------
    StartedSpectra
        with ``tau2`` as given.

    Notes
    -----
    Specification M 3.1, 3.3-3.5.
    """
    prior = np.asarray(tau2, dtype=np.float64)
    ctf2 = np.ones_like(prior) if ctf2 is None else np.asarray(ctf2, dtype=np.float64)
    weights = sums.shell_weights()
    sigma2 = _noise_power(sums, weights)
    has_voxels = weights.counts > 0
    counts = np.maximum(weights.counts, 1)
    scale = sums.padding_factor**3 * tau2_fudge
    with_prior = scale * prior * ctf2 * weights.sums / counts
    without_prior = _PRIOR_OF_EMPTY_SHELL * ctf2 * weights.square_sums / counts
    ratio = np.where(prior > 0, with_prior, without_prior)
    ratio[~has_voxels] = DATA_VS_PRIOR_OF_EMPTY_SHELL
    ratio[sums.r_max + 1 :] = 0.0
    measured = _start_coverage(sums, prior, tau2_fudge, ctf2)
    return _started(sigma2, prior.copy(), ratio, measured, weights.counts)


def _started(
    sigma2: NDArray[np.float64],
    tau2: NDArray[np.float64],
    data_vs_prior: NDArray[np.float64],
    measured: Callable[[], NDArray[np.int64]],
    counts: NDArray[np.int64],
) -> StartedSpectra:
    """Spectra whose coverage follows from how many of the voxels of a shell are measured."""

    def result() -> ReconstructionSpectra:
        coverage = np.divide(measured(), counts, out=np.zeros(tau2.size), where=counts > 0)
        overall = overall_fourier_coverage(coverage, data_vs_prior, counts)
        return ReconstructionSpectra(sigma2, tau2, data_vs_prior, coverage, overall)

    return StartedSpectra(tau2, result)


def average_ctf2(
    ctf2_sums: NDArray[np.float64], sumw_group: NDArray[np.float64], ori_size: int
) -> NDArray[np.float64]:
    """Average CTF^2 of premultiplied data over optics groups.

    Parameters
    ----------
    ctf2_sums
        float64, (n_optics, N/2+1); sums over pixels and particles.
    sumw_group
        float64, (n_optics,); sums of posterior weights.
    ori_size
        N, px.

    Returns
    -------
    float64, (N/2+1,); 1 where nothing was summed.  Specification M 3.4.
    """
    expected = sumw_group.sum() * pixels_per_shell(ori_size)
    mean = np.ones(ctf2_sums.shape[1])
    np.divide(ctf2_sums.sum(axis=0), expected, out=mean, where=expected > 0)
    return mean


def initial_spectra(
    reference: NDArray[Any],
    sigma2_noise: NDArray[np.float64],
    n_particles: float,
    tau2_fudge: float = 1.0,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Estimate signal power and data versus prior before the first iteration.

    Parameters
    ----------
    reference
        real, (N, N, N), real space; the low-passed map.
    sigma2_noise
        float64, (n_optics, N/2+1); groups that are all zero are left out of the mean.
    n_particles
        number of particles times the class probability.
    tau2_fudge
        T.

    Returns
    -------
    tau2, data_vs_prior
        float64, (N/2+1,).

    Notes
    -----
    Specification M 3.6, E 3.5.
    """
    n = reference.shape[0]
    n_shells = n // 2 + 1
    transform = forward_3d(np.asarray(reference, dtype=np.float64))
    power = np.square(transform.real) + np.square(transform.imag)
    spectrum = shell_means(power, half_transform_shells_3d(n), n_shells)
    tau2 = tau2_fudge * spectrum * (0.5 * n * n)
    in_use = sigma2_noise[sigma2_noise.any(axis=1)]
    noise = in_use.mean(axis=0) if len(in_use) else np.zeros(n_shells)
    # a shell of a volume has 2i times more voxels than a shell of an image has pixels
    evidence = n_particles / np.maximum(2.0 * np.arange(n_shells), 1.0)
    ratio = np.divide(evidence * tau2, noise, out=np.zeros(n_shells), where=noise > 0)
    return tau2, ratio


def overall_fourier_coverage(
    coverage: NDArray[np.float64], data_vs_prior: NDArray[np.float64], counts: NDArray[np.int64]
) -> float:
    """Average the coverage over the ball up to the last shell before dvp first drops below 1.

    Parameters
    ----------
    coverage, data_vs_prior
        float64, (N/2+1,).
    counts
        int64, (N/2+1,); voxels of each shell.

    Returns
    -------
    fraction in [0, 1].

    Notes
    -----
    Specification M 3.5, with every voxel of the ball counted once.  Only reported; RELION's files
    differ from this by up to 0.08, as it weights the outermost shells less.
    """
    below = np.flatnonzero(data_vs_prior < 1.0)
    n_shells = int(below[0]) if below.size else coverage.size
    total = int(counts[:n_shells].sum())
    return float(coverage[:n_shells] @ counts[:n_shells]) / total if total else 0.0


def _noise_power(sums: _Weights, weights: ShellWeights) -> NDArray[np.float64]:
    """Invert the mean weight of each shell (specification M 3.1)."""
    total = sums.padding_factor**3 * weights.sums
    bad = np.flatnonzero(((total != 0) & (total <= _SMALLEST_WEIGHT_SUM)) | ~np.isfinite(total))
    if bad.size:
        raise NumericalError(
            f"the back-projection weights of shell {bad[0]} sum to {total[bad[0]]:g};"
            " check the noise spectra and the CTF parameters"
        )
    return np.divide(weights.counts, total, out=np.zeros(total.size), where=total > 0)


def _start_coverage(
    sums: _Weights, tau2: NDArray[np.float64], tau2_fudge: float, ctf2: NDArray[np.float64]
) -> Callable[[], NDArray[np.int64]]:
    """Count the voxels whose weight exceeds the prior's (specification M 3.5)."""
    # weight at which W tau'^2 reaches 1; for shells without prior tau'^2 = 0.001 W
    scale = sums.padding_factor**3 * tau2_fudge * tau2 * ctf2
    threshold = np.full(tau2.size, np.inf)
    np.divide(1.0, scale, out=threshold, where=scale > 0)
    bare = (tau2 <= 0) & (ctf2 > 0)
    np.sqrt(1.0 / _PRIOR_OF_EMPTY_SHELL / np.where(bare, ctf2, 1.0), out=threshold, where=bare)
    return sums.start_count(threshold)
