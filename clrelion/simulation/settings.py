"""What a simulated data set is like; checked when it is made."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clrelion.errors import OptionsError

__all__ = ["PreferredView", "SimulatedOptics", "SimulationSettings"]

_SOLVENT_BFACTOR = 200.0  # Å^2; the solvent follows the molecule's outline, not its atoms


def _check(name: str, value: float, allowed: bool, what: str) -> None:
    if not allowed or math.isnan(value):
        raise OptionsError(f"simulate: {name} is {value:g}; it must be {what}")


@dataclass(frozen=True)
class SimulatedOptics:
    """One optics group.

    Attributes
    ----------
    box_px, pixel_size_angst
        Edge of its images, px, even; Å/px.
    voltage_kv, spherical_aberration_mm, amplitude_contrast
        kV; mm; fraction.
    """

    box_px: int
    pixel_size_angst: float
    voltage_kv: float = 300.0
    spherical_aberration_mm: float = 2.7
    amplitude_contrast: float = 0.1

    def __post_init__(self) -> None:
        """Check the values."""
        even = self.box_px % 2 == 0 and 16 <= self.box_px <= 4096
        _check("box", self.box_px, even, "even, 16 to 4096 px")
        _check("angpix", self.pixel_size_angst, self.pixel_size_angst > 0, "positive")
        _check("voltage", self.voltage_kv, 10 <= self.voltage_kv <= 2000, "10 to 2000 kV")
        _check("cs", self.spherical_aberration_mm, self.spherical_aberration_mm >= 0, ">= 0")
        _check("ac", self.amplitude_contrast, 0 <= self.amplitude_contrast < 1, "0 to below 1")

    @property
    def extent_angst(self) -> float:
        """Edge of the images, Å."""
        return self.box_px * self.pixel_size_angst


@dataclass(frozen=True)
class PreferredView:
    """A viewing direction that is seen more often.

    Attributes
    ----------
    rot_deg, tilt_deg
        The direction, degrees.
    spread_deg
        Standard deviation of the directions around it, degrees.
    share
        Fraction of the particles seen from there; all others come from anywhere.
    """

    rot_deg: float
    tilt_deg: float
    spread_deg: float
    share: float

    def __post_init__(self) -> None:
        """Check the values."""
        _check("--preferred spread", self.spread_deg, 0 < self.spread_deg <= 90, "0 to 90 degrees")
        _check("--preferred share", self.share, 0 <= self.share <= 1, "0 to 1")


@dataclass(frozen=True)
class SimulationSettings:
    """A data set.

    Attributes
    ----------
    n_particles
        Particles in all.
    optics
        Optics groups; each gets an equal run of micrographs.
    seed
        Of everything random.
    snr
        Variance of the signal inside the circle of the box, over that of the noise, on average;
        infinite: no noise, and the images are not normalised.
    has_ctf
        Images are multiplied by a CTF.
    defocus_angst
        Least and largest mean underfocus of a micrograph, Å.
    astigmatism_angst
        Largest difference of the two underfoci, Å.
    bfactor
        B of the envelope exp(-B q^2/4), Å^2; part of the true map.
    solvent_contrast
        The solvent takes exp(-200 q^2/4) times this away from the signal; part of the true map.
    shift_sd_px
        Standard deviation of the shifts in x and y, px; cut off at three times this.
    noise_colour, noise_colour_angst
        Power of the noise is 1 + colour / (1 + (q angst)^2), brought to variance 1; 0 is white.
    amplitude_spread
        Standard deviation of the intensity from micrograph to micrograph, relative.
    particles_per_micrograph
        How many share a micrograph, hence a scale group.
    state_shares
        Relative abundance of the states; empty: equal.
    preferred
        Preferred view, or None for even coverage.
    is_float16
        Stacks are MRC mode 12 instead of 2.
    """

    n_particles: int
    optics: tuple[SimulatedOptics, ...]
    seed: int = 1
    snr: float = 0.05
    has_ctf: bool = True
    defocus_angst: tuple[float, float] = (8000.0, 24000.0)
    astigmatism_angst: float = 800.0
    bfactor: float = 40.0
    solvent_contrast: float = 0.5
    shift_sd_px: float = 2.5
    noise_colour: float = 0.0
    noise_colour_angst: float = 40.0
    amplitude_spread: float = 0.1
    particles_per_micrograph: int = 100
    state_shares: tuple[float, ...] = ()
    preferred: PreferredView | None = None
    is_float16: bool = False

    def __post_init__(self) -> None:
        """Check the values."""
        low, high = self.defocus_angst
        _check("n", self.n_particles, 1 <= self.n_particles <= 999_999, "1 to 999999")
        _check("seed", self.seed, 0 <= self.seed < 2**63, "not negative")
        _check("snr", self.snr, self.snr > 0, "positive")
        _check("defocus_min", low, 0 <= low <= high, "not negative and at most defocus_max")
        _check("astigmatism", self.astigmatism_angst, self.astigmatism_angst >= 0, "not negative")
        _check("bfactor", self.bfactor, self.bfactor >= 0, "not negative")
        _check("solvent", self.solvent_contrast, 0 <= self.solvent_contrast <= 1, "0 to 1")
        _check("shift", self.shift_sd_px, self.shift_sd_px >= 0, "not negative")
        _check("noise_colour", self.noise_colour, self.noise_colour >= 0, "not negative")
        _check("amplitude_spread", self.amplitude_spread, 0 <= self.amplitude_spread < 0.3,
               "0 to below 0.3")  # fmt: skip
        _check("particles_per_micrograph", self.particles_per_micrograph,
               self.particles_per_micrograph >= 1, "at least 1")  # fmt: skip
        if any(share < 0 for share in self.state_shares) or (
            self.state_shares and sum(self.state_shares) <= 0
        ):
            raise OptionsError("simulate: --shares must be >= 0, and one of them positive")

    @property
    def has_noise(self) -> bool:
        """Whether there is any noise."""
        return math.isfinite(self.snr)

    def envelope(self, q2: NDArray[np.float64]) -> NDArray[np.float64]:
        """Factor of the signal at squared spatial frequency ``q2``, 1/Å^2."""
        solvent = self.solvent_contrast * np.exp(-0.25 * _SOLVENT_BFACTOR * q2)
        return np.asarray(np.exp(-0.25 * self.bfactor * q2) * (1.0 - solvent))

    def noise_amplitude(self, q2: NDArray[np.float64]) -> NDArray[np.float64]:
        """Square root of the noise's relative power at squared frequency ``q2``, 1/Å^2."""
        tail = 1.0 + q2 * self.noise_colour_angst**2
        return np.asarray(np.sqrt(1.0 + self.noise_colour / tail))
