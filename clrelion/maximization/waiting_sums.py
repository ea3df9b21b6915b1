"""Back-projection sums that wait on the host and come to the device one class at a time.

For boxes of which not all volumes fit on the device together: the work on a volume is still the
device's (`DeviceSums`), but only one volume is there at a time.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from clrelion.device.shell_sums import run_over_lines
from clrelion.errors import NumericalError
from clrelion.fourier.padded import centred_shape
from clrelion.fourier.shells import round_half_away_int
from clrelion.maximization.device_fsc import start_averages_fsc
from clrelion.maximization.device_sums import DeviceSums
from clrelion.maximization.sums import BackprojectionSums, ShellWeights
from clrelion.maximization.symmetrise import lattice_cosets

if TYPE_CHECKING:
    from clrelion.device.session import DeviceSession

__all__ = ["VolumeSums", "WaitingSums"]

_PIECE_BYTES = 2**28
"""Planes of another volume that are on the device at a time while two volumes are added."""


class _Place:
    """The one volume that is on the device, and whose it is."""

    def __init__(self) -> None:
        self.owner: weakref.ref[WaitingSums] | None = None
        self.sums: DeviceSums | None = None
        self.has_changed = False

    def put_away(self) -> None:
        """Bring the volume back to its owner if it has changed there; free the device."""
        owner = None if self.owner is None else self.owner()
        if owner is not None and self.sums is not None and self.has_changed:
            owner.session.read_rows(self.sums.values, 0, owner.values)
        self.owner, self.sums, self.has_changed = None, None, False

    def forget(self, _: object) -> None:
        """Its owner is gone."""
        self.owner, self.sums, self.has_changed = None, None, False


class WaitingSums:
    """Back-projected data and weights of one class of one half-set, on the host.

    Parameters
    ----------
    session
        Device that works on them.
    values
        Real array, (M, M, P+2, 4): re, im, weight, 0; centred half array.
    padding_factor, r_max, ori_size
        As in `BackprojectionSums`.

    Raises
    ------
    ValueError
        If shape and sizes do not belong together.
    """

    def __init__(
        self,
        session: DeviceSession,
        values: NDArray[Any],
        padding_factor: float,
        r_max: int,
        ori_size: int,
    ) -> None:
        self.shape = centred_shape(padding_factor, r_max)
        if values.shape != (*self.shape, 4):
            raise ValueError(
                f"back-projection sums for R = {r_max} and padding {padding_factor} need the shape"
                f" {(*self.shape, 4)}, not {values.shape}"
            )
        self.session = session
        self.values = values
        self.padding_factor = padding_factor
        self.r_max = r_max
        self.ori_size = ori_size

    @property
    def padded_radius(self) -> int:
        """P = rnd(p R), padded Fourier pixels."""
        return self.shape[2] - 2

    @property
    def _place(self) -> _Place:
        place: _Place = self.session.kept.setdefault(("waiting sums",), _Place())
        return place

    @property
    def _is_on_device(self) -> bool:
        owner = self._place.owner
        return owner is not None and owner() is self

    def on_device(self) -> DeviceSums:
        """Bring the volume to the device, in place of the one that is there.

        Raises
        ------
        DeviceMemoryError
            It does not fit.
        """
        place = self._place
        if not self._is_on_device:
            place.put_away()
            values = self.session.to_device(self.values[None])
            place.sums = DeviceSums(
                self.session, values, 0, self.padding_factor, self.r_max, self.ori_size
            )
            place.owner = weakref.ref(self, place.forget)
        assert place.sums is not None
        return place.sums

    def on_host(self) -> NDArray[Any]:
        """Give the host's array, (M, M, P+2, 4), which now is the valid copy and the only one."""
        if self._is_on_device:
            self._place.put_away()
        return self.values

    def to_host(self) -> BackprojectionSums:
        """Give the sums as the host's functions want them."""
        values = self.on_host()
        kind = np.result_type(values.dtype, np.complex64)
        return BackprojectionSums(
            np.ascontiguousarray(values[..., :2]).view(kind)[..., 0],
            np.ascontiguousarray(values[..., 2]),
            self.padding_factor,
            self.r_max,
            self.ori_size,
        )

    def is_empty(self) -> bool:
        """Tell whether the weights are too small to reconstruct from (specification M 4.3)."""
        return self.on_device().is_empty()

    def shell_weights(self) -> ShellWeights:
        """Sum the weights and their squares over the shells."""
        return self.on_device().shell_weights()

    def start_count(self, thresholds: NDArray[np.float64]) -> Callable[[], NDArray[np.int64]]:
        """Begin to count the voxels of each shell whose weight reaches the shell's threshold."""
        return self.on_device().start_count(thresholds)

    def hermitian_repair(self) -> None:
        """Complete the x = 0 plane, in place; must precede `symmetrise` (specification M 1.3)."""
        plane = self.on_host()[:, :, 0]
        origin = self.padded_radius + 1
        kept = plane[origin, origin].copy()
        mates = plane[::-1, ::-1].copy()
        mates[..., 1] *= -1
        plane += mates
        plane[origin, origin] = kept

    def symmetrise(self, operators: ArrayLike) -> None:
        """Add the symmetry copies of a point group, in place (specification M 1.4)."""
        subgroup, cosets = lattice_cosets(operators)
        if len(subgroup) == len(cosets) == 1:
            return
        if len(cosets) > 1:
            self.on_device().add_cosets(cosets, self.values)
            self._place.forget(None)
        if len(subgroup) > 1:
            self.on_device().add_lattice(subgroup, self.values)
            self._place.forget(None)

    def join_low_resolution(self, other: WaitingSums, shell: int) -> None:
        """Average two half-sets within the radius of a shell, in place (specification M 1.5).

        Raises
        ------
        NumericalError
            If the sphere is larger than the data.
        """
        if shell < 0:
            return
        if shell > self.r_max:
            raise NumericalError(
                f"--low_resol_join_halves reaches shell {shell} but the data end at {self.r_max};"
                " give a larger value in Å"
            )
        radius = round_half_away_int(self.padding_factor * shell)
        origin = self.padded_radius + 1
        cube = (slice(origin - radius, origin + radius + 1),) * 2 + (slice(0, radius + 1),)
        axis = np.arange(-radius, radius + 1) ** 2
        squared = axis[:, None, None] + axis[:, None] + np.arange(radius + 1) ** 2
        inside = squared <= radius**2
        one, two = self.on_host()[cube], other.on_host()[cube]
        mean = 0.5 * (one[inside] + two[inside])
        one[inside] = mean
        two[inside] = mean

    def add(self, other: WaitingSums) -> None:
        """Add other sums of the same geometry, in place, on the device."""
        values = other.on_host()
        mine = self.on_device()
        edge, _, nx = self.shape
        plane = edge * nx
        step = max(1, min(_PIECE_BYTES, self.session.room_bytes) // values[:1].nbytes)
        for first in range(0, edge, step):
            piece = self.session.to_device(values[first : first + step])
            n = plane * piece.shape[0]
            run_over_lines(self.session, "add_volume", n, mine.values, first * plane, piece, 0, n)
            del piece  # before the next one is allocated
        mine.changed()
        self._place.has_changed = True

    def fsc(self, other: WaitingSums) -> NDArray[np.float64]:
        """Correlate two half-sets, float64 (N/2+1,) (specification M 1.6)."""
        # the one that is there first: one copy less
        first, second = (other, self) if other._is_on_device else (self, other)
        one = first.on_device().downsampled()
        two = second.on_device().downsampled()
        return start_averages_fsc(self.session, one, two, self.r_max, self.ori_size)()


VolumeSums = BackprojectionSums | DeviceSums | WaitingSums
"""Back-projection sums of one class of one half-set: on the host, on the device, or on the host
between the device's steps."""
