"""Sharpening of an averaged map: MTF, FSC weighting, B-factor, low-pass (specification M 8.6).

Each of the four is a function of the radius alone, so that they are one table over the squared
integer radius, and the curves of the Guinier plot follow from one pass over the transform.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clrelion.errors import NumericalError
from clrelion.fourier.filters import (
    low_pass_factors,
    multiply_by_radius,
    nearest_shell_resolution,
)
from clrelion.fourier.shells import fftw_frequencies, squared_radius_shells
from clrelion.fourier.transforms import forward_3d, inverse_3d
from clrelion.io.mtf import MtfCurve

__all__ = ["EMPTY_SHELL", "Guinier", "SharpenRules", "Sharpening", "sharpen", "sharpened_map"]

EMPTY_SHELL = -99.0
"""Logarithm written for a shell without amplitude."""

_SMALLEST_FSC = 1e-4


@dataclass(frozen=True)
class SharpenRules:
    """What is done to the map.

    Attributes
    ----------
    mtf
        Detector's MTF to divide by, or None.
    weight_by_fsc
        Multiply by sqrt(2 FSC / (1 + FSC)).
    fit_bfactor
        Estimate the B-factor from the Guinier plot; else ``bfactor_angst2`` is applied (0: none).
    fit_lowres_angst, fit_highres_angst
        Resolutions of the fit, Å.
    low_pass_angst
        Å; 0 or less: none.
    low_pass_edge
        Width of its edge, shells.
    """

    mtf: MtfCurve | None = None
    weight_by_fsc: bool = True
    fit_bfactor: bool = False
    bfactor_angst2: float = 0.0
    fit_lowres_angst: float = 10.0
    fit_highres_angst: float = 0.0
    low_pass_angst: float = 0.0
    low_pass_edge: float = 2.0


@dataclass(frozen=True)
class Guinier:
    """Logarithms of the mean amplitude by shell, each float64, (N/2+1,); -99: empty shell.

    Attributes
    ----------
    resolution_squared_inv_angst2
        1/d^2 of the shells.
    original, weighted, sharpened
        As averaged; after FSC weighting (and MTF); at the end, without the low-pass.
    mtf_corrected
        After division by the MTF; None without one.
    slope, intercept, correlation
        Of the straight line (the correlation squared); None unless it was fitted.
    """

    resolution_squared_inv_angst2: NDArray[np.float64]
    original: NDArray[np.float64]
    mtf_corrected: NDArray[np.float64] | None
    weighted: NDArray[np.float64]
    sharpened: NDArray[np.float64]
    slope: float | None = None
    intercept: float | None = None
    correlation: float | None = None


@dataclass(frozen=True)
class Sharpening:
    """What sharpening found.

    Attributes
    ----------
    factors
        float64, (3 (N/2)^2 + 1,); factor at each squared radius.
    bfactor_angst2
        B that was applied, Å^2.
    guinier
        The curves.
    """

    factors: NDArray[np.float64]
    bfactor_angst2: float
    guinier: Guinier


def sharpen(
    volume: NDArray[Any], pixel_size_angst: float, fsc: NDArray[np.float64], rules: SharpenRules
) -> tuple[NDArray[Any], Sharpening]:
    """Sharpen a map.

    Parameters
    ----------
    volume
        Real, (N, N, N), real space: the average of the two half maps.
    pixel_size_angst
        Å/px.
    fsc
        float64, (N/2+1,); for the weights.
    rules
        What is done.

    Returns
    -------
    volume
        Same shape and dtype, a new array.
    Sharpening
        To apply to other maps of this size, and for the plots.

    Raises
    ------
    NumericalError
        There are fewer than two shells to fit a B-factor to.

    Notes
    -----
    Specification M 8.6.
    """
    n = volume.shape[0]
    transform = forward_3d(volume)
    sums, counts = _amplitudes_by_radius(transform)
    squares = np.arange(sums.size, dtype=np.float64)
    frequency = np.sqrt(squares) / (n * pixel_size_angst)
    in_range = squares <= (n // 2) ** 2
    factors = np.ones(sums.size)
    curves = [_log_means(sums, counts, n)]
    if rules.mtf is not None:
        below = squares < (n // 2) ** 2
        factors[below] /= rules.mtf.at(frequency[below])
        curves.append(_log_means(sums * factors, counts, n))
    if rules.weight_by_fsc:
        factors *= _fsc_weights(fsc, sums.size)
    weighted = _log_means(sums * factors, counts, n)
    shell_squares = (np.arange(n // 2 + 1) / (n * pixel_size_angst)) ** 2
    bfactor, line = rules.bfactor_angst2, None
    if rules.fit_bfactor:
        line = _fit(shell_squares, weighted, rules)
        bfactor = 4.0 * line[0]
    if bfactor != 0.0:
        # exponents of corners are never used: they are cut off
        exponent = np.where(in_range, -0.25 * bfactor * frequency**2, 0.0)
        factors *= np.where(in_range, np.exp(exponent), 0.0)
    guinier = Guinier(
        shell_squares,
        curves[0],
        curves[1] if rules.mtf is not None else None,
        weighted,
        _log_means(sums * factors, counts, n),
        *(line or ()),
    )
    if rules.low_pass_angst > 0:
        resolution = nearest_shell_resolution(rules.low_pass_angst, n, pixel_size_angst)
        radii = np.sqrt(squares)
        factors *= low_pass_factors(radii, n, pixel_size_angst, resolution, rules.low_pass_edge)
    multiply_by_radius(transform, factors)
    return inverse_3d(transform), Sharpening(factors, bfactor, guinier)


def sharpened_map(volume: NDArray[Any], sharpening: Sharpening) -> NDArray[Any]:
    """Do to another map what was done to the average of the half maps.

    Parameters
    ----------
    volume
        Real, (N, N, N), real space.
    sharpening
        From `sharpen`.

    Returns
    -------
    Same shape and dtype, a new array.
    """
    transform = forward_3d(volume)
    multiply_by_radius(transform, sharpening.factors)
    return inverse_3d(transform)


def _fsc_weights(fsc: NDArray[np.float64], n_radii: int) -> NDArray[np.float64]:
    """sqrt(2 FSC/(1 + FSC)) up to the shell before FSC first falls below 1e-4, then 0."""
    below = np.flatnonzero(fsc[1:] < _SMALLEST_FSC)
    last = int(below[0]) if below.size else fsc.size - 1
    weights = np.zeros(fsc.size)
    kept = np.clip(fsc[: last + 1], 0.0, None)
    weights[: last + 1] = np.sqrt(2.0 * kept / (1.0 + kept))
    shells = squared_radius_shells(n_radii - 1, 1.0)
    return np.append(weights, 0.0)[np.minimum(shells, fsc.size)]


def _fit(
    squares: NDArray[np.float64], logs: NDArray[np.float64], rules: SharpenRules
) -> tuple[float, float, float]:
    """Fit a straight line to the Guinier plot; slope, intercept and squared correlation."""
    low = 1.0 / rules.fit_lowres_angst**2
    high = 1.0 / rules.fit_highres_angst**2 if rules.fit_highres_angst > 0 else np.inf
    chosen = (squares >= low) & (squares <= high) & (logs > EMPTY_SHELL)
    if chosen.sum() < 2:
        raise NumericalError(
            f"--auto_bfac: {int(chosen.sum())} shells lie between --autob_lowres "
            f"{rules.fit_lowres_angst:g} Å and --autob_highres or the last shell with signal; give "
            "a larger --autob_lowres, or --adhoc_bfac"
        )
    x, y = squares[chosen], logs[chosen]
    slope, intercept = np.polyfit(x, y, 1)
    # its square is what RELION calls rlnCorrelationFitGuinierPlot
    correlation = float(np.corrcoef(x, y)[0, 1]) if y.std() > 0 else 1.0
    return float(slope), float(intercept), correlation**2


def _amplitudes_by_radius(
    transform: NDArray[Any],
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Sum |F| and count coefficients at each squared radius of a half transform."""
    n = transform.shape[0]
    squares = fftw_frequencies(n) ** 2
    squares_yx = squares[:, None] + np.arange(n // 2 + 1) ** 2
    n_radii = 3 * (n // 2) ** 2 + 1
    sums, counts = np.zeros(n_radii), np.zeros(n_radii, dtype=np.int64)
    for plane, square in zip(transform, squares.tolist(), strict=True):
        radii = (squares_yx + square).ravel()
        found = np.bincount(radii, weights=np.abs(plane).ravel())
        sums[: found.size] += found
        counts[: found.size] += np.bincount(radii)
    return sums, counts


def _log_means(
    sums: NDArray[np.float64], counts: NDArray[np.int64], n: int
) -> NDArray[np.float64]:
    """Logarithm of the mean amplitude of each shell up to Nyquist."""
    shells = np.minimum(squared_radius_shells(sums.size - 1, 1.0), n // 2 + 1)
    totals = np.bincount(shells, sums, minlength=n // 2 + 2)[: n // 2 + 1]
    numbers = np.bincount(shells, counts, minlength=n // 2 + 2)[: n // 2 + 1]
    result = np.full(n // 2 + 1, EMPTY_SHELL)
    is_filled = totals > 0
    result[is_filled] = np.log(totals[is_filled] / numbers[is_filled])
    return result
