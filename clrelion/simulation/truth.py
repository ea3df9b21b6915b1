"""The true parameters of every particle, each drawn from (seed, its number) alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clrelion.errors import OptionsError
from clrelion.orientations.euler import direction_angles, direction_vector
from clrelion.simulation.settings import PreferredView, SimulationSettings

__all__ = ["NOISE_STREAM", "Truth", "draw_truth", "generator"]

_PARTICLE_STREAM, _MICROGRAPH_STREAM, NOISE_STREAM = 0, 1, 2
_DEFOCUS_SD_ANGST = 100.0  # of the particles of a micrograph, about its mean
_LARGEST_SHIFT_SD = 3.0


def generator(seed: int, stream: int, index: int) -> np.random.Generator:
    """Random numbers of one particle or micrograph: a counter-based generator of its own."""
    key = np.array([seed, stream], dtype=np.uint64)
    counter = np.array([0, 0, 0, index], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=counter))


@dataclass(frozen=True)
class Truth:
    """One array entry a particle.

    Attributes
    ----------
    state, optics_group, micrograph
        int64, 0-based.
    rot_deg, tilt_deg, psi_deg
        float64, degrees.
    origin_x_angst, origin_y_angst
        float64, Å: moving the image by this brings the particle to the origin of its box.
    defocus_u_angst, defocus_v_angst, defocus_angle_deg
        float64, Å, degrees.
    amplitude
        float64: intensity of the micrograph, about 1.
    """

    state: NDArray[np.int64]
    optics_group: NDArray[np.int64]
    micrograph: NDArray[np.int64]
    rot_deg: NDArray[np.float64]
    tilt_deg: NDArray[np.float64]
    psi_deg: NDArray[np.float64]
    origin_x_angst: NDArray[np.float64]
    origin_y_angst: NDArray[np.float64]
    defocus_u_angst: NDArray[np.float64]
    defocus_v_angst: NDArray[np.float64]
    defocus_angle_deg: NDArray[np.float64]
    amplitude: NDArray[np.float64]


def draw_truth(settings: SimulationSettings, n_states: int) -> Truth:
    """Draw the parameters of all particles.

    Parameters
    ----------
    settings
        The data set.
    n_states
        Number of models.

    Raises
    ------
    OptionsError
        Shares do not fit the states, or there are fewer micrographs than optics groups.
    """
    shares = np.array(settings.state_shares or (1.0,) * n_states)
    if len(shares) != n_states:
        raise OptionsError(f"simulate: --shares has {len(shares)} values for {n_states} states")
    micrograph = np.arange(settings.n_particles) // settings.particles_per_micrograph
    n_micrographs = int(micrograph[-1]) + 1
    n_groups = len(settings.optics)
    if n_micrographs < n_groups:
        raise OptionsError(
            f"simulate: {n_micrographs} micrographs for {n_groups} optics groups; give more "
            "particles, or a smaller --particles_per_micrograph"
        )
    group_of = np.arange(n_micrographs) * n_groups // n_micrographs
    pixel = np.array([group.pixel_size_angst for group in settings.optics])
    per_micrograph = np.array([_micrograph(settings, m) for m in range(n_micrographs)])
    mean, astigmatism, angle, amplitude = per_micrograph[micrograph].T
    cumulative = np.cumsum(shares) / shares.sum()
    drawn = np.array([_particle(settings, i, cumulative) for i in range(settings.n_particles)])
    state, rot, tilt, psi, shift_x, shift_y, defocus = drawn.T
    group = group_of[micrograph]
    return Truth(
        state.astype(np.int64), group, micrograph, rot, tilt, psi,
        shift_x * pixel[group], shift_y * pixel[group],
        np.maximum(mean + defocus + 0.5 * astigmatism, 0.0),
        np.maximum(mean + defocus - 0.5 * astigmatism, 0.0), angle, amplitude,
    )  # fmt: skip


def _micrograph(settings: SimulationSettings, index: int) -> tuple[float, ...]:
    """Mean defocus, astigmatism, its angle and the intensity."""
    rng = generator(settings.seed, _MICROGRAPH_STREAM, index)
    low, high = settings.defocus_angst
    return (
        rng.uniform(low, high),
        rng.uniform(0.0, settings.astigmatism_angst),
        rng.uniform(0.0, 180.0),
        1.0 + settings.amplitude_spread * float(np.clip(rng.standard_normal(), -3.0, 3.0)),
    )


def _particle(
    settings: SimulationSettings, index: int, cumulative: NDArray[np.float64]
) -> tuple[float, ...]:
    """State, angles, shifts in px, and defocus about the micrograph's mean."""
    rng = generator(settings.seed, _PARTICLE_STREAM, index)
    state = min(int(np.searchsorted(cumulative, rng.uniform(), side="right")), len(cumulative) - 1)
    rot, psi = rng.uniform(-180.0, 180.0, 2)
    tilt = np.rad2deg(np.arccos(rng.uniform(-1.0, 1.0)))
    if settings.preferred is not None and rng.uniform() < settings.preferred.share:
        rot, tilt = _preferred_direction(settings.preferred, rng)
    limit = _LARGEST_SHIFT_SD
    shift = settings.shift_sd_px * np.clip(rng.standard_normal(2), -limit, limit)
    defocus = _DEFOCUS_SD_ANGST * rng.standard_normal()
    return state, rot, tilt, psi, shift[0], shift[1], defocus


def _preferred_direction(view: PreferredView, rng: np.random.Generator) -> tuple[float, float]:
    scatter = np.deg2rad(view.spread_deg) * rng.standard_normal(3)
    direction = direction_vector(view.rot_deg, view.tilt_deg) + scatter
    rot, tilt = direction_angles(direction / np.linalg.norm(direction))
    return float(rot), float(tilt)
