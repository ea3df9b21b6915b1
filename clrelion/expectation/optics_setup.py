"""What all batches of one optics group share during an expectation step."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from clrelion.expectation.group_weights import GroupWeights
from clrelion.expectation.images import ImagePreparation
from clrelion.expectation.pixels import PixelList, make_pixel_list
from clrelion.expectation.projections import places_in_references
from clrelion.expectation.scoring import ScoringList, TranslationRamps
from clrelion.expectation.settings import ExpectationSettings
from clrelion.fourier.shells import pixels_per_shell

if TYPE_CHECKING:
    from clrelion.device.session import DeviceSession

__all__ = ["OpticsSetup"]

_SCALE_SHELL_DVP = 3.0
"""Shells with a data-versus-prior ratio above this count for the intensity scale (E 5.6)."""


class OpticsSetup:
    """Pixel lists, weights, ramps and image preparation of one optics group.

    What only some users need is made when it is first asked for.

    Attributes
    ----------
    pixels, pixel_xy
        The batch's own list (size s_g) and its place in the references.
    coarse, fine
        Scoring lists of the two passes.
    fine_is_full
        The fine pass scores at s_g, so that its slices serve the sums too.
    store_ramps
        Fine translations at size s_g.
    weights
        Of the sums.
    preparation
        getImg.
    sigma_weight
        float64; 1/sigma2 of the fine scoring list, whatever the iteration compares with, for
        differences in the model's units.
    """

    def __init__(
        self,
        session: DeviceSession,
        settings: ExpectationSettings,
        group: int,
        projector_padding: float,
        n_images_expected: int = 0,
    ) -> None:
        geometry = settings.geometry[group]
        self.group = group
        self.geometry = geometry
        self._session = session
        self._settings = settings
        self._noise = geometry.image_noise(settings.sigma2_noise[group])

        self._projector_padding = projector_padding
        self._n_images_expected = n_images_expected
        # the mean CTF^2 of premultiplied images is over whole shells
        self.pixels = self._pixel_list(geometry.image_size, geometry.optics.ctf_premultiplied)
        self.pixel_xy = places_in_references(session, self.pixels)
        self.fine_is_full = not settings.score_at_coarse_size
        fine_pixels = self.pixels if self.fine_is_full else self._coarse_pixels
        self.fine = self._scoring_list(fine_pixels, fine=True)
        self.sigma_weight = (
            geometry.amplitude**2
            * self._inverse_sigma2(fine_pixels, with_origin=False)[: fine_pixels.n_projected]
        )
        self._constant = self._log_noise_sum()

    def _pixel_list(self, size: int, completes_shells: bool = False) -> PixelList:
        settings = self._settings
        return make_pixel_list(
            self.geometry,
            size,
            settings.r_max,
            self._projector_padding,
            settings.padding_factor,
            completes_shells,
        )

    @cached_property
    def _coarse_pixels(self) -> PixelList:
        if self._settings.oversampling == 0 and self.fine_is_full:
            return self.pixels  # a single pass
        return self._pixel_list(self.geometry.coarse_size)

    @cached_property
    def coarse(self) -> ScoringList:
        """Scoring list of the coarse pass."""
        return self._scoring_list(self._coarse_pixels, fine=False)

    @cached_property
    def store_ramps(self) -> TranslationRamps:
        """Phase ramps of the fine translations at size s_g."""
        optics = self.geometry.optics
        shifts = self._settings.translations_px(optics.pixel_size_angst, fine=True)
        return TranslationRamps.create(
            self._session, shifts, optics.box_px, self.geometry.image_size
        )

    @cached_property
    def weights(self) -> GroupWeights:
        """Weights of the pixels for the sums."""
        return GroupWeights.create(
            self._session,
            self._settings,
            self.geometry,
            self.pixels,
            self.store_ramps,
            self._inverse_sigma2(self.pixels, with_origin=True),
            _SCALE_SHELL_DVP,
        )

    @cached_property
    def preparation(self) -> ImagePreparation:
        """Preparation of the images."""
        return ImagePreparation(
            self._session,
            self._settings,
            self.geometry,
            self.pixels,
            self.fine.pixels.size,
            self._noise,
            self._n_images_expected,
        )

    def _inverse_sigma2(self, pixels: PixelList, with_origin: bool) -> NDArray[np.float64]:
        """Compute w = 1/(sigma2_fudge sigma2) of the pixels (specification E 5.3, 5.6)."""
        settings = self._settings
        # what is compared and what is inserted differ at the edge where the padding is no integer
        used = pixels.is_backprojected if with_origin else np.arange(pixels.n) < pixels.n_used
        if with_origin and not settings.do_map:
            return used.astype(np.float64)
        shells = pixels.shells_of_model(self.geometry.remap, len(self._noise))
        sigma2 = settings.sigma2_fudge * self._noise[shells]
        usable = used & (shells >= 0) & (sigma2 > 0)
        if not with_origin:
            usable &= pixels.shell > 0
        inverse: NDArray[np.float64] = np.divide(1.0, sigma2, out=np.zeros(pixels.n), where=usable)
        return inverse

    def _scoring_list(self, pixels: PixelList, fine: bool) -> ScoringList:
        settings, optics = self._settings, self.geometry.optics
        if settings.do_cross_correlation:
            weight = pixels.multiplicity
        else:
            weight = self._inverse_sigma2(pixels, with_origin=False)
        if pixels is self.pixels:
            places = np.arange(pixels.n_projected, dtype=np.int32)
        else:
            places = pixels.places_in(self.pixels)
        return ScoringList(
            session=self._session,
            pixels=pixels,
            pixel_xy=places_in_references(self._session, pixels),
            places=places,
            weight=weight[: pixels.n_projected],
            translations_px=settings.translations_px(optics.pixel_size_angst, fine),
            box=optics.box_px,
        )

    def _shell_weights(self, n_shells: int) -> NDArray[np.float64]:
        """1/sigma2 by image shell, 0 at the origin and where the model has no shell."""
        model = self.geometry.model_shells(n_shells)
        inside = model < len(self._noise)
        inside[0] = False
        sigma2 = np.zeros(n_shells)
        sigma2[inside] = self._settings.sigma2_fudge * self._noise[model[inside]]
        inverse: NDArray[np.float64] = np.divide(
            1.0, sigma2, out=np.zeros(n_shells), where=sigma2 > 0
        )
        return inverse

    @cached_property
    def _scored_weights(self) -> NDArray[np.float64]:
        return self._shell_weights(self.fine.pixels.size // 2 + 1)

    def _log_noise_sum(self) -> float:
        """Sum over the pixels of the image window of ln(2 pi sigma2) (specification E 5.6)."""
        weights = self._shell_weights(self.geometry.image_size // 2 + 1)
        counts = pixels_per_shell(self.geometry.image_size)
        used = weights > 0
        sigma2 = 1.0 / (weights[used] * self._settings.sigma2_fudge)
        return float(counts[used] @ np.log(2.0 * np.pi * sigma2))

    def power_sums(
        self, spectrum: NDArray[np.float64], work: NDArray[np.float64] | None = None
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Power of images over their noise, which their log-likelihoods need (E 5.6).

        Parameters
        ----------
        spectrum
            float64, (n, n_box/2+1); power of the masked images by image shell.
        work
            float64, of so many elements as the spectrum; overwritten.

        Returns
        -------
        inner, outer
            float64, (n,); sums over 1/sigma2 times the power of the scored shells but the last one,
            and over the power beyond the window.
        """
        weights = self._scored_weights[:-1]
        inner = spectrum[:, : len(weights)]
        if work is not None:
            work = work.ravel()[: inner.size].reshape(inner.shape)
        # not a matrix product, whose sums may depend on the number of images
        inner = np.multiply(inner, weights, out=work).sum(axis=1)
        return inner, spectrum[:, self.geometry.image_size // 2 + 1 :].sum(axis=1)

    def log_likelihoods(
        self,
        inner: NDArray[np.float64],
        edge_power: NDArray[np.float64],
        outer: NDArray[np.float64],
        maximum: NDArray[np.float64],
        sum_weight: NDArray[np.float64],
    ) -> NDArray[np.float64]:
        """Log-likelihood contribution of each image (specification E 5.6).

        Parameters
        ----------
        inner, outer
            Of `power_sums`.
        edge_power
            float64, (n,); power of the last shell that was scored.
        maximum, sum_weight
            float64, (n,); largest log-weight and sum of exp(l - maximum) of the fine pass.
        """
        if self._settings.do_cross_correlation:
            return maximum
        # what does not depend on the reference was left out of the squared differences
        constant = 0.5 * (inner + edge_power * self._scored_weights[-1])
        constant += 0.5 * outer
        return np.asarray(np.log(sum_weight) + maximum - constant - self._constant)
