"""store: the weighted sums over orientations and translations.

In: posterior weights of a part of a batch.  Out: back-projection volumes on the device, power and
cross sums by image and shell on the host.  Specification E 5.6, 1.11; M 1.1, 1.2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from clrelion.device.prefix_sums import prefix_sums
from clrelion.expectation.fine import FineLists
from clrelion.expectation.images import BatchImages
from clrelion.expectation.orientation_sums import OrientationSums
from clrelion.expectation.pixels import PixelList
from clrelion.expectation.sampling_tables import OrientationTables
from clrelion.expectation.scoring import TranslationRamps
from clrelion.expectation.settings import ExpectationSettings, ImageGeometry
from clrelion.expectation.volumes import BackprojectionVolumes

if TYPE_CHECKING:
    from pyopencl.array import Array

    from clrelion.device.session import DeviceSession

__all__ = ["GroupWeights", "StoreJob", "StoredSums", "prepare_store"]


@dataclass(frozen=True)
class GroupWeights:
    """Weights of the pixels of one optics group for the sums.

    Attributes
    ----------
    inverse_sigma2
        real device array (n_list,); 1/(sigma2_fudge sigma2), origin included.
    scale_mask
        uchar device array (n_classes, n_shells); shells that count for the intensity scale.
    """

    inverse_sigma2: Array
    scale_mask: Array
    premultiplied: bool

    @classmethod
    def create(
        cls,
        session: DeviceSession,
        settings: ExpectationSettings,
        geometry: ImageGeometry,
        pixels: PixelList,
        inverse_sigma2: NDArray[np.float64],
        scale_shell_dvp: float,
    ) -> GroupWeights:
        """Make the weights; shells with data_vs_prior above ``scale_shell_dvp`` count for scale."""
        model_shell = geometry.model_shells(pixels.n_shells)
        inside = model_shell < settings.data_vs_prior.shape[1]
        mask = np.zeros((settings.n_classes, pixels.n_shells), dtype=np.uint8)
        mask[:, inside] = settings.data_vs_prior[:, model_shell[inside]] > scale_shell_dvp
        return cls(
            session.to_device(inverse_sigma2, session.real),
            session.to_device(mask),
            bool(geometry.optics.ctf_premultiplied),
        )


@dataclass(frozen=True)
class StoredSums:
    """Sums of a part of a batch by image.

    Attributes
    ----------
    power, cross
        float64, (n, n_shells); sum of omega |Y|^2 and of omega Re(Y* X) by image shell.
    scale_power, scale_cross
        float64, (n,); the same over the shells that count for the intensity scale.
    """

    power: NDArray[np.float64]
    cross: NDArray[np.float64]
    scale_power: NDArray[np.float64]
    scale_cross: NDArray[np.float64]

    def joined(self, following: StoredSums) -> StoredSums:
        """Sums over these rows and the following ones of the same images."""
        return StoredSums(
            self.power + following.power,
            self.cross + following.cross,
            self.scale_power + following.scale_power,
            self.scale_cross + following.scale_cross,
        )


@dataclass(frozen=True)
class _KeptRows:
    """Rows with weight, and their significant translations as one list, on the device.

    Attributes
    ----------
    row_start
        int32, (n_images + 1,); kept rows of each image.
    rows
        Classes, frames, psi angles, slices (int32) and weights (real) of the kept rows.
    entries
        Where the translations of each kept row begin (int32), translations and weights.
    row_sum
        real; weight of every row, kept or not.
    """

    row_start: Array
    rows: tuple[Array, ...]
    entries: tuple[Array, Array, Array]
    row_sum: Array


def _keep_rows(
    session: DeviceSession,
    omega: Array,
    lists: FineLists,
    block_start: NDArray[np.int64],
    n_children: int,
) -> _KeptRows:
    blocks, rows, n_images = lists.blocks, lists.rows, len(block_start) - 1
    real, n = session.real, rows.n
    row_sum, counts = session.empty(n, real), session.empty(n, np.int32)
    is_kept = session.empty(n, np.int32)
    session.kernel("expectation/row_weights")(
        (n,),
        None,
        omega,
        blocks.out,
        blocks.n_trans,
        n_children,
        lists.per_block,
        n,
        row_sum,
        counts,
        is_kept,
    )
    kept_before = prefix_sums(session, is_kept, n)
    entry_before = prefix_sums(session, counts, n)
    n_kept, n_entries = session.read_int(kept_before, n), session.read_int(entry_before, n)
    row_start = session.empty(n_images + 1, np.int32)
    kept = tuple(session.empty(max(1, n_kept), np.int32) for _ in range(4))
    kept_omega = session.empty(max(1, n_kept), real)
    entry_start = session.empty(n_kept + 1, np.int32)
    entry_trans = session.empty(max(1, n_entries), np.int32)
    entry_omega = session.empty(max(1, n_entries), real)
    session.kernel("expectation/compact_rows")(
        (max(n, n_images) + 1,),
        None,
        omega,
        blocks.out,
        blocks.trans,
        blocks.n_trans,
        blocks.trans_list,
        session.to_device(block_start, np.int32),
        rows.classes,
        rows.frames,
        rows.psis,
        blocks.row_projection,
        row_sum,
        kept_before,
        entry_before,
        n_children,
        lists.per_block,
        n,
        n_images,
        row_start,
        *kept,
        kept_omega,
        entry_start,
        entry_trans,
        entry_omega,
    )
    return _KeptRows(
        row_start, (*kept, kept_omega), (entry_start, entry_trans, entry_omega), row_sum
    )


@dataclass(frozen=True)
class StoreJob:
    """The sums of a part of a batch with all their buffers in place.

    Nothing is allocated on the device any more once the volumes begin to change: memory that runs
    out must not leave half a part in them.
    """

    session: DeviceSession
    volumes: BackprojectionVolumes
    arguments: tuple[object, ...]
    geometry: tuple[int, int, int]
    first_image: Array
    pixel_sums: Array
    shell_start: Array
    shell_order: Array
    shell_sums: Array
    row_sum: Array
    lists: FineLists
    orientation_sums: OrientationSums

    def run(self) -> StoredSums:
        """Add the part to the volumes; return its sums by image and shell."""
        session, volumes = self.session, self.volumes
        n, n_list = self.pixel_sums.shape[:2]
        name = "weighted_sums_workers" if volumes.n_workers else "weighted_sums"
        kernel = session.kernel(
            f"expectation/{name}", tiled=volumes.is_tiled, fixed_point=volumes.is_fixed_point
        )
        size, local = ((volumes.n_workers,), (1,)) if volumes.n_workers else ((n_list, n), None)
        shares = self.first_image if volumes.n_workers else n
        # the sums by pixel are the same with every tile
        for planes, *span in volumes.tiles():
            kernel(
                size,
                local,
                *(*self.arguments, *span, *self.geometry, shares, planes, self.pixel_sums),
                *volumes.scales(),
            )
        lists = self.lists
        self.orientation_sums.add(lists.direction, self.row_sum, lists.per_block, lists.blocks.n)
        n_shells = self.shell_sums.shape[1]
        session.kernel("expectation/shell_sums")(
            (n_shells, n),
            None,
            self.pixel_sums,
            self.shell_start,
            self.shell_order,
            n_list,
            n_shells,
            n,
            self.shell_sums,
        )
        shell = np.asarray(session.to_host(self.shell_sums), dtype=np.float64)
        return StoredSums(
            power=shell[..., 0],
            cross=shell[..., 1],
            scale_power=shell[..., 2].sum(axis=1),
            scale_cross=shell[..., 3].sum(axis=1),
        )


def prepare_store(
    session: DeviceSession,
    settings: ExpectationSettings,
    batch: BatchImages,
    omega: Array,
    lists: FineLists,
    block_start: NDArray[np.int64],
    slices: Array,
    tables: OrientationTables,
    pixels: PixelList,
    weights: GroupWeights,
    ramps: TranslationRamps,
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
    pixels
        The batch's pixel list (size s_g).
    ramps
        Phase ramps of the fine translations at size s_g.

    Raises
    ------
    DeviceMemoryError
        The part does not fit.
    """
    n = batch.n
    kept = _keep_rows(session, omega, lists, block_start, settings.n_child_translations)
    compared, data, weight = _pixel_factors(session, batch, weights)
    volumes.reserve(batch.unmasked_ft, data, weight)
    arguments = (
        *(batch.image_ft, batch.unmasked_ft, compared, data, weight, slices),
        kept.row_start,
        *kept.rows,
        *kept.entries,
        *_pixel_arguments(session, pixels, weights, ramps, volumes.n_workers > 0),
        *(tables.fine_frames, tables.fine_psis, pixels.n, pixels.n_padded),
    )
    order = np.argsort(pixels.shell, kind="stable")
    counts = np.bincount(pixels.shell, minlength=pixels.n_shells)
    return StoreJob(
        session=session,
        volumes=volumes,
        arguments=arguments,
        geometry=(volumes.edge, volumes.shape[2], volumes.edge // 2),
        first_image=_shares(session, kept.row_start, volumes.n_workers),
        pixel_sums=session.empty((n, pixels.n, 4), session.real),
        shell_start=session.to_device(np.concatenate([[0], np.cumsum(counts)]), np.int32),
        shell_order=session.to_device(order, np.int32),
        shell_sums=session.empty((n, pixels.n_shells, 4), session.real),
        row_sum=kept.row_sum,
        lists=lists,
        orientation_sums=orientation_sums,
    )


def _pixel_arguments(
    session: DeviceSession,
    pixels: PixelList,
    weights: GroupWeights,
    ramps: TranslationRamps,
    for_workers: bool,
) -> tuple[object, ...]:
    """Arguments that describe the pixels and the phases of the translations."""
    real, mask = session.real, (weights.scale_mask, pixels.n_shells)
    if for_workers:
        plane = np.ascontiguousarray(pixels.padded(pixels.backprojected_xy).T)
        shell = session.to_device(pixels.padded(pixels.shell), np.int32)
        return shell, session.to_device(plane, real), *mask, ramps.phases(session, pixels)
    return (
        session.to_device(pixels.kxy()),
        session.to_device(pixels.shell),
        session.to_device(pixels.backprojected_xy, real),
        *mask,
        *(ramps.x, ramps.y, ramps.half + 1, ramps.half),
    )


def _pixel_factors(
    session: DeviceSession, batch: BatchImages, weights: GroupWeights
) -> tuple[Array, Array, Array]:
    """Factors in Y = q C P, in the back-projected data and in its weight (M 1.1)."""
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
    return compared, data, weight


def _shares(session: DeviceSession, row_start: Array, n_workers: int) -> Array:
    """First image of each worker of a CPU, so that all have about as many rows."""
    if not n_workers:
        return session.zeros(1, np.int32)
    start = session.to_host(row_start)
    goal = start[-1] * np.arange(1, n_workers) / n_workers
    inner = np.searchsorted(start, goal, side="left")
    return session.to_device(np.concatenate([[0], inner, [len(start) - 1]]), np.int32)
