"""Back-projection volumes on the device (specification E 1.11; M 1.2)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from clrelion.expectation.fixed_point import expected_totals
from clrelion.expectation.settings import ExpectationSettings
from clrelion.expectation.volume_tiles import SumTiles
from clrelion.expectation.whole_sums import WholeSums, WholeUnits
from clrelion.fourier.padded import centred_shape
from clrelion.maximization.device_sums import DeviceSums
from clrelion.maximization.waiting_sums import VolumeSums, WaitingSums
from clrelion.planning.limits import sums_are_fixed_point

if TYPE_CHECKING:
    from clrelion.device.array import Array
    from clrelion.device.session import DeviceSession
    from clrelion.planning.volumes import VolumePlacement

__all__ = ["BackprojectionVolumes"]

_WORK_GROUP = 64


class BackprojectionVolumes:
    """Back-projection sums of all classes on the device, as (re, im, weight, 0).

    On CPUs each worker has volumes of its own, so that no atomics are needed and the sums have a
    fixed order; on other devices there is one set and atomic additions, of whole numbers if the
    session is deterministic.

    Parameters
    ----------
    placement
        From the memory plan.
    n_particles
        Particles that will be added at most.
    """

    def __init__(
        self,
        session: DeviceSession,
        settings: ExpectationSettings,
        placement: VolumePlacement,
        n_particles: int,
    ) -> None:
        self._session = session
        self._settings = settings
        self.shape = centred_shape(settings.padding_factor, settings.r_max)
        self.n_workers = placement.n_workers
        self._stays = placement.stays
        self._waits_as_it_is = placement.maximizes_on_device
        self._sums: list[VolumeSums] | None = None
        edge, _, nx = self.shape
        self._tiles = SumTiles(
            session,
            settings.n_classes * edge,
            edge,
            nx,
            placement.sum_planes,
            max(1, self.n_workers),
            expected_totals(settings, n_particles) if sums_are_fixed_point(session) else None,
        )

    @property
    def is_tiled(self) -> bool:
        """Only some planes are on the device at a time."""
        return self._tiles.is_tiled

    @property
    def is_fixed_point(self) -> bool:
        """The kernels add whole numbers."""
        return self._tiles.fixed_point is not None

    def scales(self) -> tuple[float, ...]:
        """Last arguments of kernel weighted_sums: what data and weights are multiplied with."""
        fixed_point = self._tiles.fixed_point
        return () if fixed_point is None else fixed_point.scales

    def reserve(self, unmasked_ft: Array, data: Array, weight: Array) -> None:
        """Get ready for the images of a part; nothing to do for sums of reals.

        Parameters
        ----------
        unmasked_ft
            complex device array, (n, n_list).
        data, weight
            real device arrays, (n, n_list); factors of kernel backprojection_weights.
        """
        fixed_point = self._tiles.fixed_point
        if fixed_point is None:
            return
        session, (n, n_list) = self._session, data.shape
        wg = 1 if session.is_cpu else _WORK_GROUP
        maxima_d = session.empty((n, 2), session.real)
        session.kernel("expectation/insertion_maxima", wg=wg)(
            (n * wg,), (wg,), unmasked_ft, data, weight, n_list, maxima_d
        )
        maxima: NDArray[np.float64] = session.to_host(maxima_d).astype(np.float64)
        self._tiles.reserve(maxima)

    def tiles(self) -> Iterator[tuple[Array, int, int]]:
        """Yield each tile: its planes, the number of the first one, and how many there are."""
        return self._tiles.each()

    @property
    def edge(self) -> int:
        """M."""
        return self.shape[0]

    def sums(self) -> list[VolumeSums]:
        """Sums of each class, where the memory plan wants them; the workers' are added up."""
        if self._sums is None:
            self._sums = self._made_sums()
        return self._sums

    def whole_sums(self) -> list[WholeSums]:
        """Sums of each class as whole numbers, to which those of other ranks can be added."""
        if not self._stays and self.whole_units() is not None:
            self._tiles.keep_on_host()
        return [WholeSums(self, place) for place in range(self._settings.n_classes)]

    def whole_units(self) -> WholeUnits | None:
        """Units of the whole numbers; None if some of the sums are reals already."""
        sums = self._tiles.fixed_point
        if sums is None or sums.has_moved:
            return None
        return WholeUnits(sums.scales, sums.part_of_room)

    def read_whole(self, first: int, last: int, block: NDArray[np.int64]) -> None:
        """Copy whole numbers of planes of all classes to a host array, (n, M, P+2, 3)."""
        self._tiles.read_whole(first, last, block)

    def add_whole(self, first: int, block: NDArray[np.int64]) -> None:
        """Add whole numbers to those of the planes from ``first`` on."""
        self._tiles.add_whole(first, block)

    def _made_sums(self) -> list[VolumeSums]:
        if self._stays:
            self._tiles.collect()
            return list(self._on_device())
        settings = self._settings
        host = self._tiles.to_host().reshape(settings.n_classes, *self.shape, 4)
        geometry = settings.padding_factor, settings.r_max, settings.ori_size
        waiting = [WaitingSums(self._session, volume, *geometry) for volume in host]
        if self._waits_as_it_is:
            return list(waiting)
        return [volume.to_host() for volume in waiting]

    def _on_device(self) -> list[DeviceSums]:
        settings, n_classes = self._settings, self._settings.n_classes
        values: Array = self._tiles.values.reshape(-1, *self.shape, 4)
        volumes = [
            DeviceSums(
                self._session,
                values,
                place,
                settings.padding_factor,
                settings.r_max,
                settings.ori_size,
            )
            for place in range(values.shape[0])
        ]
        for place, volume in enumerate(volumes[n_classes:]):
            volumes[place % n_classes].add(volume)
        return volumes[:n_classes]
