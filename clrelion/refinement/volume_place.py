"""Where the padded volumes of a run live: on the device, or between the steps on the host."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from clrelion.device.memory import MemoryBudget, format_bytes
from clrelion.fourier.padded import padded_size_of
from clrelion.maximization.sums import centred_shape

if TYPE_CHECKING:
    from clrelion.device.session import DeviceSession

__all__ = ["VolumeSizes", "volumes_stay_on_device"]

_log = logging.getLogger(__name__)

_SHARE = 0.6
"""Share of the budget that references and sums of all half-sets may take together."""

_SMALLEST_BOX_ON_CPUS = 256
"""Padded box from which the kernels are worth their compilation on a CPU."""


@dataclass(frozen=True)
class VolumeSizes:
    """Sizes of the padded volumes of an iteration.

    Attributes
    ----------
    ori_size, padding_factor, r_max
        N, p and R.
    n_classes, n_halves
        Maps of a half-set, and half-sets.
    """

    ori_size: int
    padding_factor: float
    r_max: int
    n_classes: int
    n_halves: int

    def bytes(self, item: int) -> int:
        """Count the bytes on the device if all volumes stay there.

        Parameters
        ----------
        item
            Bytes of a real number.

        Returns
        -------
        int
            References (re, im) and sums (re, im, weight, 0) of all half-sets, one more volume for
            the symmetrisation, and the maps.
        """
        numbers = (2 + 4) * self.n_classes * self.n_halves + 4
        return item * (self._voxels * numbers + self.ori_size**3 * (self.n_classes + 1))

    def largest_buffer(self, item: int) -> int:
        """Bytes of the largest single array: the sums of all classes of a half-set."""
        return item * self._voxels * 4 * self.n_classes

    @property
    def _voxels(self) -> int:
        return int(np.prod(centred_shape(self.padding_factor, self.r_max), dtype=np.int64))


def volumes_stay_on_device(
    session: DeviceSession, budget: MemoryBudget, sizes: VolumeSizes
) -> bool:
    """Decide whether references are made, and maps reconstructed, on the device.

    Not where that would leave too little for the particles, or a volume is too large for one
    buffer.  On CPUs NumPy and scipy.fft on the same cores are the alternative: there only in single
    precision, in which the kernels are faster, and for boxes that are worth the five seconds that
    their first compilation takes (docs/performance.md).
    """
    if session.is_cpu and (
        session.precision == "double"
        or padded_size_of(sizes.ori_size, sizes.padding_factor) < _SMALLEST_BOX_ON_CPUS
    ):
        return False
    item = np.dtype(session.real).itemsize
    n_bytes = sizes.bytes(item)
    largest = session.info.max_allocation_bytes
    if n_bytes <= _SHARE * budget.bytes and sizes.largest_buffer(item) <= largest:
        return True
    _log.info(
        "The padded volumes (%s) stay on the host: the device has %s, and %s in one piece",
        format_bytes(n_bytes),
        format_bytes(budget.bytes),
        format_bytes(largest),
    )
    return False
