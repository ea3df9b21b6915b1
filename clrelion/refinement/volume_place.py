"""Where the padded volumes of a run live: on the device, or between the steps on the host."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np

from clrelion.device.memory import MemoryBudget, format_bytes
from clrelion.maximization.sums import centred_shape

if TYPE_CHECKING:
    from clrelion.device.session import DeviceSession

__all__ = ["volume_bytes", "volumes_stay_on_device"]

_log = logging.getLogger(__name__)

_SHARE = 0.6
"""Share of the budget that references and sums of all half-sets may take together."""


def volume_bytes(
    ori_size: int, padding_factor: float, r_max: int, n_classes: int, n_halves: int, item: int
) -> int:
    """Count the bytes on the device if all volumes of an iteration stay there.

    Parameters
    ----------
    ori_size, padding_factor, r_max
        N, p and R.
    n_classes, n_halves
        Maps of a half-set, and half-sets.
    item
        Bytes of a real number.

    Returns
    -------
    int
        References (re, im) and sums (re, im, weight, 0) of all half-sets, one more volume for the
        symmetrisation, and the maps.
    """
    voxels = int(np.prod(centred_shape(padding_factor, r_max), dtype=np.int64))
    numbers = (2 + 4) * n_classes * n_halves + 4
    return item * (voxels * numbers + ori_size**3 * (n_classes + 1))


def volumes_stay_on_device(session: DeviceSession, budget: MemoryBudget, n_bytes: int) -> bool:
    """Decide whether references are made, and maps reconstructed, on the device.

    Not on CPUs, where NumPy and scipy.fft on the same cores are faster than the kernels (measured:
    docs/performance.md), and not where `volume_bytes` would leave too little for the particles.
    """
    if session.is_cpu:
        return False
    if n_bytes <= _SHARE * budget.bytes:
        return True
    _log.info(
        "The padded volumes (%s) stay on the host: the device has %s",
        format_bytes(n_bytes),
        format_bytes(budget.bytes),
    )
    return False
