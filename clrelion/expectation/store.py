"""store: the weighted sums over orientations and translations.

In: posterior weights of a part of a batch.  Out: back-projection volumes on the device, power and
cross sums by image and shell on the host.  Specification E 5.6, 1.11; M 1.1, 1.2.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from clrelion.expectation.fine import FineLists
from clrelion.expectation.group_weights import GroupWeights
from clrelion.expectation.images import BatchImages
from clrelion.expectation.kept_rows import KeptRows, keep_rows
from clrelion.expectation.orientation_sums import OrientationSums
from clrelion.expectation.sampling_tables import OrientationTables
from clrelion.expectation.settings import ExpectationSettings
from clrelion.expectation.volumes import BackprojectionVolumes

if TYPE_CHECKING:
    from clrelion.device.array import Array
    from clrelion.device.session import DeviceSession
    from clrelion.device.transfers import PendingRead

__all__ = ["StoreJob", "prepare_store"]


@dataclass(frozen=True)
class StoreJob:
    """The sums of a part of a batch with all their buffers in place.

    Nothing is allocated on the device any more once the volumes begin to change: memory that runs
    out must not leave half a part in them.

    Attributes
    ----------
    sum_pixels
        Makes the sums by pixel.
    add_to_tile
        Adds the part to a tile of the volumes: its planes, the number of the first one and how many
        there are.
    pixel_sums
        real device array; of each image and pixel, in blocks or pixel by pixel.
    in_blocks
        Pixels are in blocks of sixteen.
    """

    session: DeviceSession
    volumes: BackprojectionVolumes
    sum_pixels: Callable[[], None]
    add_to_tile: Callable[[Array, int, int], None]
    pixel_sums: Array
    in_blocks: bool
    shell_start: Array
    shell_order: Array
    shell_sums: Array
    row_sum: Array
    lists: FineLists
    orientation_sums: OrientationSums

    def run(self) -> PendingRead:
        """Add the part to the volumes; give its sums by image and shell, (4, n, n_shells)."""
        self.sum_pixels()
        for tile in self.volumes.tiles():
            self.add_to_tile(*tile)
        lists = self.lists
        self.orientation_sums.add(lists.direction, self.row_sum, lists.per_block, lists.blocks.n)
        _, n, n_shells = self.shell_sums.shape
        self.session.kernel("expectation/shell_sums", blocks=self.in_blocks)(
            (n_shells, n),
            None,
            self.pixel_sums,
            self.shell_start,
            self.shell_order,
            self.pixel_sums.shape[1],
            n_shells,
            n,
            self.shell_sums,
        )
        return self.session.to_host_later(self.shell_sums)


def prepare_store(
    session: DeviceSession,
    settings: ExpectationSettings,
    batch: BatchImages,
    omega: Array,
    lists: FineLists,
    block_start: NDArray[np.int64],
    slices: Array,
    tables: OrientationTables,
    weights: GroupWeights,
    volumes: BackprojectionVolumes,
    orientation_sums: OrientationSums,
) -> StoreJob:
    """Get ready to add a part of a batch to the volumes, which stay as they are.

    Parameters
    ----------
    omega
        real device array; posterior weights of the samples of the part.
    lists, block_start
        All blocks of the part, or some of its only image, and those of each image, (n + 1,).
    slices
        real device array (., 2, n_padded), on the batch's own pixel list.
    weights
        Pixels (size s_g) of the batch's optics group, and their weights.

    Raises
    ------
    DeviceMemoryError
        The part does not fit.
    """
    rows = keep_rows(
        session,
        omega,
        lists,
        block_start,
        settings.n_child_translations,
        settings.n_classes,
        tables,
    )
    images = _Images.create(session, batch, weights)
    volumes.reserve(images.unmasked_ft, images.data, images.weight)
    prepare = _with_workers if volumes.n_workers else _with_atomics
    sum_pixels, add_to_tile, pixel_sums = prepare(
        session, images, rows, slices, tables, weights, volumes
    )
    shell_start, shell_order = weights.shell_lists
    return StoreJob(
        session=session,
        volumes=volumes,
        sum_pixels=sum_pixels,
        add_to_tile=add_to_tile,
        pixel_sums=pixel_sums,
        in_blocks=volumes.n_workers > 0,
        shell_start=shell_start,
        shell_order=shell_order,
        shell_sums=session.empty((4, batch.n, weights.pixels.n_shells), session.real),
        row_sum=rows.row_sum,
        lists=lists,
        orientation_sums=orientation_sums,
    )


@dataclass(frozen=True)
class _Images:
    """Images of a part and their factors in the sums (M 1.1), device arrays (n, n_list).

    ``compared`` is q C in Y = q C P; ``data`` and ``weight`` are those of the back-projection.
    """

    image_ft: Array
    unmasked_ft: Array
    compared: Array
    data: Array
    weight: Array

    @classmethod
    def create(cls, session: DeviceSession, batch: BatchImages, weights: GroupWeights) -> _Images:
        """Make the factors."""
        n, n_list = batch.n, batch.image_ft.shape[1]
        data, weight, compared = (session.empty((n, n_list), session.real) for _ in range(3))
        session.kernel("expectation/backprojection_weights", premultiplied=weights.premultiplied)(
            (n_list, n),
            None,
            batch.ctf,
            batch.scoring_ctf,
            batch.scale_d,
            weights.inverse_sigma2,
            n,
            n_list,
            data,
            weight,
            compared,
        )
        return cls(batch.image_ft, batch.unmasked_ft, compared, data, weight)


_Steps = tuple[Callable[[], None], "Callable[[Array, int, int], None]", "Array"]
"""How to sum pixels, how to add to a tile of the volumes, and where the sums by pixel are."""


def _with_workers(
    session: DeviceSession,
    images: _Images,
    rows: KeptRows,
    slices: Array,
    tables: OrientationTables,
    weights: GroupWeights,
    volumes: BackprojectionVolumes,
) -> _Steps:
    """On CPUs: each worker has pixels and volumes of its own."""
    real, pixels = session.real, weights.pixels
    n, n_blocks = images.data.shape[0], pixels.n_padded // 16
    packed = session.empty((n, n_blocks, 5, 16), real)
    pixel_sums = session.empty((n, n_blocks, 4, 16), real)
    session.kernel("expectation/pack_images")(
        (n_blocks, n),
        None,
        images.image_ft,
        images.unmasked_ft,
        images.compared,
        images.data,
        images.weight,
        pixels.n,
        n_blocks,
        n,
        packed,
    )
    kernel = session.kernel("expectation/weighted_sums_workers", tiled=volumes.is_tiled)
    before = (
        *(packed, images.compared, slices, rows.group_start, rows.n_groups),
        *(rows.image, rows.classes, rows.frames, rows.psis, rows.projection, rows.omega),
        *(*rows.entries, weights.xy_planes, weights.counted, weights.n_classes),
        *(weights.phases, tables.fine_frames, tables.fine_psis),
        *(pixels.n, pixels.n_padded),
    )
    after = volumes.edge, volumes.shape[2], volumes.edge // 2, n

    def add_to_tile(planes: Array, first: int, count: int) -> None:
        # the sums by pixel are the same with every tile
        kernel((volumes.n_workers,), (1,), *before, first, count, *after, planes, pixel_sums)

    return _nothing, add_to_tile, pixel_sums


def _with_atomics(
    session: DeviceSession,
    images: _Images,
    rows: KeptRows,
    slices: Array,
    tables: OrientationTables,
    weights: GroupWeights,
    volumes: BackprojectionVolumes,
) -> _Steps:
    """Elsewhere: all add to the same volumes.

    Rows of their own are added image after image, all in one kernel.  Else the sums by pixel are
    made image after image and the scatter orientation after orientation; sums of whole numbers
    always, so that how the rows are grouped makes no difference to a bit.
    """
    pixels, ramps, (n, n_list) = weights.pixels, weights.ramps, images.data.shape
    pixel_sums = session.empty((n, n_list, 4), session.real)
    kxy, xy = weights.kxy, weights.xy
    phases = ramps.x, ramps.y, ramps.half + 1, ramps.half
    of_pixels = (
        *(images.image_ft, images.compared, slices, rows.row_start, rows.place, rows.classes),
        *(rows.projection, rows.omega, *rows.entries, kxy, weights.shell),
        *(weights.scale_mask, pixels.n_shells, *phases, n_list, pixels.n_padded, n),
    )
    edge, nx, centre = volumes.edge, volumes.shape[2], volumes.edge // 2
    at_once = not (rows.groups or volumes.is_tiled or volumes.is_fixed_point)
    sums = session.kernel(
        "expectation/weighted_sums", scatters=at_once, tiled=False, fixed_point=False
    )
    if at_once:
        of_scatter = (
            *(images.unmasked_ft, images.data, images.weight, rows.frames, rows.psis, xy),
            *(tables.fine_frames, tables.fine_psis, edge, nx, centre),
        )

        def add_all(planes: Array, first: int, count: int) -> None:
            sums((n_list, n), None, *of_pixels, *of_scatter, planes, pixel_sums)

        return _nothing, add_all, pixel_sums
    kernel = session.kernel(
        "expectation/backproject_orientations",
        tiled=volumes.is_tiled,
        fixed_point=volumes.is_fixed_point,
    )
    of_rows = (
        *(images.unmasked_ft, images.data, images.weight, rows.group_start, rows.n_groups),
        *(rows.image, rows.classes, rows.frames, rows.psis, rows.omega, *rows.entries),
        *(kxy, xy, *phases, tables.fine_frames, tables.fine_psis, n_list),
    )

    def sum_pixels() -> None:
        sums((n_list, n), None, *of_pixels, pixel_sums)

    def add_to_tile(planes: Array, first: int, count: int) -> None:
        if rows.n_groups:
            kernel(
                (n_list, rows.n_groups), None, *of_rows, first, count, edge, nx, centre, planes,
                *volumes.scales(),
            )  # fmt: skip

    return sum_pixels, add_to_tile, pixel_sums


def _nothing() -> None:
    """All is done tile by tile."""
