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
        real, (n, n_shells); sum of omega |Y|^2 and of omega Re(Y* X) by image shell.
    scale_power, scale_cross
        float64, (n,); the same over the shells that count for the intensity scale.
    """

    power: NDArray[np.floating[Any]]
    cross: NDArray[np.floating[Any]]
    scale_power: NDArray[np.float64]
    scale_cross: NDArray[np.float64]

    @classmethod
    def of(cls, by_shell: NDArray[Any]) -> StoredSums:
        """Take them from what kernel shell_sums writes, (4, n, n_shells)."""
        power, cross, *scale = by_shell
        return cls(power, cross, *(part.astype(np.float64).sum(axis=1) for part in scale))

    def joined(self, following: StoredSums) -> StoredSums:
        """Sums over these rows and the following ones of the same images."""
        return StoredSums(
            np.add(self.power, following.power, dtype=np.float64),
            np.add(self.cross, following.cross, dtype=np.float64),
            self.scale_power + following.scale_power,
            self.scale_cross + following.scale_cross,
        )

    def chosen(self, images: slice | NDArray[np.bool_]) -> StoredSums:
        """Sums of some of the images."""
        return StoredSums(
            self.power[images],
            self.cross[images],
            self.scale_power[images],
            self.scale_cross[images],
        )


@dataclass(frozen=True)
class PendingSums:
    """Sums of a part of a batch by image and shell, on their way to the host: one read a run."""

    reads: list[PendingRead]

    def result(self) -> StoredSums:
        """Wait for the sums; those of several runs are added up in their order."""
        return reduce(StoredSums.joined, [StoredSums.of(*read.result()) for read in self.reads])
