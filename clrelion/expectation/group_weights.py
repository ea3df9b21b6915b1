"""What the sums over all images of one optics group share: pixels, weights and phases (E 5.6)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from clrelion.expectation.pixels import PixelList
from clrelion.expectation.scoring import TranslationRamps
from clrelion.expectation.settings import ExpectationSettings, ImageGeometry

if TYPE_CHECKING:
    from clrelion.device.array import Array
    from clrelion.device.session import DeviceSession

__all__ = ["GroupWeights"]


@dataclass(frozen=True)
class GroupWeights:
    """Pixels of one optics group and their weights for the sums, on the device.

    What not every device needs is brought there when it is first asked for.

    Attributes
    ----------
    pixels, ramps
        The batches' pixel list (size s_g), and the phase ramps of the fine translations there.
    inverse_sigma2
        real device array (n_list,); 1/(sigma2_fudge sigma2), origin included.
    scale_mask
        uchar device array (n_classes, n_shells); shells that count for the intensity scale.
    counted
        real device array (n_classes, n_padded); 1 for the pixels of these shells, else 0.
    n_classes
        Classes.
    premultiplied
        The images are multiplied with their CTF.
    """

    session: DeviceSession
    pixels: PixelList
    ramps: TranslationRamps
    inverse_sigma2: Array
    scale_mask: Array
    counted: Array
    n_classes: int
    premultiplied: bool

    @classmethod
    def create(
        cls,
        session: DeviceSession,
        settings: ExpectationSettings,
        geometry: ImageGeometry,
        pixels: PixelList,
        ramps: TranslationRamps,
        inverse_sigma2: NDArray[np.float64],
        scale_shell_dvp: float,
    ) -> GroupWeights:
        """Make the weights; shells with data_vs_prior above ``scale_shell_dvp`` count for scale."""
        model_shell = geometry.model_shells(pixels.n_shells)
        inside = model_shell < settings.data_vs_prior.shape[1]
        mask = np.zeros((settings.n_classes, pixels.n_shells), dtype=np.uint8)
        mask[:, inside] = settings.data_vs_prior[:, model_shell[inside]] > scale_shell_dvp
        return cls(
            session,
            pixels,
            ramps,
            session.to_device(inverse_sigma2, session.real),
            session.to_device(mask),
            session.to_device(pixels.padded(mask[:, pixels.shell].T).T, session.real),
            settings.n_classes,
            bool(geometry.optics.ctf_premultiplied),
        )

    @cached_property
    def kxy(self) -> Array:
        """(kx, ky) of the pixels, int32 device array (n_padded, 2)."""
        return self.session.to_device(self.pixels.kxy())

    @cached_property
    def shell(self) -> Array:
        """Image shell of the pixels, int32 device array (n_list,)."""
        return self.session.to_device(self.pixels.shell)

    @cached_property
    def xy(self) -> Array:
        """Places of the pixels in the sums, real device array (n_list, 2)."""
        return self.session.to_device(self.pixels.backprojected_xy, self.session.real)

    @cached_property
    def xy_planes(self) -> Array:
        """The same as planes, real device array (2, n_padded), zeros behind the list."""
        planes = self.pixels.padded(self.pixels.backprojected_xy).T
        return self.session.to_device(planes, self.session.real)

    @cached_property
    def phases(self) -> Array:
        """Phases of the fine translations, `TranslationRamps.phases`."""
        return self.ramps.phases(self.session, self.pixels)

    @cached_property
    def shell_lists(self) -> tuple[Array, Array]:
        """Pixels by shell: where each begins, and the pixels, int32 device arrays."""
        start, order = self.pixels.by_shell
        return self.session.to_device(start), self.session.to_device(order)
