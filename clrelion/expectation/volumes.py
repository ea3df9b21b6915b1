"""Back-projection volumes on the device (specification E 1.11; M 1.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from clrelion.expectation.settings import ExpectationSettings
from clrelion.fourier.padded import centred_shape
from clrelion.maximization.device_sums import DeviceSums
from clrelion.maximization.sums import BackprojectionSums

if TYPE_CHECKING:
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
        n_volumes = max(1, self.n_workers) * settings.n_classes
        self.values = session.zeros((n_volumes, *self.shape, 4), session.real)

    @property
    def edge(self) -> int:
        """M."""
        return self.shape[0]

    def on_device(self) -> list[DeviceSums]:
        """Sums of each class where they are; the workers' volumes are added up."""
        settings, n_classes = self._settings, self._settings.n_classes
        volumes = [
            DeviceSums(
                self._session,
                self.values,
                place,
                settings.padding_factor,
                settings.r_max,
                settings.ori_size,
            )
            for place in range(self.values.shape[0])
        ]
        for place, volume in enumerate(volumes[n_classes:]):
            volumes[place % n_classes].add(volume)
        return volumes[:n_classes]

    def to_host(self) -> list[BackprojectionSums]:
        """Sums of each class on the host; the workers' volumes are added up."""
        settings = self._settings
        host = self._session.to_host(self.values)
        host = host.reshape(max(1, self.n_workers), settings.n_classes, *self.shape, 4)
        total = host[0]
        for worker in range(1, len(host)):
            total += host[worker]
        return [
            BackprojectionSums(
                np.ascontiguousarray(volume[..., :2]).view(self._session.complex)[..., 0],
                np.ascontiguousarray(volume[..., 2]),
                settings.padding_factor,
                settings.r_max,
                settings.ori_size,
            )
            for volume in total
        ]
