"""getImg: a batch of particle images on the device, from pixels to masked and unmasked transforms.

In: raw images of one optics group.  Out: `BatchImages`, the listed Fourier pixels, CTF and power of
each image.  Specification E 5.2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from clrelion.device.fft import BatchFFT2D
from clrelion.expectation.pixels import PixelList, shell_lists
from clrelion.expectation.settings import ExpectationSettings, ImageGeometry
from clrelion.fourier.ctf import (
    antisymmetric_phase,
    electron_wavelength_angst,
    even_zernike_phase,
)
from clrelion.fourier.masks import background_weights
from clrelion.fourier.shells import half_transform_shells, round_half_away
from clrelion.fourier.transforms import inverse_2d
from clrelion.io.particle_table import ParticleTable

if TYPE_CHECKING:
    from pyopencl.array import Array

    from clrelion.device.session import DeviceSession

__all__ = ["BatchImages", "ImagePreparation", "integer_offsets", "memory_per_image"]

_WORK_GROUP = 64
_OFFSET_DECIMALS = 4
"""Offsets are rounded to 1e-4 px before they are rounded to whole pixels (E 5.2.3)."""
_UNSET_PRIOR = 999.0


@dataclass
class BatchImages:
    """Images of a batch on the device, in the order of ``ids``.

    Attributes
    ----------
    ids
        int64, (n,); rows of the particle table.
    image_ft, unmasked_ft
        complex device arrays, (n, n_list); listed pixels of the masked and of the unmasked image,
        origin at the box centre.
    ctf, scoring_ctf
        real device arrays, (n, n_list); C, and C or 1 while references are not CTF-corrected.
    scale
        float64, (n,); group scale q, 1 without scale correction.
    scale_d
        The same on the device.
    spectrum
        float64, (n, n_box/2+1); power of the masked image by image shell.
    window_power
        float64, (n,); power of the whole window of the scoring size.
    offset_px
        float64, (n, 2) as (x, y); the whole-pixel offset that was applied.
    prior_offset_px
        float64, (n, 2); centre of the offset prior.
    """

    ids: NDArray[np.int64]
    image_ft: Array
    unmasked_ft: Array
    ctf: Array
    scoring_ctf: Array
    scale: NDArray[np.float64]
    scale_d: Array
    spectrum: NDArray[np.float64]
    window_power: NDArray[np.float64]
    offset_px: NDArray[np.float64]
    prior_offset_px: NDArray[np.float64]

    @property
    def n(self) -> int:
        """Images in the batch."""
        return len(self.ids)

    def part(self, session: DeviceSession, first: int, last: int) -> BatchImages:
        """Images first .. last - 1 with device arrays of their own."""
        if (first, last) == (0, self.n):
            return self
        span = slice(first, last)

        def copy(array: Array) -> Array:
            return session.copy_rows(array, first, last)

        ctf = copy(self.ctf)
        same = self.scoring_ctf is self.ctf
        return BatchImages(
            self.ids[span],
            copy(self.image_ft),
            copy(self.unmasked_ft),
            ctf,
            ctf if same else copy(self.scoring_ctf),
            self.scale[span],
            copy(self.scale_d),
            self.spectrum[span],
            self.window_power[span],
            self.offset_px[span],
            self.prior_offset_px[span],
        )


def integer_offsets(origin_angst: NDArray[np.float64], pixel_size: float) -> NDArray[np.float64]:
    """Whole-pixel offsets, (n, 2), from offsets in Å (specification E 5.2.3)."""
    pixels = np.round(origin_angst / pixel_size, _OFFSET_DECIMALS)
    return round_half_away(pixels).astype(np.float64)


class ImagePreparation:
    """Prepares batches of one optics group.

    Parameters
    ----------
    session
        Device.
    settings, geometry
        Of this expectation step and this optics group.
    pixels
        Pixel list at the size s_g.
    scoring_size
        Size whose whole window the cross-correlation normalises by.
    noise_ps
        float64, (N/2+1,); sigma2 of this group, for the noise fill.
    n_images_expected
        Images that the run will transform in all, for the choice of the FFT library.
    """

    def __init__(
        self,
        session: DeviceSession,
        settings: ExpectationSettings,
        geometry: ImageGeometry,
        pixels: PixelList,
        scoring_size: int,
        noise_ps: NDArray[np.float64],
        n_images_expected: int,
    ) -> None:
        self._n_expected = n_images_expected
        self._session = session
        self._settings = settings
        self._geometry = geometry
        self._pixels = pixels
        self._noise_ps = noise_ps
        optics = geometry.optics
        self._box = optics.box_px
        radius = settings.particle_diameter_angst / (2.0 * optics.pixel_size_angst)
        outside = background_weights(self._box, radius, settings.width_mask_edge_px, ndim=2)
        real = session.real
        self._outside_d = session.to_device(outside.ravel(), real)
        self._fft: BatchFFT2D | None = None
        start, pixel, _ = shell_lists(self._box, geometry.image_size)
        _, window, _ = shell_lists(self._box, scoring_size)
        # the last list is the window of the scoring size, which may differ from s_g
        window = window[-scoring_size * (scoring_size // 2 + 1) :]
        n_shell_pixels = int(start[-2])
        pixel = np.concatenate([pixel[:n_shell_pixels], window])
        start[-1] = len(pixel)
        self._shell_start_d = session.to_device(start)
        self._shell_pixel_d = session.to_device(pixel)
        self._n_lists = len(start) - 1
        self._kxy_d = session.to_device(pixels.kxy()[: pixels.n])
        self._factor_d = session.to_device(self._aberrations(), session.complex)
        self._uv = self._frequencies()
        self._uv_d = session.to_device(self._uv, real)
        even = even_zernike_phase(self._uv[:, 0], self._uv[:, 1], optics.even_zernike)
        self._even_d = session.to_device(np.broadcast_to(even, (pixels.n,)), real)
        self._ones_d: Array | None = None

    def _frequencies(self) -> NDArray[np.float64]:
        """Spatial frequencies (u, v) of the pixels, 1/Å, (n, 2) (specification E 2.9)."""
        optics = self._geometry.optics
        k = np.stack([self._pixels.kx, self._pixels.ky], axis=-1).astype(np.float64)
        return np.asarray(k @ optics.mag_matrix.T / (self._box * optics.pixel_size_angst))

    def _aberrations(self) -> NDArray[np.complex128]:
        """Phase that undoes the antisymmetric aberrations (specification E 2.10)."""
        optics = self._geometry.optics
        uv = self._frequencies()
        phase = antisymmetric_phase(
            uv[:, 0],
            uv[:, 1],
            optics.odd_zernike,
            optics.beam_tilt_x_mrad,
            optics.beam_tilt_y_mrad,
            optics.voltage_kv,
            optics.spherical_aberration_mm,
        )
        return np.asarray(np.exp(-1j * np.broadcast_to(phase, (self._pixels.n,))))

    def prepare(
        self, ids: NDArray[np.int64], images: NDArray[np.float32], table: ParticleTable
    ) -> BatchImages:
        """Bring a batch to the device.

        Parameters
        ----------
        ids
            int64, (n,); rows of ``table``, all of this optics group.
        images
            float32, (n, box, box) as [y, x]; real space, as read.
        table
            Particles with their current offsets and norm corrections.
        """
        session, settings = self._session, self._settings
        pixel_size = self._geometry.optics.pixel_size_angst
        origin = np.stack([table.origin_x_angst[ids], table.origin_y_angst[ids]], axis=-1)
        offset = integer_offsets(origin, pixel_size)
        shifted = self._shifted(ids, images, table, offset)
        unmasked = self._window(self._transform(shifted), len(ids))
        transforms = self._transform(self._masked(ids, shifted))
        image_ft = self._window(transforms, len(ids))
        spectrum = self._spectrum(transforms, len(ids))
        ctf = self.contrast_transfer(ids, table)
        corrected = settings.ctf.references_corrected or not settings.ctf.correct
        scale = np.ones(len(ids))
        if settings.do_scale_correction:
            scale = np.maximum(settings.scale_correction[table.scale_group[ids]], 0.001)
        return BatchImages(
            ids=ids,
            image_ft=image_ft,
            unmasked_ft=unmasked,
            ctf=ctf,
            scoring_ctf=ctf if corrected else self._ones(len(ids)),
            scale=scale,
            scale_d=session.to_device(scale, session.real),
            spectrum=spectrum[:, :-1],
            window_power=spectrum[:, -1],
            offset_px=offset,
            prior_offset_px=self._prior_offsets(ids, table),
        )

    def _transform(self, images: Array) -> Array:
        """Half-transforms of a batch, divided by box^2."""
        if self._fft is None:
            self._fft = BatchFFT2D(self._session, self._box, n_images_expected=self._n_expected)
        return self._fft(images)

    def _prior_offsets(self, ids: NDArray[np.int64], table: ParticleTable) -> NDArray[np.float64]:
        prior = np.stack([table.origin_x_prior_angst[ids], table.origin_y_prior_angst[ids]], -1)
        return np.where(prior == _UNSET_PRIOR, 0.0, prior / self._geometry.optics.pixel_size_angst)

    def _shifted(
        self,
        ids: NDArray[np.int64],
        images: NDArray[np.float32],
        table: ParticleTable,
        offset: NDArray[np.float64],
    ) -> Array:
        session, n = self._session, len(ids)
        factor = np.ones(n)
        if self._settings.do_norm_correction:
            factor = self._settings.avg_norm_correction / table.norm_correction[ids]
        out = session.empty((n, self._box, self._box), session.real)
        session.kernel("expectation/shift_image")(
            (self._box**2, n),
            None,
            session.to_device(images),
            session.to_device(factor, session.real),
            session.to_device(offset.astype(np.int32)),
            n,
            self._box,
            out,
        )
        return out

    def _masked(self, ids: NDArray[np.int64], images: Array) -> Array:
        session, n, n_pixels = self._session, len(ids), self._box**2
        zero_mask = self._settings.zero_mask
        if zero_mask:
            fill = session.empty(n, session.real)
            wg = 1 if session.is_cpu else _WORK_GROUP
            session.kernel("expectation/background_mean", wg=wg)(
                (n * wg,), (wg,), images, self._outside_d, n_pixels, fill
            )
        else:
            fill = session.to_device(self._noise_images(ids), session.real)
        out = session.empty(images.shape, session.real)
        session.kernel("expectation/soft_mask", noise_fill=not zero_mask)(
            (n_pixels, n), None, images, self._outside_d, fill, n, n_pixels, out
        )
        return out

    def _noise_images(self, ids: NDArray[np.int64]) -> NDArray[np.float64]:
        """Noise of the current spectrum; a particle gets the same pattern in every iteration."""
        settings, n = self._settings, self._box
        shells = half_transform_shells(n)
        # model shell i fills image shell rnd(rho i); shells that none maps to stay empty
        by_image_shell = np.zeros(int(shells.max()) + 1)
        targets = round_half_away(self._geometry.remap * np.arange(len(self._noise_ps)))
        kept = targets < len(by_image_shell)
        by_image_shell[targets[kept]] = self._noise_ps[kept]
        deviation = np.sqrt(settings.sigma2_fudge * by_image_shell)[shells]
        noise = np.empty((len(ids), n, n))
        for place, particle in enumerate(ids):
            rng = np.random.Generator(np.random.Philox(key=[settings.random_seed, int(particle)]))
            values = rng.standard_normal((2, *deviation.shape)) * deviation
            noise[place] = inverse_2d(values[0] + 1j * values[1])
        return noise

    def _window(self, transforms: Array, n: int) -> Array:
        session, n_list = self._session, self._pixels.n
        out = session.empty((n, n_list), session.complex)
        session.kernel("expectation/window_image")(
            (n_list, n), None, transforms, self._kxy_d, self._factor_d, n, self._box, n_list, out
        )
        return out

    def _spectrum(self, transforms: Array, n: int) -> NDArray[np.float64]:
        session = self._session
        out = session.empty((n, self._n_lists), session.real)
        session.kernel("expectation/power_spectrum")(
            (self._n_lists, n),
            None,
            transforms,
            self._shell_start_d,
            self._shell_pixel_d,
            self._box * (self._box // 2 + 1),
            self._n_lists,
            n,
            out,
        )
        return np.asarray(session.to_host(out), dtype=np.float64)

    def _ones(self, n: int) -> Array:
        if self._ones_d is None or self._ones_d.shape[0] < n:
            ones = np.ones((n, self._pixels.n))
            self._ones_d = self._session.to_device(ones, self._session.real)
        return self._ones_d

    def contrast_transfer(self, ids: NDArray[np.int64], table: ParticleTable) -> Array:
        """CTF of particles at the listed pixels, real (n, n_list); ones without ``--ctf``."""
        rules, optics = self._settings.ctf, self._geometry.optics
        session, n = self._session, len(ids)
        if not rules.correct:
            return self._ones(n)
        voltage = optics.voltage_kv
        wavelength = float(electron_wavelength_angst(voltage))
        cs_angst = 1e7 * optics.spherical_aberration_mm
        contrast = float(optics.amplitude_contrast or 0.0)
        angle = np.deg2rad(table.defocus_angle_deg[ids])
        parameters = np.zeros((n, 8))
        parameters[:, 0] = table.defocus_u_angst[ids]
        parameters[:, 1] = table.defocus_v_angst[ids]
        parameters[:, 2] = np.cos(angle)
        parameters[:, 3] = np.sin(angle)
        parameters[:, 4] = np.deg2rad(table.phase_shift_deg[ids]) + np.arcsin(contrast)
        parameters[:, 5] = table.ctf_bfactor[ids]
        parameters[:, 6] = table.ctf_scalefactor[ids]
        out = session.empty((n, self._pixels.n), session.real)
        kernel = session.kernel(
            "expectation/contrast_transfer",
            intact_first_peak=rules.intact_first_peak,
            phase_flipped=rules.phase_flipped,
            only_flip_phases=rules.only_flip_phases,
            squared=bool(optics.ctf_premultiplied),
        )
        kernel(
            (self._pixels.n, n),
            None,
            session.to_device(parameters, session.real),
            self._uv_d,
            self._even_d,
            float(np.pi * wavelength),
            float(np.pi / 2 * cs_angst * wavelength**3),
            n,
            self._pixels.n,
            out,
        )
        return out


def memory_per_image(box: int, n_list: int, real_bytes: int) -> int:
    """Bytes on the device for one image: raw, shifted, masked, transforms, listed pixels."""
    pixels = box * box
    transforms = 2 * box * (box // 2 + 1) * 2 * real_bytes
    return 4 * pixels + 2 * pixels * real_bytes + transforms + 6 * n_list * real_bytes
