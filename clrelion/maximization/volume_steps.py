"""The steps on volumes, carried out where the sums lie: on the host or on the device.

The one place that knows of both.  `BackprojectionSums` are worked on by NumPy in float64,
`DeviceSums` by kernels in the session's precision, `WaitingSums` too, one at a time; either way the
meaning is that of `clrelion.maximization.reconstruct`, `half_maps` and `solvent`.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from clrelion.errors import DeviceMemoryError
from clrelion.fourier.filters import low_pass_map
from clrelion.maximization import half_maps, sums
from clrelion.maximization.device_map import DeviceMap
from clrelion.maximization.device_reconstruct import reconstruct_on_device
from clrelion.maximization.device_sums import DeviceSums
from clrelion.maximization.reconstruct import MINRES_MAP
from clrelion.maximization.reconstruct import reconstruct as reconstruct_on_host
from clrelion.maximization.solvent import SolventMasks, flatten_solvent
from clrelion.maximization.sums import BackprojectionSums
from clrelion.maximization.waiting_sums import VolumeSums, WaitingSums

if TYPE_CHECKING:
    from clrelion.device.array import Array
    from clrelion.device.session import DeviceSession

__all__ = [
    "Map",
    "SolventFlattening",
    "add",
    "half_set_fsc",
    "join_low_resolution",
    "low_pass",
    "reconstruct",
    "to_host",
]

_log = logging.getLogger(__name__)

Map = NDArray[Any] | DeviceMap
"""A map on the host or on the device."""


def join_low_resolution(first: VolumeSums, second: VolumeSums, shell: int) -> None:
    """Average two half-sets within the radius of a shell, in place (specification M 1.5)."""
    if isinstance(first, DeviceSums) and isinstance(second, DeviceSums):
        return first.join_low_resolution(second, shell)
    if isinstance(first, WaitingSums) and isinstance(second, WaitingSums):
        return first.join_low_resolution(second, shell)
    return sums.join_low_resolution(_on_host(first), _on_host(second), shell)


def half_set_fsc(first: VolumeSums, second: VolumeSums) -> NDArray[np.float64]:
    """Correlate two half-sets, float64 (N/2+1,) (specification M 1.6)."""
    if isinstance(first, DeviceSums) and isinstance(second, DeviceSums):
        return first.fsc(second)
    if isinstance(first, WaitingSums) and isinstance(second, WaitingSums):
        return first.fsc(second)
    return half_maps.half_set_fsc(_on_host(first), _on_host(second))


def add(target: VolumeSums, other: VolumeSums) -> None:
    """Add sums to those of another half-set, in place."""
    if isinstance(target, DeviceSums) and isinstance(other, DeviceSums):
        return target.add(other)
    if isinstance(target, WaitingSums) and isinstance(other, WaitingSums):
        return target.add(other)
    return _on_host(target).add(_on_host(other))


def reconstruct(
    volume: VolumeSums,
    tau2: ArrayLike | None,
    tau2_fudge: float = 1.0,
    *,
    minres_map: int = MINRES_MAP,
    host_precision: Literal["single", "double"] = "double",
) -> Map:
    """Reconstruct a map (specification M 2); it stays where the sums lie.

    Parameters
    ----------
    host_precision
        Of the host's transforms; the device has the session's.

    Raises
    ------
    NumericalError
        If the sums hold NaN or infinity.
    """
    if not isinstance(volume, BackprojectionSums):
        try:
            there = volume.on_device() if isinstance(volume, WaitingSums) else volume
            return reconstruct_on_device(there, tau2, tau2_fudge, minres_map=minres_map)
        except DeviceMemoryError as error:
            _log.warning("%s; going on with the reconstruction on the host", error)
        volume = volume.to_host()
    return reconstruct_on_host(
        volume, tau2, tau2_fudge, minres_map=minres_map, precision=host_precision
    )


def low_pass(volume: Map, pixel_size_angst: float, resolution_angst: float) -> Map:
    """Low-pass filter a map (specification M 4.10); a map on the device is changed in place."""
    if isinstance(volume, DeviceMap) and volume.low_pass(pixel_size_angst, resolution_angst):
        return volume
    return low_pass_map(to_host(volume), pixel_size_angst, resolution_angst)


def to_host(volume: Map) -> NDArray[Any]:
    """Give a map as a host array: float64, or the session's precision if made on the device."""
    return volume.to_host() if isinstance(volume, DeviceMap) else volume


class SolventFlattening:
    """Solvent flattening of a run's maps (specification M 4.4).

    Parameters
    ----------
    masks
        Masks of the run.
    """

    def __init__(self, masks: SolventMasks) -> None:
        self._masks = masks
        self._mask_on_device: tuple[DeviceSession, Array] | None = None

    def __call__(self, volume: Map, pixel_size_angst: float) -> Map:
        """Flatten a map; one on the device is changed in place if there is but one mask."""
        masks = self._masks
        if isinstance(volume, DeviceMap) and masks.second is None and masks.low_pass is None:
            volume.multiply(self._uploaded(volume.session))
            return volume
        return flatten_solvent(to_host(volume), masks, pixel_size_angst)

    def _uploaded(self, session: DeviceSession) -> Array:
        if self._mask_on_device is None or self._mask_on_device[0] is not session:
            self._mask_on_device = session, session.to_device(self._masks.solvent, session.real)
        return self._mask_on_device[1]


def _on_host(volume: VolumeSums) -> BackprojectionSums:
    if not isinstance(volume, BackprojectionSums):
        raise TypeError("the half-sets' sums lie in different places, on the host and the device")
    return volume
