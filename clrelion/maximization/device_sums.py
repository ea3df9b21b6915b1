"""Back-projection sums that stay on the device: the twin of `BackprojectionSums`.

In: the volumes of the expectation step, (re, im, weight, 0).  Out: what the spectra and the
reconstruction need, without a copy of the padded volume on the host (specification M 1.3-1.6, 3).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from clrelion.device.large_copies import host_empty
from clrelion.device.shell_sums import (
    run_over_lines,
    run_over_shells,
    run_over_voxels,
    start_sum_by_shell,
)
from clrelion.device.wide_numbers import wide_kind
from clrelion.errors import DeviceMemoryError, NumericalError
from clrelion.fourier.padded import centred_shape
from clrelion.fourier.shells import round_half_away_int, shell_bounds
from clrelion.maximization.device_fsc import start_averages_fsc
from clrelion.maximization.half_maps import bin_starts
from clrelion.maximization.sums import (
    SMALLEST_WEIGHT_SUM,
    BackprojectionSums,
    ShellWeights,
)
from clrelion.maximization.symmetrise import lattice_cosets

if TYPE_CHECKING:
    from clrelion.device.array import Array
    from clrelion.device.session import DeviceSession

__all__ = ["DeviceSums"]

_log = logging.getLogger(__name__)

_BEYOND = 1 << 30
"""A squared radius that no voxel has."""

_PIECE_BYTES = 2**28
"""Planes made beside a volume that there is no room for twice."""

_SPLIT = 2.0**11
"""Operators are split at this fraction, see the kernel symmetrise_volume."""


class DeviceSums:
    """Back-projected data and weights of one class of one half-set, on the device.

    Parameters
    ----------
    session
        Device.
    values
        Real device array, (n_volumes, M, M, P+2, 4): re, im, weight, 0; centred half arrays.
    place
        Which of the volumes.  They may be shared: only this one is changed.
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
        values: Array,
        place: int,
        padding_factor: float,
        r_max: int,
        ori_size: int,
    ) -> None:
        self.shape = centred_shape(padding_factor, r_max)
        if values.shape[1:] != (*self.shape, 4) or not 0 <= place < values.shape[0]:
            raise ValueError(
                f"back-projection sums for R = {r_max} and padding {padding_factor} need the shape"
                f" {(place + 1, *self.shape, 4)}, not {values.shape}"
            )
        self.session = session
        self.values = values
        self.padding_factor = padding_factor
        self.r_max = r_max
        self.ori_size = ori_size
        self._place = place
        self._weights: tuple[ShellWeights, float] | None = None
        self._summing: Callable[[], NDArray[np.float64]] | None = None

    @classmethod
    def from_host(cls, session: DeviceSession, sums: BackprojectionSums) -> DeviceSums:
        """Copy sums to the device, in the session's precision."""
        host = np.zeros((1, *sums.data.shape, 4), dtype=session.real)
        host[0, ..., 0], host[0, ..., 1] = sums.data.real, sums.data.imag
        host[0, ..., 2] = sums.weight
        values = session.to_device(host)
        return cls(session, values, 0, sums.padding_factor, sums.r_max, sums.ori_size)

    def to_host(self) -> BackprojectionSums:
        """Copy the sums to the host."""
        rows = self.session.copy_rows(self.values, self._place, self._place + 1)
        volume = self.session.to_host(rows)[0]
        data = np.ascontiguousarray(volume[..., :2]).view(self.session.complex)[..., 0]
        weight = np.ascontiguousarray(volume[..., 2])
        return BackprojectionSums(data, weight, self.padding_factor, self.r_max, self.ori_size)

    @property
    def padded_radius(self) -> int:
        """P = rnd(p R), padded Fourier pixels."""
        return self.shape[2] - 2

    @property
    def start(self) -> int:
        """First voxel of the volume in `values`."""
        return self._place * self._n_voxels

    @property
    def _n_voxels(self) -> int:
        return self.shape[0] * self.shape[1] * self.shape[2]

    def is_empty(self) -> bool:
        """Tell whether the weights are too small to reconstruct from (specification M 4.3)."""
        return self._summed_weights()[1] <= SMALLEST_WEIGHT_SUM

    def add(self, other: DeviceSums) -> None:
        """Add other sums of the same geometry, in place.

        Raises
        ------
        ValueError
            If they differ in geometry.
        """
        self._require_same_geometry(other)
        n = self._n_voxels
        self.changed()
        run_over_lines(
            self.session, "add_volume", n, self.values, self.start, other.values, other.start, n
        )

    def hermitian_repair(self) -> None:
        """Complete the x = 0 plane, in place; must precede `symmetrise` (specification M 1.3)."""
        edge, _, nx = self.shape
        self.changed()
        run_over_lines(
            self.session, "repair_hermitian", edge * edge // 2, self.values, self.start, edge, nx
        )

    def symmetrise(self, operators: ArrayLike) -> None:
        """Add the symmetry copies of a point group, in place; needs a second volume meanwhile.

        Parameters
        ----------
        operators
            float, (n, 3, 3); rotation matrices of the group acting on (x, y, z), with or without
            the identity.

        Notes
        -----
        Specification M 1.4; first the cosets, then the lattice operators, as
        `clrelion.maximization.symmetrise` explains.
        """
        subgroup, cosets = lattice_cosets(operators)
        if len(subgroup) == len(cosets) == 1:
            return
        self.changed()
        try:
            if len(cosets) > 1:
                between = self.session.empty((*self.shape, 4), self.session.real)
            else:
                between = self.session.copy_rows(self.values, self._place, self._place + 1)
        except DeviceMemoryError as error:
            _log.warning("%s; going on with the symmetrisation through the host", error)
            self._symmetrise_through_host(subgroup, cosets)
            return
        if len(cosets) > 1:
            self._cosets(cosets, between, 0, self.shape[0])
        edge, _, nx = self.shape
        run_over_voxels(
            self.session, "symmetrise_lattice", self.shape,
            between, 0, edge, nx, self.padded_radius**2, self._lattice(subgroup), len(subgroup),
            0, self.values, self.start,
        )  # fmt: skip

    def _symmetrise_through_host(
        self, subgroup: NDArray[np.int64], cosets: NDArray[np.float64]
    ) -> None:
        """Symmetrise without a second volume on the device."""
        between = host_empty((*self.shape, 4), self.session.real)
        planes = self.values.reshape(-1, *self.values.shape[2:])
        first = self._place * self.shape[0]
        if len(cosets) > 1:
            self.add_cosets(cosets, between)
            self.session.write_rows(planes, first, between)
        self.add_lattice(subgroup, between)
        self.session.write_rows(planes, first, between)

    def add_cosets(self, cosets: NDArray[np.float64], target: NDArray[Any]) -> None:
        """Add the copies of operators that do not map voxels to voxels, into a host array.

        Parameters
        ----------
        cosets
            float64, (n, 3, 3), the identity first.
        target
            real, (M, M, P+2, 4), on the host; written within the radius P.
        """
        self._by_pieces(lambda piece, first, n: self._cosets(cosets, piece, first, n), target)

    def add_lattice(self, subgroup: NDArray[np.int64], target: NDArray[Any]) -> None:
        """Add the copies of operators that map voxels to voxels, into a host array."""
        edge, _, nx = self.shape
        operators = self._lattice(subgroup)

        def run(piece: Array, first: int, n: int) -> None:
            run_over_voxels(
                self.session, "symmetrise_lattice", (n, edge, nx),
                self.values, self.start, edge, nx, self.padded_radius**2, operators,
                len(subgroup), first, piece, -first * edge * nx,
            )  # fmt: skip

        self._by_pieces(run, target)

    def _lattice(self, subgroup: NDArray[np.int64]) -> Array:
        return self.session.to_device(subgroup.reshape(-1, 9), np.int32)

    def _cosets(self, cosets: NDArray[np.float64], target: Array, first: int, n: int) -> None:
        """Write planes first .. first + n - 1 of the sums over the cosets."""
        session, (edge, _, nx) = self.session, self.shape
        high = np.round(cosets[1:] * _SPLIT) / _SPLIT
        parts = np.concatenate([high.reshape(-1, 9), (cosets[1:] - high).reshape(-1, 9)], 1)
        run_over_voxels(
            session, "symmetrise_volume", (n, edge, nx),
            self.values, self.start, edge, nx, self.padded_radius**2,
            session.to_device(parts, session.real), len(parts), first, target,
            -first * edge * nx,
        )  # fmt: skip

    def _by_pieces(self, run: Callable[[Array, int, int], None], target: NDArray[Any]) -> None:
        """Compute new planes piece by piece beside the volume, and put them on the host."""
        session, edge = self.session, self.shape[0]
        planes = self.values.reshape(-1, *self.values.shape[2:])
        step = max(1, min(_PIECE_BYTES, session.room_bytes) // target[:1].nbytes)
        for first in range(0, edge, step):
            n = min(step, edge - first)
            # what lies beyond the radius is not written by the kernels
            piece = session.copy_rows(
                planes,
                self._place * edge + first,
                self._place * edge + first + n,
            )
            run(piece, first, n)
            session.read_rows(piece, 0, target[first : first + n])
            del piece  # before the next one is allocated

    def join_low_resolution(self, other: DeviceSums, shell: int) -> None:
        """Average two half-sets within the radius of a shell, in place (specification M 1.5).

        Raises
        ------
        NumericalError
            If the sphere is larger than the data.
        """
        if shell < 0:
            return
        self._require_same_geometry(other)
        if shell > self.r_max:
            raise NumericalError(
                f"--low_resol_join_halves reaches shell {shell} but the data end at {self.r_max};"
                " give a larger value in Å"
            )
        self.changed()
        other.changed()
        limit = round_half_away_int(self.padding_factor * shell) ** 2
        edge, _, nx = self.shape
        run_over_voxels(
            self.session, "join_volumes", self.shape,
            self.values, self.start, other.values, other.start, edge, nx, limit,
        )  # fmt: skip

    def fsc(self, other: DeviceSums) -> NDArray[np.float64]:
        """Correlate two half-sets without a mask, before any reconstruction.

        Parameters
        ----------
        other
            Both symmetrised and joined at low resolution.

        Returns
        -------
        float64, (N/2+1,); 1 at shell 0, 0 beyond R.  Specification M 1.6.
        """
        self._require_same_geometry(other)
        found = start_averages_fsc(
            self.session, self.downsampled(), other.downsampled(), self.r_max, self.ori_size
        )
        # the device goes on with what is asked for next
        self.sum_ahead()
        other.sum_ahead()
        return found()

    def shell_weights(self) -> ShellWeights:
        """Sum the weights and their squares over the shells."""
        return self._summed_weights()[0]

    def start_count(self, thresholds: NDArray[np.float64]) -> Callable[[], NDArray[np.int64]]:
        """Begin to count the voxels of each shell whose weight reaches the shell's threshold.

        Parameters
        ----------
        thresholds
            float64, (N/2+1,); may be infinite.

        Returns
        -------
        callable
            Waits for the counts, int64, (N/2+1,).
        """
        session, (edge, _, nx) = self.session, self.shape
        n_shells = len(thresholds)
        counts = session.empty((edge, n_shells), np.int32)
        bounds = session.to_device(self.bounds())
        with np.errstate(over="ignore"):  # beyond the range of single precision: infinite
            limits = thresholds.astype(session.real)
        run_over_shells(
            session, "shell_coverage", n_shells, edge,
            self.values, self.start, edge, nx, bounds, n_shells, session.to_device(limits), counts,
            wide=wide_kind(session),
        )  # fmt: skip
        pending = session.to_host_later(counts)
        return lambda: np.asarray(pending.result()[0].sum(axis=0, dtype=np.int64))

    def bounds(self) -> NDArray[np.int32]:
        """Squared radii where the shells begin, (N/2+2,); none holds |x|^2 >= P^2."""
        return shell_bounds(self.ori_size // 2 + 1, self.padded_radius**2, self.padding_factor)

    def sum_ahead(self) -> None:
        """Let the device begin to sum the weights, which will be asked for."""
        if self._summing is not None:
            return
        session, (edge, _, nx) = self.session, self.shape
        # one shell more for the voxels beyond
        bounds = np.append(self.bounds(), np.int32(_BEYOND))
        n = len(bounds) - 1
        self._summing = start_sum_by_shell(
            session, "shell_weights", n, edge, 3,
            self.values, self.start, edge, nx, session.to_device(bounds), n,
        )  # fmt: skip

    def _summed_weights(self) -> tuple[ShellWeights, float]:
        """Weights by shell, and the sum of all, kept until the volume changes."""
        if self._weights is None:
            self.sum_ahead()
            assert self._summing is not None
            sums, squares, counts = self._summing()
            by_shell = ShellWeights(np.rint(counts[:-1]).astype(np.int64), sums[:-1], squares[:-1])
            self._weights = by_shell, float(sums.sum())
        return self._weights

    def changed(self) -> None:
        """Forget what was summed up of the volume."""
        self._weights = self._summing = None

    def downsampled(self) -> Array:
        """Weighted averages over unpadded Fourier voxels, complex (2r+1, 2r+1, r+1)."""
        session, (edge, _, nx) = self.session, self.shape
        starts, half_starts = bin_starts(self.padding_factor, self.padded_radius)
        n, n_half = len(starts), len(half_starts)
        averages = session.empty((n, n, n_half), session.complex)
        run_over_voxels(
            session, "downsample_volume", averages.shape,
            self.values, self.start, edge, nx,
            session.to_device(np.append(starts, edge), np.int32),
            session.to_device(np.append(half_starts, nx), np.int32), n, n_half, averages,
        )  # fmt: skip
        return averages

    def _require_same_geometry(self, other: DeviceSums) -> None:
        one = (self.padding_factor, self.r_max, self.ori_size)
        two = (other.padding_factor, other.r_max, other.ori_size)
        if one != two:
            raise ValueError(
                f"back-projection sums differ in (padding, R, box): {one} against {two}"
            )
