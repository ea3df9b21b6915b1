"""Transforms between a map and its zero-padded, centred half transform, on the device.

The twin of `clrelion.fourier.padded`: axis by axis, on the non-zero part only.  The half transform
is worked through in runs of columns (kx), so that the arrays between two axes stay within a limit.
What is written does not depend on how many runs there are, to the last bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from clrelion.constants import TRANSFORM_WORK_BYTES
from clrelion.device.array import Array
from clrelion.device.line_fft import line_fft
from clrelion.device.line_kernel import Samples
from clrelion.device.mapping import mapped
from clrelion.device.session import DeviceSession
from clrelion.fourier.padded import inverse_along_y_and_x, inverse_along_z, row_runs

__all__ = ["Coefficients", "PaddedFFT"]

_WORK_SHARE = 0.0625
"""Limit of the arrays between two axes as a share of the device's memory."""

_ROOM_SHARE = 0.8
"""And as a share of what the memory limit leaves at the time."""

_TYPICAL_TRANSFORMS = 100
"""Transforms of a run, for the choice of the library."""


@dataclass(frozen=True)
class Coefficients:
    """A part of a half transform of radius P.

    Attributes
    ----------
    first_plane, n_planes
        Plane i holds kz = first_plane + i, less n_planes where that is more than P.
    first_row, n_rows
        Row i holds ky = first_row + i.
    first_column, n_columns
        Column i holds kx = first_column + i.
    """

    first_plane: int
    n_planes: int
    first_row: int
    n_rows: int
    first_column: int
    n_columns: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """Planes, rows and columns."""
        return self.n_planes, self.n_rows, self.n_columns


