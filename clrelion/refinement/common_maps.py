"""The new maps of all half-sets and classes, which one rank each makes and all ranks read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from clrelion.device.pinned import pinned
from clrelion.maximization.device_map import DeviceMap
from clrelion.maximization.sums import BackprojectionSums
from clrelion.maximization.volume_steps import Map, to_host
from clrelion.maximization.waiting_sums import VolumeSums
from clrelion.parallel.common_arrays import CommonArrays
from clrelion.parallel.communicator import Communicator
from clrelion.refinement.state import HalfModel

if TYPE_CHECKING:
    from clrelion.device.session import DeviceSession

__all__ = ["CommonMaps", "start_writing_map"]


class CommonMaps:
    """Memory for the maps of an iteration; valid until those of the second next are made.

    Parameters
    ----------
    comm
        Ranks.
    session
        This rank's device, which writes maps and reads them; None: the host does.
    """

    def __init__(self, comm: Communicator, session: DeviceSession | None) -> None:
        self._comm = comm
        self._arrays = CommonArrays(comm)
        if session is not None:
            self._arrays = CommonArrays(comm, lambda memory: pinned(session, memory))

    def rooms(
        self,
        models: list[HalfModel],
        volumes: list[list[VolumeSums | None]],
        owners: list[list[int]],
    ) -> list[list[NDArray[np.float64]]]:
        """Make room for the maps of all ranks, by half-set and class; `spread` ends it."""
        n_classes = len(owners[0])
        mine = {
            i * n_classes + k: (model.maps[k].shape, _type_of_map(sums, model.maps[k]))
            for i, (model, of_half) in enumerate(zip(models, volumes, strict=True))
            for k, sums in enumerate(of_half)
            if owners[i][k] == self._comm.rank
        }
        every_owner = [owner for of_half in owners for owner in of_half]
        rooms = self._arrays.lay_out(mine, every_owner)
        return [rooms[i * n_classes :][:n_classes] for i in range(len(owners))]

    def spread(self) -> None:
        """Let all ranks have the maps that their owners have written."""
        self._arrays.spread()

    def of_halves(
        self,
        halves: Sequence[VolumeSums | None],
        owners: Sequence[int],
        ori_size: int,
        make: Callable[[VolumeSums], Map],
    ) -> list[NDArray[np.float64]]:
        """Make a map of each half-set on its owner; float64, (N, N, N), on all ranks."""
        mine = {i: half for i, half in enumerate(halves) if owners[i] == self._comm.rank and half}
        rooms = self._arrays.lay_out(dict.fromkeys(mine, ((ori_size,) * 3, np.float64)), owners)
        for i, half in mine.items():
            start_writing_map(rooms[i], make(half))()
        self.spread()
        return rooms


def start_writing_map(room: NDArray[Any], volume: Map) -> Callable[[], None]:
    """Begin to write a map to the host; the result waits for it."""
    if isinstance(volume, DeviceMap) and room.dtype == volume.values.dtype:
        return volume.start_writing(room)
    np.copyto(room, to_host(volume), casting="same_kind")
    return lambda: None


def _type_of_map(sums: VolumeSums | None, before: NDArray[Any]) -> Any:
    """Type of a class's next map: the device's precision where it makes it."""
    if sums is None:
        return before.dtype
    return np.float64 if isinstance(sums, BackprojectionSums) else sums.session.real
