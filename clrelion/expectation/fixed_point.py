"""Back-projection sums as 64-bit whole numbers, which add up to the same in any order.

In: what the images of each part bring at most.  Out: the real volumes that the sums stand for.
"""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from clrelion.errors import NumericalError
from clrelion.expectation.settings import ExpectationSettings

if TYPE_CHECKING:
    from clrelion.device.array import Array
    from clrelion.device.session import DeviceSession

__all__ = ["FixedPointSums", "expected_totals"]

_log = logging.getLogger(__name__)

_LIMIT_BITS = 62
"""Sums stay below 2^62: one bit for the sign, one for what rounding adds."""

_SHARES = 4.0
"""What one image adds to one voxel is at most this times its largest value: the posterior weights
of an image add up to one, and so do about the trilinear shares of a plane's pixels in a voxel."""

_SLACK = (2.0**8, 2.0**3)
"""Largest value and weight of an image relative to what the noise spectrum lets expect."""

_LARGEST_EXPONENT = 100
_GROUP = 64


def expected_totals(settings: ExpectationSettings, n_particles: int) -> tuple[float, float]:
    """Bounds of the sums of data and weights over all particles, from the noise and the scales.

    They depend on nothing but the model, so that the rounding of the sums does not depend on how
    the particles come in batches.  Images may exceed them: see `FixedPointSums.reserve`.
    """
    scale = 1.0
    if settings.do_scale_correction:
        scale = max(scale, float(settings.scale_correction.max(initial=0.0)))
    largest, heaviest = 0.0, 0.0
    for group, geometry in enumerate(settings.geometry):
        noise = geometry.image_noise(settings.sigma2_noise[group, : settings.r_max + 1])
        noise = settings.sigma2_fudge * noise[np.isfinite(noise) & (noise > 0)]
        inverse = 1.0 / noise if settings.do_map else np.ones(len(noise))
        q = scale * geometry.amplitude
        largest = max(largest, q * float((inverse * np.sqrt(2.0 * noise)).max(initial=0.0)))
        heaviest = max(heaviest, q**2 * float(inverse.max(initial=0.0)))
    n_shares = _SHARES * max(1, n_particles)
    return n_shares * _SLACK[0] * (largest or 1.0), n_shares * _SLACK[1] * (heaviest or 1.0)


class FixedPointSums:
    """Sums of (re, im, weight) of all classes as whole multiples of two powers of two.

    Parameters
    ----------
    session
        Device.
    n_voxels
        Of all classes together.
    totals
        Expected bounds of the sums of data and weights, from `expected_totals`.

    Attributes
    ----------
    values
        int64 device array, (n_voxels, 3).
    has_moved
        Part of the sums moved to reals, where it was rounded.
    """

    def __init__(self, session: DeviceSession, n_voxels: int, totals: tuple[float, float]) -> None:
        self._session = session
        self._bits = [_bits_below(total) for total in totals]
        self._reserved = np.zeros(2)
        self.has_moved = False
        self._n_voxels = n_voxels
        self.values: Any = None
        self.allocate()

    def allocate(self) -> None:
        """Take memory for the whole numbers, all zero."""
        self.values = self._session.zeros((self._n_voxels, 3), np.int64)

    def release(self) -> None:
        """Give their memory back."""
        self.values = None

    @property
    def scales(self) -> tuple[float, float]:
        """What data and weights are multiplied with: powers of two."""
        return 2.0 ** self._bits[0], 2.0 ** self._bits[1]

    def reserve(self, maxima: NDArray[np.float64], target: Array) -> None:
        """Make sure that a part's images fit on top of the sums.

        Where they might not, what is there moves to the target and coarser multiples are used from
        then on.

        Parameters
        ----------
        maxima
            float64, (n, 2); largest data value and weight of each image (kernel insertion_maxima).
        target
            real device array (n_voxels, 4).

        Raises
        ------
        NumericalError
            NaN or infinite values.
        """
        more = _SHARES * maxima.sum(axis=0)
        if not self.has_room(maxima):
            _log.debug("fixed-point sums: %s reserved, %s more do not fit", self._reserved, more)
            self.move_to(target)
            self.has_moved = True
            self._reserved[:] = 0.0
            self._bits = [
                min(bits, _bits_below(slack * total))
                for bits, slack, total in zip(self._bits, _SLACK, more.tolist(), strict=True)
            ]
        self._reserved += more

    def has_room(self, maxima: NDArray[np.float64]) -> bool:
        """Tell whether a part's images fit on top of the sums as they are.

        Raises
        ------
        NumericalError
            NaN or infinite values.
        """
        more = _SHARES * maxima.sum(axis=0)
        if not np.isfinite(more).all():
            raise NumericalError(
                "images weighted for the back-projection hold NaN or infinity; look for broken "
                "particle images, CTFs or noise spectra"
            )
        return bool((self._part_of_room(self._reserved + more) <= 1.0).all())

    @property
    def part_of_room(self) -> tuple[float, float]:
        """How much of the range of the whole numbers the sums of data and weights may take."""
        data, weight = self._part_of_room(self._reserved).tolist()
        return data, weight

    def _part_of_room(self, reserved: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(reserved * np.array(self.scales) / 2.0**_LIMIT_BITS)

    def move_to(self, target: Array) -> None:
        """Add the sums to a real device array (n_voxels, 4), and clear them."""
        n = int(self.values.shape[0])
        data_scale, weight_scale = self.scales
        self._session.kernel("expectation/fixed_to_real")(
            (-(-n // _GROUP) * _GROUP,), (_GROUP,),
            self.values, n, 1.0 / data_scale, 1.0 / weight_scale, target,
        )  # fmt: skip


def _bits_below(total: float) -> int:
    """Exponent of the finest multiple that holds a total within the limit."""
    if total <= 0.0:
        return _LARGEST_EXPONENT
    bits = math.floor(_LIMIT_BITS - math.log2(total))
    return max(-_LARGEST_EXPONENT, min(bits, _LARGEST_EXPONENT))
