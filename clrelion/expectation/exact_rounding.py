"""Numbers rounded so that float64 adds them up without rounding, in any order.

Each is rounded to a multiple of a power of two so fine that the sum over all particles still has
no more than 53 bits of it.  Sums of several ranks, which each have some of the particles, then are
the sum of one.  If numbers are larger than expected by more than the slack, sums are rounded again.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clrelion.expectation.settings import ExpectationSettings, ImageGeometry
from clrelion.fourier.shells import pixels_per_shell

__all__ = ["SumUnits", "image_units", "rounded"]

_SLACK = 2.0**8
"""Largest number relative to what the noise spectrum lets expect."""
_MANTISSA_BITS = 53

Units = float | NDArray[np.float64]


@dataclass(frozen=True)
class SumUnits:
    """Powers of two for the sums over particles; 0: not rounded.

    Attributes
    ----------
    weight
        Of posterior weights, which are at most 1.
    factor
        Of norm corrections and squared CTFs, which are about 1.
    offset2_angst2, log_likelihood, scale
        Of the summands of the sums of these names.
    """

    weight: float = 0.0
    factor: float = 0.0
    offset2_angst2: float = 0.0
    log_likelihood: float = 0.0
    scale: float = 0.0

    @classmethod
    def of(cls, settings: ExpectationSettings, n_particles: int) -> SumUnits:
        """Choose units for sums over particles of all ranks."""
        power, largest_box = 0.0, 1
        for group, geometry in enumerate(settings.geometry):
            expected = _expected_power(geometry, settings.sigma2_noise[group])
            power = max(power, float(expected.sum()))
            largest_box = max(largest_box, geometry.optics.box_px)
        reach = np.abs(settings.translation_grid.coarse).max(initial=0.0)
        return cls(
            weight=float(_unit(2.0, n_particles)),
            factor=float(_unit(_SLACK, n_particles)),
            offset2_angst2=float(
                _unit(_SLACK * (settings.sigma2_offset_angst2 + reach**2), n_particles)
            ),
            log_likelihood=float(_unit(_SLACK * largest_box**2, n_particles)),
            scale=float(_unit(_SLACK * power, n_particles)),
        )


def image_units(
    geometry: ImageGeometry, sigma2_noise: NDArray[np.float64], n_particles: int
) -> NDArray[np.float64]:
    """Choose units for the residuals of images, float64, (n_box/2+1,), by image shell.

    Parameters
    ----------
    sigma2_noise
        float64, (N/2+1,); of their optics group.
    """
    return _unit(_SLACK * _expected_power(geometry, sigma2_noise), n_particles)


def rounded(values: NDArray[np.float64], unit: Units) -> NDArray[np.float64]:
    """Round to multiples of units; those of unit 0 stay as they are."""
    units = np.asarray(unit)
    is_rounded = units > 0.0
    if not is_rounded.any():
        return values
    steps = np.where(is_rounded, units, 1.0)
    multiples = values / steps
    np.rint(multiples, out=multiples)
    multiples *= steps
    return multiples if is_rounded.all() else np.where(is_rounded, multiples, values)


def _expected_power(
    geometry: ImageGeometry, sigma2_noise: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Power of the noise of an image by image shell; 0 where it is not known."""
    n_shells = geometry.optics.box_px // 2 + 1
    noise = geometry.image_noise(sigma2_noise)
    shells = np.minimum(geometry.model_shells(n_shells), len(noise) - 1)
    power = 2.0 * pixels_per_shell(geometry.optics.box_px)[:n_shells] * noise[shells]
    return np.where(np.isfinite(power), np.maximum(power, 0.0), 0.0)


def _unit(largest: float | NDArray[np.float64], n_particles: int) -> NDArray[np.float64]:
    """Finest power of two whose multiples up to n times ``largest`` are float64; 0 of 0."""
    total = np.asarray(largest, dtype=np.float64) * max(1, n_particles)
    _, exponent = np.frexp(total)  # total < 2^exponent
    return np.where(total > 0.0, np.ldexp(1.0, exponent - _MANTISSA_BITS), 0.0)
