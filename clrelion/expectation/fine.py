"""Fine pass: the children of the significant coarse samples, compared and weighted.

In: a part of a batch and its significant samples.  Out: posterior weights omega on the device and
the best sample of each image.  Specification E 5.4 (pass 2), 5.5, 5.6.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from clrelion.expectation.differences import Blocks
from clrelion.expectation.images import BatchImages
from clrelion.expectation.pixels import PixelList
from clrelion.expectation.projections import Projector
from clrelion.expectation.sampling_tables import OrientationTables
from clrelion.expectation.search_space import SearchSpace
from clrelion.expectation.settings import ExpectationSettings
from clrelion.expectation.weights import SignificantSamples, group_size

if TYPE_CHECKING:
    from pyopencl.array import Array

    from clrelion.device.session import DeviceSession

__all__ = [
    "FineRows",
    "FineSamples",
    "RowSlices",
    "SliceTable",
    "fine_blocks",
    "fine_weights",
    "list_rows",
    "make_slices",
]


@dataclass(frozen=True)
class SliceTable:
    """Slices of all fine orientations, made once; row = class, direction, psi, child nested."""

    projections: Array


@dataclass(frozen=True)
class FineRows:
    """Fine orientations of the blocks of a part, one row each, block by block.

    Attributes
    ----------
    classes, frame, psi
        int64, (n_rows,); class and indices into the fine tables.
    coarse_dir
        int64, (n_rows,); direction the row descends from.
    per_block
        Rows of each block.
    table_row
        int64, (n_rows,); place of the row in a `SliceTable`.
    """

    classes: NDArray[np.int64]
    frame: NDArray[np.int64]
    psi: NDArray[np.int64]
    coarse_dir: NDArray[np.int64]
    per_block: int
    table_row: NDArray[np.int64]

    def part(self, blocks: slice) -> FineRows:
        """Rows of some blocks."""
        span = slice(blocks.start * self.per_block, blocks.stop * self.per_block)
        return FineRows(
            self.classes[span],
            self.frame[span],
            self.psi[span],
            self.coarse_dir[span],
            self.per_block,
            self.table_row[span],
        )


@dataclass(frozen=True)
class RowSlices:
    """Slices of fine rows.

    Attributes
    ----------
    projections
        real device array (., 2, n_padded).
    projection
        int64, (n_rows,); which of them belongs to each row.
    """

    projections: Array
    projection: NDArray[np.int64]


@dataclass(frozen=True)
class FineSamples:
    """Posterior weights of the fine samples of a part.

    Attributes
    ----------
    omega
        real device array; weight of each sample, 0 below the threshold.
    blocks
        The blocks they belong to; images counted from the part's first.
    maximum, sum_weight, sum_omega, sum_offset2
        float64, (n,); largest log-weight, sum of exp(l - maximum), sum of omega and of omega times
        the squared offset from its prior (Å^2).
    best
        int64, (n,); sample with the largest weight, counted over the part; -1: none.
    n_found
        int64, (n,); samples at or above the threshold.
    """

    omega: Array
    blocks: Blocks
    maximum: NDArray[np.float64]
    sum_weight: NDArray[np.float64]
    sum_omega: NDArray[np.float64]
    sum_offset2: NDArray[np.float64]
    best: NDArray[np.int64]
    n_found: NDArray[np.int64]


def list_rows(
    settings: ExpectationSettings,
    significant: SignificantSamples,
    space: SearchSpace,
    tables: OrientationTables,
    span: slice,
) -> FineRows:
    """List the fine orientations of blocks ``span``."""
    entry = space.entries(significant.image[span], significant.orientation[span])
    per_block = settings.n_child_orientations
    classes = np.repeat(space.orientation_class[entry], per_block)
    direction, psi = space.orientation_dir[entry], space.orientation_psi[entry]
    frame, fine_psi = tables.children(direction, psi, per_block)
    return FineRows(
        classes=classes,
        frame=frame,
        psi=fine_psi,
        coarse_dir=np.repeat(direction, per_block),
        per_block=per_block,
        # a table exists for dense searches only, where the entry numbers all orientations
        table_row=(entry[:, None] * per_block + np.arange(per_block)).ravel(),
    )


def make_slices(
    rows: FineRows,
    tables: OrientationTables,
    projector: Projector,
    pixels: PixelList,
    pixel_xy: Array,
    table: SliceTable | None,
) -> RowSlices:
    """Get the slices of rows.

    Parameters
    ----------
    table
        Slices of all fine orientations, or None: slices of just these rows are made.
    """
    if table is not None:
        return RowSlices(table.projections, rows.table_row)
    projections = projector.rows(
        tables.fine_frames,
        tables.fine_psis,
        rows.classes,
        rows.frame,
        rows.psi,
        pixels,
        pixel_xy,
    )
    return RowSlices(projections, np.arange(len(rows.frame)))


def fine_blocks(
    settings: ExpectationSettings, significant: SignificantSamples, first_image: int, span: slice
) -> Blocks:
    """Blocks ``span`` with the children of their translations; their slices are still to come."""
    per_block = settings.n_child_orientations
    trans = significant.trans[span.start : span.stop + 1]
    n_blocks = span.stop - span.start
    per_trans = per_block * settings.n_child_translations
    return Blocks(
        image=significant.image[span] - first_image,
        row=np.arange(n_blocks + 1) * per_block,
        projection=np.zeros(n_blocks, dtype=np.int64),
        trans=trans[:-1],
        n_trans=np.diff(trans),
        out=(trans[:-1] - trans[0]) * per_trans,
        trans_list=significant.trans_list,
        n_samples=int(trans[-1] - trans[0]) * per_trans,
    )


def fine_weights(
    session: DeviceSession,
    settings: ExpectationSettings,
    batch: BatchImages,
    values: Array,
    blocks: Blocks,
    block_start: NDArray[np.int64],
    log_prior: NDArray[np.float64],
    log_translation: NDArray[np.float64],
    pixel_size: float,
) -> FineSamples:
    """Turn the squared differences of the blocks into posterior weights, in place.

    Parameters
    ----------
    batch
        The part's images.
    values
        real device array; squared differences, or negative correlations.
    block_start
        int64, (n + 1,); blocks of each image of the part.
    log_prior
        float64, (n_blocks,); log-prior of each block's orientation.
    log_translation
        float64, (n, n_trans); of the coarse translations, children inherit.
    """
    real = session.real
    n, n_children = batch.n, settings.n_child_translations
    with session.profile.timer("convert"):
        sample_start = np.append(blocks.out, blocks.n_samples)[block_start]
        translations = settings.translations_px(pixel_size, fine=True)
        per_image = [session.empty(n, real) for _ in range(4)]
        best, n_found = session.empty(n, np.int32), session.empty(n, np.int32)
        wg = group_size(session)
        kernel = session.kernel(
            "expectation/weights_fine", wg=wg, hard=settings.do_cross_correlation
        )
        kernel(
            (n * wg,),
            (wg,),
            values,
            session.to_device(block_start, np.int32),
            session.to_device(sample_start, np.int64),
            session.to_device(blocks.row, np.int32),
            session.to_device(blocks.trans, np.int32),
            session.to_device(blocks.n_trans, np.int32),
            blocks.trans_list,
            session.to_device(log_prior, real),
            session.to_device(log_translation, real),
            session.to_device(batch.prior_offset_px - batch.offset_px, real),
            session.to_device(translations, real),
            log_translation.shape[1],
            n_children,
            pixel_size,
            settings.adaptive_fraction,
            settings.max_significants,
            *per_image,
            best,
            n_found,
        )
        maximum, total, omega, offset2 = (
            np.asarray(session.to_host(a), dtype=np.float64) for a in per_image
        )
        found = session.to_host(n_found).astype(np.int64)
        place = np.where(found > 0, sample_start[:-1] + session.to_host(best), -1)
    return FineSamples(values, blocks, maximum, total, omega, offset2, place, found)
