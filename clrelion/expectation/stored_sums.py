"""Sums of a part of a batch by image and shell, from the device to the host (E 5.6)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from clrelion.device.transfers import PendingRead

__all__ = ["PendingSums", "StoredSums"]


@dataclass(frozen=True)
class StoredSums:
    """Sums of a part of a batch by image.

    Attributes
    ----------
    power, cross
        float64, (n, n_shells); sum of omega |Y|^2 and of omega Re(Y* X) by image shell.
    scale_power, scale_cross
        float64, (n,); the same over the shells that count for the intensity scale.
    """

    power: NDArray[np.float64]
    cross: NDArray[np.float64]
    scale_power: NDArray[np.float64]
    scale_cross: NDArray[np.float64]

    @classmethod
    def of(cls, by_shell: NDArray[Any]) -> StoredSums:
        """Take them from what kernel shell_sums writes, (n, n_shells, 4)."""
        shell = np.asarray(by_shell, dtype=np.float64)
        return cls(
            power=shell[..., 0],
            cross=shell[..., 1],
            scale_power=shell[..., 2].sum(axis=1),
            scale_cross=shell[..., 3].sum(axis=1),
        )

    def joined(self, following: StoredSums) -> StoredSums:
        """Sums over these rows and the following ones of the same images."""
        return StoredSums(
            self.power + following.power,
            self.cross + following.cross,
            self.scale_power + following.scale_power,
            self.scale_cross + following.scale_cross,
        )


@dataclass(frozen=True)
class PendingSums:
    """Sums of a part of a batch by image and shell, on their way to the host: one read a run."""

    reads: list[PendingRead]

    def result(self) -> StoredSums:
        """Wait for the sums; those of several runs are added up in their order."""
        return reduce(StoredSums.joined, [StoredSums.of(*read.result()) for read in self.reads])
