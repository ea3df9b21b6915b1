"""The image side of the squared differences: shifted, weighted images and the CTF's power.

In: a batch and the translations of a pass.  Out: the operands of the comparisons (E 5.3, 5.4).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from clrelion.expectation.images import BatchImages
from clrelion.expectation.pixels import PixelList, phase_ramps
from clrelion.expectation.settings import ExpectationSettings

if TYPE_CHECKING:
    from clrelion.device.array import Array
    from clrelion.device.session import DeviceSession

__all__ = ["ScoringList", "ScoringOperands", "TranslationRamps"]


@dataclass(frozen=True)
class TranslationRamps:
    """Phase ramps of a list of translations.

    Attributes
    ----------
    n
        Translations.
    x, y
        complex device arrays, (n, size/2+1) and (n, size+1).
    half
        size/2.
    host
        The same two in host memory, complex128.
    """

    n: int
    x: Array
    y: Array
    half: int
    host: tuple[NDArray[np.complex128], NDArray[np.complex128]]

    @classmethod
    def create(
        cls, session: DeviceSession, translations_px: NDArray[np.float64], box: int, size: int
    ) -> TranslationRamps:
        """Make the ramps of translations in px, (n, 2)."""
        x, y = phase_ramps(translations_px, box, size)
        return cls(
            len(translations_px),
            session.to_device(x, session.complex),
            session.to_device(y, session.complex),
            size // 2,
            (x, y),
        )

    def phases(self, session: DeviceSession, pixels: PixelList) -> Array:
        """Phases of all listed pixels, real device array (n, 2, n_padded), zeros behind the list.

        For CPUs, where reading them in runs of sixteen is faster than making them.
        """
        x, y = self.host
        phases = x[:, pixels.kx] * y[:, pixels.ky + self.half]
        planes = np.zeros((self.n, 2, pixels.n_padded))
        planes[:, 0, : pixels.n], planes[:, 1, : pixels.n] = phases.real, phases.imag
        return session.to_device(planes, session.real)


@dataclass(frozen=True)
class ScoringList:
    """Pixels and weights of one pass over the images of an optics group.

    Attributes
    ----------
    session
        Device.
    pixels
        Pixel list; its projected pixels are compared.
    pixel_xy
        Its place in the references, on the device.
    places
        int32; place of each projected pixel in the batch's list.
    weight
        float64, (n_projected,); 1/sigma2, or the multiplicity for cross-correlation.
    translations_px
        float64, (n_trans, 2); of the pass, px.
    box
        Of the images, px.
    """

    session: DeviceSession
    pixels: PixelList
    pixel_xy: Array
    places: NDArray[np.int32]
    weight: NDArray[np.float64]
    translations_px: NDArray[np.float64]
    box: int

    @cached_property
    def translations(self) -> Array:
        """The translations on the device, real, (n_trans, 2), px."""
        return self.session.to_device(self.translations_px, self.session.real)

    @cached_property
    def ramps(self) -> TranslationRamps:
        """Phase ramps of the translations."""
        return self._ramps_of(self.translations_px)

    @cached_property
    def no_ramps(self) -> TranslationRamps:
        """Those of a single translation by nothing."""
        return self._ramps_of(np.zeros((1, 2)))

    def _ramps_of(self, translations_px: NDArray[np.float64]) -> TranslationRamps:
        return TranslationRamps.create(self.session, translations_px, self.box, self.pixels.size)

    @cached_property
    def on_device(self) -> tuple[Array, Array, Array]:
        """Weights (real), places (int32) and (kx, ky) (int32) of the padded list."""
        session, pixels = self.session, self.pixels
        return (
            session.to_device(pixels.padded(self.weight), session.real),
            session.to_device(pixels.padded(self.places), np.int32),
            session.to_device(pixels.kxy()),
        )


@dataclass(frozen=True)
class ScoringOperands:
    """What the images bring to the squared differences (kernel scoring_operands).

    Attributes
    ----------
    shifted, ctf_power
        real device arrays, (n, n_trans, 2, n_padded) and (n, n_padded).
    inverse_norm
        real device array, (n,); 1/sqrt(sum |X|^2), cross-correlation only.
    n_trans
        Translations, children counted.
    phases
        Not None: the images in ``shifted``, (n, 1, 2, n_padded), are not shifted yet; arguments of
        the kernel that does so.
    """

    shifted: Array
    ctf_power: Array
    inverse_norm: Array | None
    n_trans: int
    phases: tuple[Any, ...] | None

    @classmethod
    def create(
        cls,
        settings: ExpectationSettings,
        batch: BatchImages,
        n_list: int,
        scoring: ScoringList,
        are_shifted: bool = True,
    ) -> ScoringOperands:
        """Weight the images of a batch, and shift them.

        Parameters
        ----------
        n_list
            Length of the batch's own pixel list.
        scoring
            Pixels, weights and translations; only projected pixels count.
        are_shifted
            Images are stored with every translation; otherwise as they are, and whoever compares
            them shifts them.
        """
        session, pixels = scoring.session, scoring.pixels
        n, n_padded = batch.n, pixels.n_padded
        ramps = scoring.ramps if are_shifted else scoring.no_ramps
        weight, places, kxy = scoring.on_device
        shifted = session.empty((n, ramps.n, 2, n_padded), session.real)
        ctf_power = session.empty((n, n_padded), session.real)
        correlate = settings.do_cross_correlation
        session.kernel("expectation/scoring_operands")(
            (n_padded, ramps.n, n),
            None,
            batch.image_ft,
            batch.scoring_ctf,
            batch.scale_d,
            weight,
            places,
            kxy,
            ramps.x,
            ramps.y,
            n,
            n_list,
            pixels.n_projected,
            n_padded,
            ramps.n,
            ramps.half + 1,
            ramps.half,
            1.0 if correlate else 0.5,
            shifted,
            ctf_power,
        )
        inverse = None
        if correlate:
            power = np.maximum(batch.power.window(), np.finfo(session.real).tiny)
            inverse = session.to_device(1.0 / np.sqrt(power), session.real)
        all_ramps, phases = scoring.ramps, None
        if not are_shifted:
            phases = (kxy, all_ramps.x, all_ramps.y, all_ramps.half + 1, all_ramps.half)
        return cls(shifted, ctf_power, inverse, all_ramps.n, phases)
