"""Back-projection sums that stay whole numbers until those of other ranks have been added.

Whole numbers add up to the same whoever has which; reals made of each rank's sums would not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from clrelion.maximization.waiting_sums import VolumeSums

if TYPE_CHECKING:
    from clrelion.expectation.volumes import BackprojectionVolumes

__all__ = ["WholeSums", "WholeUnits"]


@dataclass(frozen=True)
class WholeUnits:
    """What the whole numbers of a rank stand for.

    Attributes
    ----------
    scales
        What data and weights have been multiplied with.
    part_of_room
        How much of the range of the whole numbers the sums of data and weights may take.
    """

    scales: tuple[float, float]
    part_of_room: tuple[float, float]

    @staticmethod
    def agree(units: list[WholeUnits | None]) -> bool:
        """Tell whether sums of several ranks can be added as they are; None: one has reals."""
        known = [one for one in units if one is not None]
        if len(known) < len(units):
            return False
        room = np.sum([one.part_of_room for one in known], axis=0)
        return len({one.scales for one in known}) == 1 and bool((room <= 1.0).all())


class WholeSums:
    """Sums of one class of one half-set.

    Parameters
    ----------
    volumes
        Sums of all its classes.
    place
        Which of them.
    """

    def __init__(self, volumes: BackprojectionVolumes, place: int) -> None:
        self._volumes = volumes
        self._place = place

    @property
    def units(self) -> WholeUnits | None:
        """Of the whole numbers; None if some of the sums are reals already."""
        return self._volumes.whole_units()

    def read_planes(self, first: int, last: int, block: NDArray[np.int64]) -> None:
        """Copy planes first .. last - 1 to a host array, (last - first, M, P+2, 3)."""
        start = self._place * self._volumes.edge
        self._volumes.read_whole(start + first, start + last, block)

    def add_planes(self, first: int, block: NDArray[np.int64]) -> None:
        """Add a block to the planes from ``first`` on."""
        self._volumes.add_whole(self._place * self._volumes.edge + first, block)

    def to_reals(self) -> VolumeSums:
        """Give the sums as reals; nothing can be added to any class any more."""
        return self._volumes.sums()[self._place]
