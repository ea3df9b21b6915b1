"""The image side of the squared differences: shifted, weighted images and the CTF's power.

In: a batch and the translations of a pass.  Out: the operands of the comparisons (E 5.3, 5.4).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from clrelion.expectation.images import BatchImages
from clrelion.expectation.pixels import PixelList, phase_ramps
from clrelion.expectation.settings import ExpectationSettings

if TYPE_CHECKING:
    from pyopencl.array import Array

    from clrelion.device.session import DeviceSession

__all__ = ["ScoringOperands", "TranslationRamps"]


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
    """

    shifted: Array
    ctf_power: Array
    inverse_norm: Array | None
    n_trans: int

    @classmethod
    def create(
        cls,
        session: DeviceSession,
        settings: ExpectationSettings,
        batch: BatchImages,
        n_list: int,
        pixels: PixelList,
        places: NDArray[np.int32],
        weight: NDArray[np.float64],
        ramps: TranslationRamps,
    ) -> ScoringOperands:
        """Shift and weight the images of a batch.

        Parameters
        ----------
        n_list
            Length of the batch's own pixel list.
        pixels
            Scoring list; only its projected pixels count.
        places
            int32; place of each projected pixel in the batch's list.
        weight
            float64, (n_projected,); 1/sigma2, or the multiplicity for cross-correlation.
        ramps
            Translations.
        """
        correlate = settings.do_cross_correlation
        n, n_padded = batch.n, pixels.n_padded
        shifted = session.empty((n, ramps.n, 2, n_padded), session.real)
        ctf_power = session.empty((n, n_padded), session.real)
        session.kernel("expectation/scoring_operands")(
            (n_padded, ramps.n, n),
            None,
            batch.image_ft,
            batch.scoring_ctf,
            batch.scale_d,
            session.to_device(pixels.padded(weight), session.real),
            session.to_device(pixels.padded(places), np.int32),
            session.to_device(pixels.kxy()),
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
        return cls(shifted, ctf_power, inverse, ramps.n)
