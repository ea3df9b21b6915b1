"""getImg: a batch of particle images on the device, from pixels to masked and unmasked transforms.

In: raw images of one optics group.  Out: `BatchImages`, the listed Fourier pixels, CTF and power of
each image.  Specification E 5.2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from clrelion.device.fft import BatchFFT2D
from clrelion.expectation.device_images import DeviceImages
from clrelion.expectation.image_transfer import ImageTransfer
from clrelion.expectation.noise_fill import NoiseFill
from clrelion.expectation.pixels import PixelList, shell_lists
from clrelion.expectation.settings import ExpectationSettings, ImageGeometry
from clrelion.fourier.masks import background_weights
from clrelion.fourier.shells import round_half_away
from clrelion.io.particle_table import ParticleTable

if TYPE_CHECKING:
    from clrelion.device.array import Array
    from clrelion.device.session import DeviceSession
    from clrelion.device.transfers import PendingRead

__all__ = [
    "SMALLEST_SCALE",
    "BatchImages",
    "ImagePower",
    "ImagePreparation",
    "integer_offsets",
]

_WORK_GROUP = 64
_OFFSET_DECIMALS = 4
"""Offsets are rounded to 1e-4 px before they are rounded to whole pixels (E 5.2.3)."""
_UNSET_PRIOR = 999.0

SMALLEST_SCALE = 0.001
"""Smaller intensity scales are raised to this (specification E 5.6)."""


@dataclass(frozen=True)
class ImagePower:
    """Power of masked images by shell, on its way to the host.

    Attributes
    ----------
    read
        real, (n_batch, n_box/2+3); by image shell, then of the last shell of the window of the
        scoring size, then of that whole window.
    images
        Which images of the batch.
    """

    read: PendingRead
    images: slice

    def part(self, first: int, last: int) -> ImagePower:
        """Images first .. last - 1 of these."""
        start = self.images.start
        return ImagePower(self.read, slice(start + first, start + last))

    def spectrum_and_edge(self) -> tuple[NDArray[np.floating[Any]], NDArray[np.float64]]:
        """Wait for the power by image shell, and in the last shell of the window.

        Returns
        -------
        tuple of numpy.ndarray
            real, (n, n_box/2+1), not to be changed, and float64, (n,).
        """
        values = self._values()
        return values[:, :-2], values[:, -2].astype(np.float64)

    def window(self) -> NDArray[np.float64]:
        """Wait for the power of the window of the scoring size, float64, (n,)."""
        return self._values()[:, -1].astype(np.float64)

    def _values(self) -> NDArray[np.floating[Any]]:
        return self.read.result()[0][self.images]


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
        float64, (n,); group scale q (1 without scale correction) times the amplitude of the
        images relative to the references.
    scale_d
        The same on the device.
    power
        Of the masked images by shell.
    offset_px
        float64, (n, 2) as (x, y); the offset that was applied: whole pixels, or all of it where
        shifts are kept.
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
    power: ImagePower
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
            self.power.part(first, last),
            self.offset_px[span],
            self.prior_offset_px[span],
        )


def integer_offsets(origin_angst: NDArray[np.float64], pixel_size: float) -> NDArray[np.float64]:
    """Whole-pixel offsets, (n, 2), from offsets in Å (specification E 5.2.3)."""
    pixels = np.round(origin_angst / pixel_size, _OFFSET_DECIMALS)
    return round_half_away(pixels).astype(np.float64)


def _background(session: DeviceSession, box: int, radius_px: float, width_px: float) -> Array:
    """`background_weights` of images on the device, real (box^2,); the same in all iterations."""
    key = ("background", box, radius_px, width_px)
    if key not in session.kept:
        weights = background_weights(box, radius_px, width_px, ndim=2)
        session.kept[key] = session.to_device(weights.ravel(), session.real)
    kept: Array = session.kept[key]
    return kept


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
    noise
        float64, (N/2+1,); sigma2 of these images by model shell, for the noise fill.
    n_images_expected
        Images that the run will transform in all, for the choice of the FFT library.

    Attributes
    ----------
    transfer
        CTF and other corrections of this group's images.
    """

    def __init__(
        self,
        session: DeviceSession,
        settings: ExpectationSettings,
        geometry: ImageGeometry,
        pixels: PixelList,
        scoring_size: int,
        noise: NDArray[np.float64],
        n_images_expected: int,
    ) -> None:
        self._n_expected = n_images_expected
        self._session = session
        self._settings = settings
        self._geometry = geometry
        self._pixels = pixels
        optics = geometry.optics
        self._box = optics.box_px
        self._noise_fill = NoiseFill(
            self._box, geometry.remap, settings.sigma2_fudge * noise, settings.random_seed
        )
        radius = settings.particle_diameter_angst / (2.0 * optics.pixel_size_angst)
        real = session.real
        self._outside_d = _background(session, self._box, radius, settings.width_mask_edge_px)
        self._fft: BatchFFT2D | None = None
        start, pixel, _ = shell_lists(self._box, geometry.image_size)
        # two more lists for the window of the scoring size, which may be smaller than s_g
        scoring_start, scoring_pixel, _ = shell_lists(self._box, scoring_size)
        last = scoring_size // 2
        lists = [
            pixel[: start[-2]],
            scoring_pixel[scoring_start[last] : scoring_start[last + 1]],
            scoring_pixel[scoring_start[-2] :],
        ]
        pixel = np.concatenate(lists)
        start = np.append(start[:-1], start[-2] + np.cumsum([len(part) for part in lists[1:]]))
        start = start.astype(np.int32)
        self._shell_start_d = session.to_device(start)
        self._shell_pixel_d = session.to_device(pixel)
        self._n_lists = len(start) - 1
        self._kxy_d = session.to_device(pixels.kxy()[: pixels.n])
        self.transfer = ImageTransfer(session, settings.ctf, geometry, pixels)
        self._factor_d = session.to_device(self.transfer.phase_factors(), session.complex)
        self._response_d: Array | None = None
        if geometry.response is not None:
            self._response_d = session.to_device(self.transfer.response_factors().ravel(), real)

    def prepare(
        self,
        ids: NDArray[np.int64],
        images: NDArray[np.float32] | DeviceImages,
        table: ParticleTable,
        reconstruct_images: NDArray[np.float32] | None = None,
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
        reconstruct_images
            Back-projected in place of ``images`` (specification E 2.2).
        """
        session, settings = self._session, self._settings
        pixel_size = self._geometry.optics.pixel_size_angst
        origin = np.stack([table.origin_x_angst[ids], table.origin_y_angst[ids]], axis=-1)
        offset = integer_offsets(origin, pixel_size)
        # kept shifts are applied to the last fraction, as no trial shift will do it
        fraction = origin / pixel_size - offset if settings.skip_align else None
        shifted = self._shifted(ids, images, table, offset)
        unmasked = self._window(
            self._transform(
                shifted
                if reconstruct_images is None
                else self._shifted(ids, reconstruct_images, table, offset)
            ),
            fraction,
        )
        transforms = self._transform(self._masked(ids, shifted))
        image_ft = self._window(transforms, fraction)
        power = ImagePower(self._power(transforms, len(ids)), slice(0, len(ids)))
        ctf = self.transfer.contrast_transfer(ids, table)
        corrected = settings.ctf.references_corrected or not settings.ctf.correct
        scale = np.ones(len(ids))
        if settings.do_scale_correction:
            scale = np.maximum(settings.scale_correction[table.scale_group[ids]], SMALLEST_SCALE)
        scale *= self._geometry.amplitude
        return BatchImages(
            ids=ids,
            image_ft=image_ft,
            unmasked_ft=unmasked,
            ctf=ctf,
            scoring_ctf=ctf if corrected else self.transfer.ones(len(ids)),
            scale=scale,
            scale_d=session.to_device(scale, session.real),
            power=power,
            offset_px=offset if fraction is None else offset + fraction,
            prior_offset_px=self._prior_offsets(ids, table),
        )

    def _transform(self, images: Array) -> Array:
        """Half-transforms of a batch, divided by box^2, at the mean detector response."""
        if self._fft is None:
            self._fft = BatchFFT2D(self._session, self._box, n_images_expected=self._n_expected)
        transforms = self._fft(images)
        if self._response_d is not None:
            n_pixels, n = self._box * (self._box // 2 + 1), images.shape[0]
            self._session.kernel("expectation/scale_transforms")(
                (n_pixels, n), None, transforms, self._response_d, n_pixels, n
            )
        return transforms

    def _prior_offsets(self, ids: NDArray[np.int64], table: ParticleTable) -> NDArray[np.float64]:
        prior = np.stack([table.origin_x_prior_angst[ids], table.origin_y_prior_angst[ids]], -1)
        return np.where(prior == _UNSET_PRIOR, 0.0, prior / self._geometry.optics.pixel_size_angst)

    def _shifted(
        self,
        ids: NDArray[np.int64],
        images: NDArray[np.float32] | DeviceImages,
        table: ParticleTable,
        offset: NDArray[np.float64],
    ) -> Array:
        session, n = self._session, len(ids)
        if not isinstance(images, DeviceImages):
            images = DeviceImages.in_one(ids, session.to_device(images))
        factor = np.ones(n)
        if self._settings.do_norm_correction:
            factor = self._settings.avg_norm_correction / table.norm_correction[ids]
        order, runs = images.by_buffer()
        place = np.empty((n, 4), dtype=np.int32)
        place[:, 0], place[:, 1], place[:, 2:] = images.place[order], order, offset[order]
        place_d = session.to_device(place)
        factor_d = session.to_device(factor, session.real)
        out = session.empty((n, self._box, self._box), session.real)
        for images_d, first, n_images in runs:
            session.kernel("expectation/shift_image")(
                (self._box**2, n_images),
                None,
                images_d,
                place_d,
                factor_d,
                first,
                n_images,
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
            fill = session.to_device(self._noise_fill.images(ids), session.real)
        out = session.empty(images.shape, session.real)
        session.kernel("expectation/soft_mask", noise_fill=not zero_mask)(
            (n_pixels, n), None, images, self._outside_d, fill, n, n_pixels, out
        )
        return out

    def _window(self, transforms: Array, shift_px: NDArray[np.float64] | None) -> Array:
        """Listed pixels; the content moved by a fraction of a pixel, (n, 2), if given."""
        session, n, n_list = self._session, transforms.shape[0], self._pixels.n
        out = session.empty((n, n_list), session.complex)
        shift = []
        if shift_px is not None:
            shift.append(session.to_device(shift_px / self._box, session.real))
        session.kernel("expectation/window_image", shifted=bool(shift))(
            (n_list, n), None, transforms, self._kxy_d, self._factor_d, *shift, n, self._box,
            n_list, out,
        )  # fmt: skip
        return out

    def _power(self, transforms: Array, n: int) -> PendingRead:
        session = self._session
        out = session.empty((n, self._n_lists), session.real)
        wg = 1 if session.is_cpu else _WORK_GROUP
        session.kernel("expectation/power_spectrum", wg=wg)(
            (self._n_lists * wg, n),
            (wg, 1),
            transforms,
            self._shell_start_d,
            self._shell_pixel_d,
            self._box * (self._box // 2 + 1),
            self._n_lists,
            out,
        )
        return session.to_host_later(out)
