"""Where the padded volumes of an iteration live, and how many of their planes at a time.

A volume is a centred half array of M planes along z; the volumes of K classes, one after the other,
have K M planes.  Under pressure fewer of these planes are on the device at a time: those of one
class, then a tile of it; the rest waits in the host's memory.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from clrelion.constants import TRANSFORM_WORK_BYTES
from clrelion.fourier.padded import centred_shape, padded_size_of
from clrelion.planning.limits import DeviceLimits

__all__ = [
    "REFERENCE_BRICK",
    "VolumePlacement",
    "VolumeSizes",
    "brick_counts",
    "number_of_workers",
    "place_volumes",
]

REFERENCE_BRICK = (2, 4, 4)
"""Voxels along x, y, z that are stored together in the copy for slices (docs/performance.md)."""

_BRICKS_SHARE = 1 / 12
"""Part of what volumes and a small batch leave that the copy in bricks may take."""

_SHARE = 0.6
"""Share of the budget that references and sums of all half-sets may take together."""

_MOST_VOXELS = 2**31 - 1
"""The voxels of a class are numbered by 32 bits."""

_SMALLEST_BOX_ON_CPUS = 256
"""Padded box from which the kernels are worth their compilation on a CPU."""

_MAX_WORKER_BYTES = 512 * 10**6
"""Volumes of the workers of a CPU together; beyond this the workers become fewer."""

_SMALLEST_TILE = 0.25
"""Share of a class below which a tile of the sums is not worth keeping the references whole."""

_FEWEST_COLUMNS = 8
"""Columns that a transform works on at a time at least."""


@dataclass(frozen=True)
class VolumeSizes:
    """Sizes of the padded volumes of an iteration.

    Attributes
    ----------
    ori_size, padding_factor, r_max
        N, p and R.
    n_classes, n_halves
        Maps of a half-set, and half-sets.
    """

    ori_size: int
    padding_factor: float
    r_max: int
    n_classes: int
    n_halves: int

    @property
    def n_planes(self) -> int:
        """M, planes of a volume."""
        return centred_shape(self.padding_factor, self.r_max)[0]

    @property
    def voxels_per_plane(self) -> int:
        """Voxels of a plane."""
        _, ny, nx = centred_shape(self.padding_factor, self.r_max)
        return ny * nx

    @property
    def voxels(self) -> int:
        """Voxels of a volume."""
        return self.n_planes * self.voxels_per_plane

    def bytes_of_all(self, item: int) -> int:
        """Count the bytes on the device if all volumes stay there.

        Parameters
        ----------
        item
            Bytes of a real number.

        Returns
        -------
        int
            References (re, im) and sums (re, im, weight, 0) of all half-sets, one more volume for
            the symmetrisation, and the maps.
        """
        numbers = (2 + 4) * self.n_classes * self.n_halves + 4
        return item * (self.voxels * numbers + self.ori_size**3 * (self.n_classes + 1))

    def bytes_in_bricks(self, item: int) -> int:
        """Count the bytes of the copy of a half-set's references in bricks."""
        edge, nx = self.n_planes, centred_shape(self.padding_factor, self.r_max)[2]
        return 2 * item * self.n_classes * math.prod(brick_counts(edge, nx) + REFERENCE_BRICK)

    def bytes_of_reconstruction(self, item: int) -> int:
        """Count the bytes that the reconstruction of a class takes at least, with its sums."""
        n, lines = self.ori_size, self.n_planes - 2
        columns = lines // 2 + 1
        between = n * n * columns + _FEWEST_COLUMNS * lines * (lines + n)
        return item * (4 * self.voxels + n**3 + 2 * between)

    def most_bytes_of_reconstruction(self, item: int) -> int:
        """Count the bytes that it takes where there is room."""
        n, lines = self.ori_size, self.n_planes - 2
        between = 2 * item * lines * (lines + n) * (lines // 2 + 1)
        return self.bytes_of_reconstruction(item) + min(TRANSFORM_WORK_BYTES, between)


def brick_counts(edge: int, nx: int) -> tuple[int, int, int]:
    """Count the bricks along x, y and z of a volume of (edge, edge, nx) voxels."""
    bx, by, bz = REFERENCE_BRICK
    return -(-nx // bx), -(-edge // by), -(-edge // bz)


@dataclass(frozen=True)
class VolumePlacement:
    """Where the volumes of an iteration live.

    Attributes
    ----------
    stays
        References and sums of all half-sets stay on the device from the first map to the last.
    reference_planes, sum_planes
        Planes of the references and of the sums that are on the device at a time.
    n_workers
        Copies of the sums on a CPU, one a worker; 0: one copy and atomic additions.
    maximizes_on_device
        Maps are reconstructed on the device, one after the other if the volumes do not stay.
    bytes
        References and sums of a half-set on the device during the expectation step.
    reference_tiles, sum_tiles
        Parts that references and sums are cut into; 1: all on the device at once.
    brick_bytes
        Of the copy of a half-set's references in bricks, from which lists of orientations are
        sliced during the expectation step; 0: none.
    """

    stays: bool
    reference_planes: int
    sum_planes: int
    n_workers: int
    maximizes_on_device: bool
    bytes: int
    reference_tiles: int
    sum_tiles: int
    brick_bytes: int = 0

    def text(self) -> str:
        """Say in words where the volumes are."""
        if self.stays:
            return "on the device throughout"
        parts = []
        for name, tiles in (("references", self.reference_tiles), ("sums", self.sum_tiles)):
            parts.append(f"{name} whole" if tiles == 1 else f"{name} in {tiles} tiles")
        return ", ".join(parts)


def number_of_workers(limits: DeviceLimits, sizes: VolumeSizes) -> int:
    """Volumes to keep on a CPU, one a compute unit if they fit; 0: shared volume with atomics."""
    if not limits.is_cpu or limits.fixed_point_bytes:
        return 0
    bytes_each = 4 * limits.real_bytes * sizes.voxels * sizes.n_classes
    return max(1, min(limits.n_compute_units, _MAX_WORKER_BYTES // bytes_each))


def place_volumes(
    limits: DeviceLimits, sizes: VolumeSizes, working_bytes: int = 0
) -> VolumePlacement:
    """Decide where the volumes live.

    Parameters
    ----------
    working_bytes
        What a small batch of particles needs beside the volumes.

    Returns
    -------
    VolumePlacement

    Notes
    -----
    On CPUs NumPy and scipy.fft on the same cores are the alternative to kernels: those work on
    whole volumes only in single precision, in which they are faster, and for boxes that are worth
    the five seconds of their first compilation (docs/performance.md).
    """
    placement = _place_volumes(limits, sizes, working_bytes)
    if limits.is_cpu or placement.reference_tiles > 1:
        return placement
    taken = placement.bytes + working_bytes
    if placement.stays:
        taken = sizes.bytes_of_all(limits.real_bytes)
    n_bytes = sizes.bytes_in_bricks(limits.real_bytes)
    if n_bytes > 2 * limits.real_bytes * sizes.n_classes * _MOST_VOXELS:
        return placement
    if n_bytes > min(_BRICKS_SHARE * (limits.budget_bytes - taken), limits.largest_volume_bytes):
        return placement
    return replace(placement, brick_bytes=n_bytes)


def _place_volumes(limits: DeviceLimits, sizes: VolumeSizes, working_bytes: int) -> VolumePlacement:
    item, n_workers = limits.real_bytes, number_of_workers(limits, sizes)
    n_all = sizes.n_classes * sizes.n_planes
    reference_plane = 2 * item * sizes.voxels_per_plane
    sum_plane = (4 * item + limits.fixed_point_bytes) * sizes.voxels_per_plane

    def placed(references: int, sums: int, workers: int, stays: bool = False) -> VolumePlacement:
        return VolumePlacement(
            stays=stays,
            reference_planes=references,
            sum_planes=sums,
            n_workers=workers,
            maximizes_on_device=stays or _maximizes_on_device(limits, sizes),
            bytes=references * reference_plane + max(1, workers) * sums * sum_plane,
            # a plane is interpolated together with the next one
            reference_tiles=1 if references == n_all else -(-n_all // max(1, references - 1)),
            sum_tiles=-(-n_all // sums),
        )

    if _all_stay(limits, sizes):
        return placed(n_all, n_all, n_workers, stays=True)
    room = max(0, limits.budget_bytes - working_bytes)
    largest = limits.largest_volume_bytes

    def fits(references: int, sums: int, workers: int) -> bool:
        each = references * reference_plane, max(1, workers) * sums * sum_plane
        return sum(each) <= room and max(each) <= largest

    for workers in range(n_workers, min(n_workers, 1) - 1, -1):
        if fits(n_all, n_all, workers):
            return placed(n_all, n_all, workers)
    workers = min(1, n_workers)
    for references, sums in ((n_all, sizes.n_planes), (sizes.n_planes, sizes.n_planes)):
        if fits(references, sums, workers):
            return placed(references, sums, workers)
    for references in (n_all, sizes.n_planes):
        left = min(room - references * reference_plane, largest)
        sums = min(sizes.n_planes, left // sum_plane)
        if sums >= _SMALLEST_TILE * sizes.n_planes and references * reference_plane <= largest:
            n_tiles = -(-sizes.n_planes // sums)
            return placed(references, -(-sizes.n_planes // n_tiles), workers)
    references = min(sizes.n_planes, max(2, min(room // 3, largest) // reference_plane))
    sums = min(sizes.n_planes, max(1, min(2 * room // 3, largest) // sum_plane))
    return placed(references, sums, workers)


def _worth_kernels(limits: DeviceLimits, sizes: VolumeSizes) -> bool:
    """Kernels, and not NumPy, are to work on whole volumes."""
    if not limits.is_cpu:
        return True
    padded_size = padded_size_of(sizes.ori_size, sizes.padding_factor)
    return limits.real_bytes == 4 and padded_size >= _SMALLEST_BOX_ON_CPUS


def _all_stay(limits: DeviceLimits, sizes: VolumeSizes) -> bool:
    """Not where that leaves too little for the particles, or a buffer would be too large."""
    item = limits.real_bytes
    sums_of_half = (
        item * sizes.voxels * 4 * sizes.n_classes * max(1, number_of_workers(limits, sizes))
    )
    fixed_point = limits.fixed_point_bytes * sizes.voxels * sizes.n_classes
    return (
        _worth_kernels(limits, sizes)
        and sizes.bytes_of_all(item) + fixed_point <= _SHARE * limits.budget_bytes
        and max(sums_of_half, fixed_point) <= limits.largest_volume_bytes
    )


def _maximizes_on_device(limits: DeviceLimits, sizes: VolumeSizes) -> bool:
    """Whether the maps of volumes that do not stay are made on the device."""
    item = limits.real_bytes
    return (
        _worth_kernels(limits, sizes)
        and sizes.bytes_of_reconstruction(item) <= limits.budget_bytes
        and item * sizes.voxels * 4 <= limits.largest_volume_bytes
    )
