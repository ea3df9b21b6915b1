"""Central slices of the references on the device.

In: reference transforms, orientations, a pixel list.  Out: slices packed for the matrix products of
the coarse pass, or one row an orientation for the sparse passes.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from clrelion.errors import DeviceMemoryError
from clrelion.expectation.pixels import PixelList
from clrelion.expectation.reference import ReferenceTransform
from clrelion.expectation.reference_bricks import ReferenceBricks
from clrelion.expectation.volume_tiles import ReferenceTiles
from clrelion.planning.limits import panel_width

if TYPE_CHECKING:
    from clrelion.device.array import Array
    from clrelion.device.session import DeviceSession

__all__ = ["Projector", "SliceRows", "places_in_references"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SliceRows:
    """Orientations of a list of slices.

    Attributes
    ----------
    n
        Number of slices.
    classes, frames, psis
        int32 device arrays; class, and indices into the tables of frames and psi angles.
    """

    n: int
    classes: Array
    frames: Array
    psis: Array

    @classmethod
    def upload(
        cls,
        session: DeviceSession,
        classes: NDArray[np.int64],
        frames: NDArray[np.int64],
        psis: NDArray[np.int64],
    ) -> SliceRows:
        """Copy a list to the device."""
        arrays = (session.to_device(a, np.int32) for a in (classes, frames, psis))
        return cls(len(classes), *arrays)

    def part(self, session: DeviceSession, first: int, last: int) -> SliceRows:
        """Rows ``first`` to ``last`` - 1."""
        if (first, last) == (0, self.n):
            return self
        parts = (session.copy_rows(a, first, last) for a in (self.classes, self.frames, self.psis))
        return SliceRows(last - first, *parts)


def places_in_references(session: DeviceSession, pixels: PixelList) -> Array:
    """Upload where the pixels of a list lie in the references.

    Returns
    -------
    Array
        real, (n_padded, 2), or (2, n_padded) for the vector kernels of CPUs.
    """
    table = pixels.padded(pixels.projected_xy)
    # pixels that are not projected may lie outside the references
    table[pixels.n_projected :] = 0
    if session.is_cpu:
        table = np.ascontiguousarray(table.T)
    return session.to_device(table, session.real)


class Projector:
    """The references of all classes on the device.

    Parameters
    ----------
    session
        Device.
    references
        One transform a class, all of the same shape, from the host or on the device; None for a
        dead class (zeros).
    tile_planes
        Planes of the references on the device at a time, from the memory plan; None: all.
    has_bricks
        There is room for a copy in bricks, made when lists of orientations are first asked for.

    Raises
    ------
    DeviceMemoryError
        The references do not fit.
    """

    def __init__(
        self,
        session: DeviceSession,
        references: Sequence[ReferenceTransform | None],
        tile_planes: int | None = None,
        has_bricks: bool = False,
    ) -> None:
        self._session = session
        self._tiles = ReferenceTiles(session, references, tile_planes or 2**62)
        self.edge, self.nx = self._tiles.edge, self._tiles.nx
        self.centre = self.edge // 2
        self.n_classes = len(references)
        self._has_bricks = has_bricks and not session.is_cpu and not self._tiles.is_tiled
        self._bricks: ReferenceBricks | None = None

    def grid_panels(
        self,
        frames: Array,
        psis: Array,
        first: int,
        n_orientations: int,
        pixels: PixelList,
        pixel_xy: Array,
    ) -> tuple[Array, Array, int]:
        """Slices of a run of grid orientations.

        Parameters
        ----------
        frames, psis
            Coarse tables on the device.
        first, n_orientations
            Run of coarse orientations, classes outermost.
        pixels, pixel_xy
            Pixel list and its `places_in_references`.

        Returns
        -------
        projections, powers
            real, (panels, 2 n_padded, width) and (panels, n_padded, width).
        n_columns
            Orientations including the padding of the last panel.
        """
        session = self._session
        width = panel_width(session.is_cpu)
        n_panels = -(-n_orientations // width)
        n_columns = n_panels * width
        n_padded = pixels.n_padded
        is_tiled = self._tiles.is_tiled
        make = session.zeros if is_tiled else session.empty
        projections = make((n_panels, 2 * n_padded, width), session.real)
        powers = make((n_panels, n_padded, width), session.real)
        if session.is_cpu:
            kernel = session.kernel("expectation/project_grid_vector", panel=width, tiled=is_tiled)
            size: tuple[int, ...] = (n_panels,)
            local: tuple[int, ...] | None = (1,)
            last = n_panels
        else:
            kernel = session.kernel("expectation/project_grid", panel=width, tiled=is_tiled)
            size, local, last = (n_columns, n_padded), None, n_columns
        for tile in self._tiles.each():
            kernel(
                size,
                local,
                *tile,
                self.edge,
                self.nx,
                self.centre,
                frames,
                psis,
                frames.shape[0],
                psis.shape[0],
                first,
                n_orientations,
                pixel_xy,
                pixels.n_projected,
                n_padded,
                last,
                projections,
                powers,
            )
        return projections, powers, n_columns

    def rows(
        self,
        frames: Array,
        psis: Array,
        rows: SliceRows,
        pixels: PixelList,
        pixel_xy: Array,
    ) -> Array:
        """Slices of a list of orientations, real (n_rows, 2, n_padded)."""
        session = self._session
        n_rows = rows.n
        is_tiled = self._tiles.is_tiled
        make = session.zeros if is_tiled else session.empty
        out = make((n_rows, 2, pixels.n_padded), session.real)
        if n_rows == 0:
            return out
        of_rows = (
            *(frames, psis, rows.classes, rows.frames, rows.psis),
            *(pixel_xy, pixels.n_projected),
        )
        bricks = self._in_bricks()
        if bricks is not None:
            bricks.project(*of_rows, out)
            return out
        if session.is_cpu:
            kernel = session.kernel("expectation/project_rows_vector", tiled=is_tiled)
            size: tuple[int, ...] = (n_rows,)
            local: tuple[int, ...] | None = (1,)
        else:
            kernel = session.kernel("expectation/project_rows", tiled=is_tiled)
            size, local = (pixels.n_padded, n_rows), None
        for tile in self._tiles.each():
            kernel(
                size,
                local,
                *tile,
                self.edge,
                self.nx,
                self.centre,
                *of_rows,
                pixels.n_padded,
                n_rows,
                out,
            )
        return out

    def _in_bricks(self) -> ReferenceBricks | None:
        """Give the copy in bricks, made now if it is the first time; None: go on without."""
        if self._has_bricks and self._bricks is None:
            references, _, _ = next(self._tiles.each())
            try:
                self._bricks = ReferenceBricks(self._session, references)
            except DeviceMemoryError as error:
                _log.warning("%s; going on without a copy of the references in bricks", error)
                self._session.release_unused()
                self._has_bricks = False
        return self._bricks
