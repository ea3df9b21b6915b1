"""From a model and true parameters to images, and to the map that they are images of."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from clrelion.fourier.ctf import contrast_transfer, frequency_grid
from clrelion.fourier.shells import fftw_frequencies
from clrelion.fourier.transforms import (
    centre_half_transform,
    forward_2d,
    inverse_2d,
    inverse_3d,
    shift_phases,
)
from clrelion.orientations.euler import euler_matrix
from clrelion.simulation.models import ScatteringModel
from clrelion.simulation.settings import SimulatedOptics, SimulationSettings
from clrelion.simulation.truth import NOISE_STREAM, Truth, generator

__all__ = ["ImageMaker", "true_map"]

_PARTICLES_FOR_GAIN = 16


class _Grids:
    """What all images of an optics group share."""

    def __init__(self, optics: SimulatedOptics, settings: SimulationSettings) -> None:
        n = optics.box_px
        self.u, self.v = frequency_grid(n, n, optics.pixel_size_angst)
        q2 = self.u**2 + self.v**2
        # to a projected density in weight/Å^2
        self.signal_factor = settings.envelope(q2) / optics.extent_angst**2
        y, x = np.ogrid[:n, :n]
        self.is_background = (x - n // 2) ** 2 + (y - n // 2) ** 2 > (n // 2) ** 2
        self.noise_factor: NDArray[np.float64] | None = None
        if settings.noise_colour > 0:
            amplitude = settings.noise_amplitude(q2)
            full = np.concatenate([amplitude, amplitude[:, 1:-1]], axis=1)
            self.noise_factor = amplitude / np.sqrt((full**2).mean())


class ImageMaker:
    """Makes the image of any particle, the same in any process and in any order.

    Parameters
    ----------
    settings
        The data set.
    models
        One a state.
    truth
        Parameters of all particles.

    Attributes
    ----------
    gain
        Factor that brings the signal to the wanted ratio to a noise of variance 1.
    """

    def __init__(
        self, settings: SimulationSettings, models: Sequence[ScatteringModel], truth: Truth
    ) -> None:
        self._settings = settings
        self._models = list(models)
        self._truth = truth
        first = range(min(_PARTICLES_FOR_GAIN, settings.n_particles))
        variance = np.mean([self._signal_variance(i) for i in first])
        snr = settings.snr if settings.has_noise else 1.0
        self.gain = float(np.sqrt(snr / variance))

    @cached_property
    def _grids(self) -> list[_Grids]:
        return [_Grids(optics, self._settings) for optics in self._settings.optics]

    def _signal_variance(self, i: int) -> float:
        grids = self._grids[self._truth.optics_group[i]]
        return float(self.signal(i)[~grids.is_background].var() / self._truth.amplitude[i] ** 2)

    def signal(self, i: int) -> NDArray[np.float64]:
        """Image of a particle without noise, before the gain.

        Parameters
        ----------
        i
            0-based number of the particle.

        Returns
        -------
        numpy.ndarray
            float64, (box, box); real space, projected density in weight/Å^2. The projection
            (specification E 1.2), times CTF (E 2.9) and envelope, moved by minus the origin
            offset (E 1.3), times the micrograph's intensity.
        """
        t = self._truth
        group = int(t.optics_group[i])
        optics, grids = self._settings.optics[group], self._grids[group]
        rotation = euler_matrix(t.rot_deg[i], t.tilt_deg[i], t.psi_deg[i])
        model = self._models[t.state[i]]
        transform = model.projection(rotation, optics.box_px, optics.pixel_size_angst)
        transform *= t.amplitude[i] * grids.signal_factor
        if self._settings.has_ctf:
            transform *= contrast_transfer(
                grids.u, grids.v,
                voltage_kv=optics.voltage_kv,
                spherical_aberration_mm=optics.spherical_aberration_mm,
                amplitude_contrast=optics.amplitude_contrast,
                defocus_u_angst=t.defocus_u_angst[i],
                defocus_v_angst=t.defocus_v_angst[i],
                defocus_angle_deg=t.defocus_angle_deg[i],
            )  # fmt: skip
        offset = -np.array([t.origin_x_angst[i], t.origin_y_angst[i]]) / optics.pixel_size_angst
        transform *= shift_phases(offset, optics.box_px)
        return inverse_2d(centre_half_transform(transform), workers=1)

    def image(self, i: int) -> NDArray[np.float32]:
        """Image of a particle with noise, its background (outside the circle) of mean 0, sd 1.

        Without noise, the signal times the gain.

        Parameters
        ----------
        i
            0-based number of the particle.

        Returns
        -------
        numpy.ndarray
            float32, (box, box); real space.
        """
        image = self.gain * self.signal(i)
        if not self._settings.has_noise:
            return image.astype(np.float32)
        grids = self._grids[self._truth.optics_group[i]]
        rng = generator(self._settings.seed, NOISE_STREAM, i)
        noise = rng.standard_normal(image.shape, dtype=np.float32)
        if grids.noise_factor is not None:
            noise = inverse_2d(forward_2d(noise, 1) * grids.noise_factor, 1)
        image += noise
        background = image[grids.is_background]
        image = (image - background.mean()) / background.std()
        normalised: NDArray[np.float32] = image.astype(np.float32)
        return normalised


def true_map(
    model: ScatteringModel, settings: SimulationSettings, gain: float
) -> NDArray[np.float64]:
    """Map whose projections, by the rules of specification E 1.6, are the noiseless images.

    Parameters
    ----------
    model
        A state.
    settings
        The data set; box and pixel of its first optics group are those of the map.
    gain
        Of the :class:`ImageMaker`.

    Returns
    -------
    numpy.ndarray
        float64, (box, box, box); real space, zero beyond the sphere of Nyquist's frequency.
    """
    optics = settings.optics[0]
    n = optics.box_px
    transform = model.volume(n, optics.pixel_size_angst)
    k, kx = fftw_frequencies(n), np.arange(n // 2 + 1)
    # a plane at a time: no second array of the size of the transform
    for plane, kz in zip(transform, k, strict=True):
        k2 = kz**2 + k[:, None] ** 2 + kx**2
        plane *= np.where(k2 <= (n // 2) ** 2, settings.envelope(k2 / optics.extent_angst**2), 0.0)
    # E 1.6.3: the transform of a projection is N times that of the map
    transform *= gain / (optics.extent_angst**2 * n)
    return np.asarray(inverse_3d(centre_half_transform(transform, ndim=3)), dtype=np.float64)
