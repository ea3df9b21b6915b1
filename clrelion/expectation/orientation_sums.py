"""Posterior weight of each class and direction, added up on the device (specification E 5.6)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from clrelion.device.array import Array
    from clrelion.device.session import DeviceSession

__all__ = ["OrientationSums"]

_UNIT_BITS = 42
"""Units of the integers in kernel direction_sums are 2^-42."""
_MANTISSA_BITS = 53


class OrientationSums:
    """Sums of an expectation step by class and coarse direction.

    Parameters
    ----------
    session
        Device.
    n_classes, n_dir
        Classes, and coarse directions of each.
    n_particles
        Particles of all ranks: float64 holds their sums, and sums of these, without rounding.

    Raises
    ------
    DeviceMemoryError
    """

    def __init__(
        self, session: DeviceSession, n_classes: int, n_dir: int, n_particles: int
    ) -> None:
        self._session = session
        self._coarser = max(0, int(2 * n_particles - 1).bit_length() + _UNIT_BITS - _MANTISSA_BITS)
        self._values = session.zeros((n_classes, n_dir, 2), np.uint32)

    def add(self, direction: Array, row_sum: Array, rows_per_block: int, n_blocks: int) -> None:
        """Add blocks of rows.

        Parameters
        ----------
        direction
            int32 device array, (n_blocks,); class * n_dir + direction.
        row_sum
            real device array, (n_blocks * rows_per_block,); posterior weight of each row.
        """
        if n_blocks:
            self._session.kernel("expectation/direction_sums")(
                (n_blocks,), None, direction, row_sum, rows_per_block, n_blocks, self._coarser,
                self._values,
            )

    def start_reading(self) -> Callable[[], NDArray[np.float64]]:
        """Ask for the sums so far; the result waits for them, float64, (n_classes, n_dir)."""
        pending = self._session.to_host_later(self._values)

        def sums() -> NDArray[np.float64]:
            words = pending.result()[0].astype(np.float64)
            return np.asarray(2.0**-_UNIT_BITS * (words[..., 0] + 2.0**32 * words[..., 1]))

        return sums