class PaddedFFT:
    """Transforms of maps of one size with one padded size and radius.

    Parameters
    ----------
    session : DeviceSession
    box : int
        Edge n of the map, voxels.
    padded_size : int
        Even edge N_p >= n of the padded box, voxels.
    padded_radius : int
        P <= N_p / 2, padded Fourier pixels.
    work_bytes : int, optional
        Limit of the arrays between two axes; by default 6 GB, a sixteenth of the
        device's memory, or what the session's memory limit leaves.

    Attributes
    ----------
    shape : tuple of int
        (2(P+1)+1, 2(P+1)+1, P+2), of the centred half array.
    """

    def __init__(
        self,
        session: DeviceSession,
        box: int,
        padded_size: int,
        padded_radius: int,
        work_bytes: int | None = None,
    ) -> None:
        self._session = session
        self._box = box
        self._radius = padded_radius
        self._padded_size = padded_size
        # the frequencies -N_p/2 are no part of a half transform (specification M 0.3, E F.6)
        self._lacks_lowest = padded_radius == padded_size // 2
        self._given_work_bytes = work_bytes
        edge = padded_radius + 1
        self.shape = (2 * edge + 1, 2 * edge + 1, edge + 1)
        columns = padded_radius + 1
        lines = box * box + columns * (box + 2 * padded_radius + 1)
        self._lines = line_fft(session, padded_size, float(_TYPICAL_TRANSFORMS * lines))

    def forward(
        self, volume: Array, target: Array, target_start: int = 0
    ) -> None:
        """Transform a map as if zero-padded.

        Parameters
        ----------
        volume : Array
            real, (n, n, n), real space, origin n//2.
        target : Array
            complex; at element ``target_start`` begins a centred half array of :attr:`shape`,
            which receives the cube of frequencies -P..P (x: 0..P): sums over voxels of the map
            times exp(-2 pi i q.x/N_p), unscaled.  Its margin of one voxel is not touched, and
            nothing is cleared.
        """
        session, n, first = self._session, self._box, -(self._box // 2)
        n_lines = 2 * self._radius + 1
        edge, _, nx = self.shape
        for start, count in self._runs(n * (n + n_lines)):
            along_x = session.empty((n, n, count), session.complex)
            self._lines(
                Samples(volume, n, 1, first, n), Samples(along_x, count, 1, start, count), n * n
            )
            along_y = session.empty((n, n_lines, count), session.complex)
            self._lines(
                Samples(along_x, n * count, count, first, n),
                Samples(along_y, n_lines * count, count, -self._radius, n_lines),
                n, count,
            )  # fmt: skip
            corner = target_start + (edge + 1) * nx + start
            self._lines(
                Samples(along_y, count, n_lines * count, first, n),
                Samples(target, nx, edge * nx, -self._radius, n_lines, corner),
                n_lines, count,
            )  # fmt: skip
            del along_x, along_y  # before the next run allocates its own

    def inverse(
        self, fill: Callable[[Array, Coefficients], None], volume: Array
    ) -> None:
        """Transform coefficients into the central part of the padded box.

        Parameters
        ----------
        fill : callable
            ``fill(block, part)`` writes a part of the coefficients into the complex device array
            ``block`` of the part's shape; zero beyond the radius P.
        volume : Array
            real, (n, n, n), overwritten: unscaled sums over coefficients, origin n//2.  The
            frequencies -N_p/2 are left out.
        """
        if self._session.is_cpu and self._given_work_bytes is None:
            self._inverse_on_host(fill, volume)
            return
        session, n, first = self._session, self._box, -(self._box // 2)
        n_all = 2 * self._radius + 1
        skipped = int(self._lacks_lowest)
        n_lines, lowest = n_all - skipped, skipped - self._radius
        columns = self._radius + 1
        along_y = session.empty((n, n, columns), session.complex)
        for start, count in self._runs(n_all * (n_all + n)):
            part = Coefficients(-self._radius, n_all, -self._radius, n_all, start, count)
            block = session.empty(part.shape, session.complex)
            fill(block, part)
            along_z = session.empty((n, n_lines, count), session.complex)
            corner = skipped * (n_all + 1) * count
            self._lines(
                Samples(block, count, n_all * count, lowest, n_lines, corner),
                Samples(along_z, count, n_lines * count, first, n),
                n_lines, count, inverse=True,
            )  # fmt: skip
            del block
            self._lines(
                Samples(along_z, n_lines * count, count, lowest, n_lines),
                Samples(along_y, n * columns, columns, first, n, start),
                n, count, inverse=True,
            )  # fmt: skip
            del along_z
        self._lines(
            Samples(along_y, columns, 1, 0, columns),
            Samples(volume, n, 1, first, n),
            n * n, inverse=True,
        )  # fmt: skip

    def _inverse_on_host(
        self, fill: Callable[[Array, Coefficients], None], volume: Array
    ) -> None:
        """Transform by scipy.fft, which is faster on CPUs, in the device's memory."""
        session, box, size = self._session, self._box, self._padded_size
        half_way_d = session.empty((box, size, self._radius + 1), session.complex)
        line_bytes = size * np.dtype(session.complex).itemsize
        with mapped(session, half_way_d, "write") as half_way:
            for run in row_runs(size, self._radius, line_bytes, sphere=True):
                part = Coefficients(0, size, run.first, run.n_rows, 0, run.n_columns)
                block = session.empty(part.shape, session.complex)
                fill(block, part)
                with mapped(session, block, "change") as grid:
                    inverse_along_z(grid, run, half_way)
            with mapped(session, volume, "write") as target:
                inverse_along_y_and_x(half_way, target)

    def _runs(self, elements_per_column: int) -> Iterator[tuple[int, int]]:
        """Cut the columns 0..P into runs whose arrays together stay within the limit."""
        bytes_per_column = elements_per_column * np.dtype(self._session.complex).itemsize
        columns = self._radius + 1
        work_bytes = self._given_work_bytes or min(
            TRANSFORM_WORK_BYTES,
            int(_WORK_SHARE * self._session.info.global_memory_bytes),
            int(_ROOM_SHARE * self._session.room_bytes),
        )
        n_runs = min(columns, -(-columns // max(1, work_bytes // bytes_per_column)))
        step = -(-columns // n_runs)
        for start in range(0, columns, step):
            yield start, min(step, columns - start)
