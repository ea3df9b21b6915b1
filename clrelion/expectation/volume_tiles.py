"""Padded volumes of which only some planes are on the device at a time; the rest is on the host.

The volumes of all classes, one after the other, are one stack of planes along z.  A tile is a run
of these planes: all of them, those of one class, or fewer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from clrelion.device.large_copies import host_empty
from clrelion.device.shell_sums import run_over_lines
from clrelion.expectation.device_reference import DeviceReferenceTransform
from clrelion.expectation.fixed_point import FixedPointSums
from clrelion.expectation.reference import ReferenceTransform
from clrelion.fourier.transforms import workers_or_default

if TYPE_CHECKING:
    from clrelion.device.array import Array
    from clrelion.device.session import DeviceSession

__all__ = ["ReferenceTiles", "SumTiles"]

_STAGING_BYTES = 2**26
"""Size of the pieces in which a tile is added to what is on the host."""


class _TileOrder:
    """Runs of planes; each round begins with the tile that the last one ended with."""

    def __init__(self, n_planes: int, tile_planes: int, overlap: int) -> None:
        step = max(1, tile_planes - overlap)
        firsts = range(0, max(1, n_planes - overlap), step)
        self.tiles = [(first, min(tile_planes, n_planes - first)) for first in firsts]
        self.current: int | None = None

    @property
    def is_whole(self) -> bool:
        return len(self.tiles) == 1

    def round(self) -> Iterator[int]:
        n = len(self.tiles)
        yield from range(n) if self.current in (None, 0) else reversed(range(n))


class ReferenceTiles:
    """References of all classes, handed to the kernels tile by tile.

    Parameters
    ----------
    session
        Device.
    references
        One transform a class, from the host or on the device; None for a dead class (zeros).
    tile_planes
        Planes on the device at a time, from the memory plan.

    Attributes
    ----------
    edge, nx
        M and P+2.

    Raises
    ------
    DeviceMemoryError
        A tile does not fit.
    """

    def __init__(
        self,
        session: DeviceSession,
        references: Sequence[ReferenceTransform | None],
        tile_planes: int,
    ) -> None:
        self._session = session
        self._references = references
        given = next(r for r in references if r is not None)
        self.edge, self.nx = 2 * given.padded_radius + 3, given.padded_radius + 2
        n_planes = len(references) * self.edge
        if isinstance(given, DeviceReferenceTransform):
            self._order = _TileOrder(n_planes, n_planes, 1)
            self._tile = given.stack.reshape(n_planes, self.edge, self.nx)
            self._order.current = 0
            return
        # the points of a tile's last plane lie between it and the next tile's first one
        self._order = _TileOrder(n_planes, min(n_planes, max(2, tile_planes)), 1)
        shape = (min(n_planes, max(2, tile_planes)), self.edge, self.nx)
        self._tile = session.empty(shape, session.complex)

    @property
    def is_tiled(self) -> bool:
        """There is more than one tile."""
        return not self._order.is_whole

    def each(self) -> Iterator[tuple[Array, int, int]]:
        """Yield each tile: its planes, the number of the first one, and how many there are."""
        for place in self._order.round():
            first, n = self._order.tiles[place]
            if self._order.current != place:
                self._load(first, n)
                self._order.current = place
            yield self._tile, first, n

    def _load(self, first: int, n: int) -> None:
        edge, start = self.edge, first
        while start < first + n:
            place, plane = divmod(start, edge)
            count = min(edge - plane, first + n - start)
            reference = self._references[place]
            if reference is None:
                rows: NDArray[Any] = np.zeros((count, edge, self.nx), self._session.complex)
            else:
                rows = reference.data[plane : plane + count]
            self._session.write_rows(self._tile, start - first, rows)
            start += count


class SumTiles:
    """Back-projection sums of all classes, which the kernels add to tile by tile.

    Parameters
    ----------
    session
        Device.
    n_planes, edge, nx
        Planes of all classes, rows and columns of a plane.
    tile_planes
        Planes on the device at a time, from the memory plan.
    n_copies
        Volumes that are added up in the end, one a worker of a CPU.
    expected_totals
        For sums of whole numbers, see `FixedPointSums`; None: sums of reals.

    Attributes
    ----------
    fixed_point
        What the kernels add to in place of the reals, or None.

    Raises
    ------
    DeviceMemoryError
        A tile does not fit.
    """

    def __init__(
        self,
        session: DeviceSession,
        n_planes: int,
        edge: int,
        nx: int,
        tile_planes: int,
        n_copies: int,
        expected_totals: tuple[float, float] | None = None,
    ) -> None:
        self._session = session
        self._order = _TileOrder(n_planes, min(tile_planes, n_planes), 0)
        self._n_copies = n_copies
        planes = min(tile_planes, n_planes)
        self._tile_shape = n_copies * planes, edge, nx, 4
        self._tile: Any = session.zeros(self._tile_shape, session.real)
        self._is_on_host = False
        self.fixed_point: FixedPointSums | None = None
        if expected_totals is not None:
            self.fixed_point = FixedPointSums(session, planes * edge * nx, expected_totals)
        self._host: NDArray[Any] | None = None
        self._shape = (n_planes, edge, nx, 4)
        self._is_filled = np.zeros(len(self._order.tiles), dtype=np.bool_)
        # whole numbers of tiles that are not on the device
        self._parked: dict[int, NDArray[np.int64]] = {}

    @property
    def is_tiled(self) -> bool:
        """There is more than one tile."""
        return not self._order.is_whole

    @property
    def values(self) -> Array:
        """The planes on the device, real (copies x planes, M, P+2, 4)."""
        tile: Array = self._tile
        return tile

    def each(self) -> Iterator[tuple[Array, int, int]]:
        """Yield each tile: its planes, the number of the first one, and how many there are."""
        order = self._order
        for place in order.round():
            if order.current is None:
                order.current = place
            elif order.current != place:
                if self.fixed_point is None:
                    self._flush()
                    self._session.fill_zero(self._tile)
                else:
                    self._park(order.current)
                    self._bring_back(place)
                order.current = place
            adds_to = self._tile if self.fixed_point is None else self.fixed_point.values
            yield adds_to, *order.tiles[place]

    def reserve(self, maxima: NDArray[np.float64]) -> None:
        """Make sure that a part's images fit on top of sums of whole numbers.

        Parameters
        ----------
        maxima
            As for `FixedPointSums.reserve`.
        """
        assert self.fixed_point is not None
        if self._parked and not self.fixed_point.has_room(maxima):
            self._settle()
        self.fixed_point.reserve(maxima, self._tile)

    def _park(self, place: int) -> None:
        """Take the whole numbers of the tile on the device to the host, so that nothing rounds."""
        assert self.fixed_point is not None
        _, n = self._order.tiles[place]
        n_voxels = n * self._shape[1] * self._shape[2]
        if place not in self._parked:
            self._parked[place] = host_empty((n_voxels, 3), np.int64)
        self._session.read_rows(self.fixed_point.values, 0, self._parked[place])

    def _bring_back(self, place: int) -> None:
        assert self.fixed_point is not None
        if place in self._parked:
            self._session.write_rows(self.fixed_point.values, 0, self._parked[place])
        else:
            self._session.fill_zero(self.fixed_point.values)

    def _settle(self) -> None:
        """Add the whole numbers of all tiles to the reals on the host; none are left."""
        order = self._order
        if order.current is not None:
            self._flush()
            self._parked.pop(order.current, None)
        for place in sorted(self._parked):
            self._session.fill_zero(self._tile)
            self._bring_back(place)
            order.current = place
            self._flush()
        self._parked.clear()
        self._session.fill_zero(self._tile)

    def read_whole(self, first: int, last: int, block: NDArray[np.int64]) -> None:
        """Copy the whole numbers of planes first .. last - 1 to a host array, (n, M, P+2, 3)."""
        if not self._is_on_host:
            self._session.read_rows(self._whole_planes(), first, block)
            return
        for planes, rows in self._parked_planes(first, last):
            block[rows] = planes

    def add_whole(self, first: int, block: NDArray[np.int64]) -> None:
        """Add whole numbers to those of the planes from ``first`` on."""
        if not self._is_on_host:
            n_plane = self._shape[1] * self._shape[2] * 3
            n, source = n_plane * len(block), self._session.to_device(block)
            assert self.fixed_point is not None
            run_over_lines(
                self._session, "add_whole_numbers", n,
                self.fixed_point.values, first * n_plane, source, n,
            )  # fmt: skip
            return
        for planes, rows in self._parked_planes(first, first + len(block)):
            planes += block[rows]

    def keep_on_host(self) -> None:
        """Take all whole numbers to the host, and free the device until the sums are made."""
        assert self.fixed_point is not None
        if self._order.current is not None:
            self._park(self._order.current)
            self._order.current = None
        self._is_on_host = True
        self._tile = None
        self.fixed_point.release()

    def _parked_planes(
        self, first: int, last: int
    ) -> Iterator[tuple[NDArray[np.int64], slice]]:
        """Yield the parts of a run of planes that lie in one tile, and their place in the run."""
        for place, (start, n) in enumerate(self._order.tiles):
            low, high = max(first, start), min(last, start + n)
            if low >= high:
                continue
            shape = (n, *self._shape[1:3], 3)
            if place not in self._parked:
                self._parked[place] = np.zeros((shape[0] * shape[1] * shape[2], 3), np.int64)
            tile = self._parked[place].reshape(shape)
            yield tile[low - start : high - start], slice(low - first, high - first)

    def _whole_planes(self) -> Array:
        assert self.fixed_point is not None
        values: Any = self.fixed_point.values
        planes: Array = values.reshape(-1, *self._shape[1:3], 3)
        return planes

    def collect(self) -> None:
        """Bring all that was added to the tile on the device into its reals."""
        if self.fixed_point is not None:
            self.fixed_point.move_to(self._tile)

    def to_host(self) -> NDArray[Any]:
        """Give the sums of all planes, real (n_planes, M, P+2, 4), copies added up."""
        if self._is_on_host:
            assert self.fixed_point is not None
            self._tile = self._session.zeros(self._tile_shape, self._session.real)
            self.fixed_point.allocate()
            self._is_on_host = False
        if self._order.current is not None or self._parked:
            self._settle()
            self._order.current = None
        host = self._on_host()
        for place in np.flatnonzero(~self._is_filled).tolist():
            first, n = self._order.tiles[place]
            host[first : first + n] = 0
        return host

    def _on_host(self) -> NDArray[Any]:
        if self._host is None:
            self._host = host_empty(self._shape, self._session.real)
        return self._host

    def _flush(self) -> None:
        """Add the tile on the device to the host's planes."""
        place = self._order.current
        assert place is not None
        self.collect()
        first, n = self._order.tiles[place]
        host = self._on_host()[first : first + n]
        start = 0
        if not self._is_filled[place]:
            self._session.read_rows(self._tile, 0, host)
            self._is_filled[place] = True
            start = 1
        for copy in range(start, self._n_copies):
            self._add(copy * n, host)

    def _add(self, first_row: int, host: NDArray[Any]) -> None:
        """Add rows of the tile to the host's, piece by piece, each by all threads."""
        step = max(1, _STAGING_BYTES // max(1, host[:1].nbytes))
        staging = np.empty_like(host[:step])
        n_threads = workers_or_default()
        with ThreadPoolExecutor(n_threads) as pool:
            for start in range(0, len(host), step):
                target = host[start : start + step]
                piece = staging[: len(target)]
                self._session.read_rows(self._tile, first_row + start, piece)
                parts = np.array_split(np.arange(len(target)), n_threads)
                spans = [slice(p[0], p[-1] + 1) for p in parts if len(p)]
                list(pool.map(lambda s, t=target, p=piece: np.add(t[s], p[s], out=t[s]), spans))
