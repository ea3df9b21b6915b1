"""Back-projection volumes on the device (specification E 1.11; M 1.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from clrelion.expectation.settings import ExpectationSettings
from clrelion.maximization.device_sums import DeviceSums
from clrelion.maximization.sums import BackprojectionSums, centred_shape

if TYPE_CHECKING:
    from clrelion.device.session import DeviceSession

__all__ = ["BackprojectionVolumes", "number_of_workers"]

_MAX_WORKER_BYTES = 512 * 10**6
"""Volumes of the workers of a CPU together; beyond this the workers become fewer."""


class BackprojectionVolumes:
    """Back-projection sums of all classes on the device, as (re, im, weight, 0).

    On CPUs each worker has volumes of its own, so that no atomics are needed and the sums have a
    fixed order; on other devices there is one set and atomic additions.
    """

    def __init__(self, session: DeviceSession, settings: ExpectationSettings) -> None:
        self._session = session
        self._settings = settings
        self.shape = centred_shape(settings.padding_factor, settings.r_max)
        self.n_workers = number_of_workers(session, settings)
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


def number_of_workers(session: DeviceSession, settings: ExpectationSettings) -> int:
    """Volumes to keep on a CPU, one a compute unit if they fit; 0: shared volume with atomics."""
    if not session.is_cpu:
        return 0
    shape = centred_shape(settings.padding_factor, settings.r_max)
    bytes_each = 4 * np.dtype(session.real).itemsize * int(np.prod(shape)) * settings.n_classes
    return max(1, min(session.n_compute_units, _MAX_WORKER_BYTES // bytes_each))
