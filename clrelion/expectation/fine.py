"""Fine pass: the children of the significant coarse samples, compared and weighted.

In: a part of a batch and its significant samples.  Out: posterior weights omega on the device and
the best sample of each image.  Specification E 5.4 (pass 2), 5.5, 5.6.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from clrelion.expectation.device_space import DeviceSpace
from clrelion.expectation.differences import Blocks
from clrelion.expectation.images import BatchImages
from clrelion.expectation.projections import SliceRows
from clrelion.expectation.sampling_tables import OrientationTables
from clrelion.expectation.settings import ExpectationSettings
from clrelion.expectation.weights import SignificantSamples, group_size

if TYPE_CHECKING:
    from clrelion.device.array import Array
    from clrelion.device.session import DeviceSession
    from clrelion.device.transfers import PendingRead

__all__ = [
    "BestPoses",
    "FineLists",
    "FineResults",
    "FineSamples",
    "PendingResults",
    "fine_weights",
    "list_fine",
]


@dataclass(frozen=True)
class FineLists:
    """Blocks of the fine pass and their rows, the fine orientations, on the device.

    Attributes
    ----------
    blocks
        One a significant coarse orientation; images counted from the first of the part.
    rows
        Fine orientations, block by block.
    per_block
        Rows of each block.
    log_prior
        real device array, (n_blocks,); of the coarse orientation.
    direction
        int32 device array, (n_blocks,); class * n_dir + coarse direction.
    """

    blocks: Blocks
    rows: SliceRows
    per_block: int
    log_prior: Array
    direction: Array


@dataclass(frozen=True)
class BestPoses:
    """Best samples of images.

    Attributes
    ----------
    classes, frames, psis, translations
        int64, (n,); class, indices into the fine tables, fine translation; -1: no finite weight.
    """

    classes: NDArray[np.int64]
    frames: NDArray[np.int64]
    psis: NDArray[np.int64]
    translations: NDArray[np.int64]


@dataclass(frozen=True)
class FineResults:
    """What the posterior weights of a part say of its images.

    Attributes
    ----------
    maximum, sum_weight, sum_omega, sum_offset2
        float64, (n,); largest log-weight, sum of exp(l - maximum), sum of omega and of omega times
        the squared offset from its prior (Å^2).
    best
        Orientation and translation with the largest weight.
    n_found
        int64, (n,); samples at or above the threshold.
    """

    maximum: NDArray[np.float64]
    sum_weight: NDArray[np.float64]
    sum_omega: NDArray[np.float64]
    sum_offset2: NDArray[np.float64]
    best: BestPoses
    n_found: NDArray[np.int64]


@dataclass(frozen=True)
class PendingResults:
    """Results of a part on their way to the host."""

    read: PendingRead

    def result(self) -> FineResults:
        """Wait for them."""
        sums, poses = self.read.result()
        maximum, total, omega, offset2 = np.ascontiguousarray(sums.T, dtype=np.float64)
        *best, found = np.ascontiguousarray(poses.T, dtype=np.int64)
        return FineResults(maximum, total, omega, offset2, BestPoses(*best), found)


@dataclass(frozen=True)
class FineSamples:
    """Posterior weights of the fine samples of a part.

    Attributes
    ----------
    omega
        real device array; weight of each sample, 0 below the threshold.
    results
        What they say of the images; may be waited for without the weights.
    """

    omega: Array
    results: PendingResults


def list_fine(
    session: DeviceSession,
    settings: ExpectationSettings,
    significant: SignificantSamples,
    space: DeviceSpace,
    tables: OrientationTables,
    first_image: int,
    span: slice,
    has_table: bool,
) -> FineLists:
    """List the children of blocks ``span`` of the significant samples.

    Parameters
    ----------
    first_image
        Images and samples count from this one.
    has_table
        Slices are those of a table of all fine orientations, else the rows' own.
    """
    per_block, n = settings.n_child_orientations, span.stop - span.start
    image, row, n_rows, trans, n_trans, direction = (session.empty(n, np.int32) for _ in range(6))
    out, log_prior = session.empty(n, np.int64), session.empty(n, session.real)
    classes, frames, psis, projection = (session.empty(n * per_block, np.int32) for _ in range(4))
    if n:
        session.kernel("expectation/fine_lists")(
            (n,),
            None,
            significant.image,
            significant.orientation,
            significant.trans,
            space.prior_base,
            space.log_prior,
            space.classes,
            space.directions,
            space.psis,
            int(space.is_dense),
            int(has_table),
            tables.n_dir,
            tables.n_psi,
            per_block,
            tables.n_child_psi if per_block > 1 else 1,
            settings.n_child_translations,
            span.start,
            first_image,
            int(significant.sample_start[first_image]),
            n,
            image,
            row,
            n_rows,
            trans,
            n_trans,
            out,
            log_prior,
            direction,
            classes,
            frames,
            psis,
            projection,
        )
    n_samples = significant.sample_start[-1]
    blocks = Blocks(
        n,
        image,
        row,
        n_rows,
        trans,
        n_trans,
        out,
        projection,
        significant.trans_list,
        per_block,
        float(n_samples / max(1, significant.block_start[-1])),
    )
    rows = SliceRows(n * per_block, classes, frames, psis)
    return FineLists(blocks, rows, per_block, log_prior, direction)


def fine_weights(
    session: DeviceSession,
    settings: ExpectationSettings,
    batch: BatchImages,
    values: Array,
    lists: FineLists,
    block_start: NDArray[np.int64],
    sample_start: NDArray[np.int64],
    log_translation: Array,
    translations: Array,
    pixel_size: float,
) -> FineSamples:
    """Turn the squared differences of the blocks into posterior weights, in place.

    Parameters
    ----------
    batch
        The part's images.
    values
        real device array; squared differences, or negative correlations.
    lists
        All blocks of the part.
    block_start, sample_start
        int64, (n + 1,); blocks and samples of each image of the part.
    log_translation
        real device array, (n, n_trans); of the coarse translations, children inherit.
    translations
        real device array, (n_fine, 2); fine translations, px.
    """
    real, blocks = session.real, lists.blocks
    n, n_children = batch.n, settings.n_child_translations
    log_prior = lists.log_prior
    if settings.do_cross_correlation:
        # no priors here (specification E 5.5 (b))
        log_prior = session.zeros(blocks.n, real)
        log_translation = session.zeros(log_translation.shape, real)
    sums, found = session.empty((n, 4), real), session.empty((n, 2), np.int32)
    block_start_d = session.to_device(block_start, np.int32)
    wg = group_size(session)
    session.kernel("expectation/weights_fine", wg=wg, hard=settings.do_cross_correlation)(
        (n * wg,),
        (wg,),
        values,
        block_start_d,
        session.to_device(sample_start, np.int64),
        blocks.n_rows,
        blocks.trans,
        blocks.n_trans,
        blocks.trans_list,
        log_prior,
        log_translation,
        session.to_device(batch.prior_offset_px - batch.offset_px, real),
        translations,
        log_translation.shape[1],
        n_children,
        pixel_size,
        settings.adaptive_fraction,
        # a limit of what the coarse pass hands on, not of the sums
        settings.max_significants if settings.oversampling == 0 else 0,
        sums,
        found,
    )
    poses = _best_poses(session, lists, found, block_start_d, n, n_children)
    # two reads: each has to wait for the interpreter's lock
    return FineSamples(values, PendingResults(session.to_host_later(sums, poses)))


def _best_poses(
    session: DeviceSession,
    lists: FineLists,
    found: Array,
    block_start: Array,
    n: int,
    n_children: int,
) -> Array:
    """Class, frame, psi, translation of each image's best sample; how many count; int32 (n, 5)."""
    blocks, rows = lists.blocks, lists.rows
    pose = session.empty((n, 5), np.int32)
    session.kernel("expectation/best_rows")(
        (n,),
        None,
        found,
        block_start,
        blocks.out,
        blocks.trans,
        blocks.n_trans,
        blocks.trans_list,
        rows.classes,
        rows.frames,
        rows.psis,
        lists.per_block,
        n_children,
        n,
        pose,
    )
    return pose
