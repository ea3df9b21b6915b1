"""Back-projection volumes on the device (specification E 1.11; M 1.2)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from clrelion.expectation.settings import ExpectationSettings
from clrelion.expectation.volume_tiles import SumTiles
from clrelion.fourier.padded import centred_shape
from clrelion.maximization.device_sums import DeviceSums
from clrelion.maximization.waiting_sums import VolumeSums, WaitingSums

if TYPE_CHECKING:
    from pyopencl.array import Array

    from clrelion.device.session import DeviceSession
    from clrelion.planning.volumes import VolumePlacement

__all__ = ["BackprojectionVolumes"]


class BackprojectionVolumes:
    """Back-projection sums of all classes on the device, as (re, im, weight, 0).

    On CPUs each worker has volumes of its own, so that no atomics are needed and the sums have a
    fixed order; on other devices there is one set and atomic additions.

    Parameters
    ----------
    placement
        From the memory plan.
    """

    def __init__(
        self, session: DeviceSession, settings: ExpectationSettings, placement: VolumePlacement
    ) -> None:
        self._session = session
        self._settings = settings
        self.shape = centred_shape(settings.padding_factor, settings.r_max)
        self.n_workers = placement.n_workers
        self._stays = placement.stays
        self._waits_as_it_is = placement.maximizes_on_device
        edge, _, nx = self.shape
        self._tiles = SumTiles(
            session,
            settings.n_classes * edge,
            edge,
            nx,
            placement.sum_planes,
            max(1, self.n_workers),
        )

    @property
    def is_tiled(self) -> bool:
        """Only some planes are on the device at a time."""
        return self._tiles.is_tiled

    def tiles(self) -> Iterator[tuple[Array, int, int]]:
        """Yield each tile: its planes, the number of the first one, and how many there are."""
        return self._tiles.each()

    @property
    def edge(self) -> int:
        """M."""
        return self.shape[0]

    def sums(self) -> list[VolumeSums]:
        """Sums of each class, where the memory plan wants them; the workers' are added up."""
        if self._stays:
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
        values: Array = self._tiles.values.reshape(-1, *self.shape, 4)  # type: ignore[no-untyped-call]
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
