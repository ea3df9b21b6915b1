"""A part of a batch in the fine pass and in the sums, in runs of orientations if need be.

In: images and their significant samples.  Out: posterior weights, then their share of the sums
(specification E 5.4 pass 2, 5.5, 5.6).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import reduce
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from clrelion.expectation.differences import block_differences
from clrelion.expectation.fine import (
    FineSamples,
    RowSlices,
    SliceTable,
    fine_blocks,
    fine_weights,
    list_rows,
    make_slices,
)
from clrelion.expectation.images import BatchImages
from clrelion.expectation.optics_setup import OpticsSetup
from clrelion.expectation.projections import Projector
from clrelion.expectation.sampling_tables import OrientationTables
from clrelion.expectation.scoring import ScoringOperands
from clrelion.expectation.search_space import SearchSpace
from clrelion.expectation.settings import ExpectationSettings
from clrelion.expectation.store import StoredSums, StoreJob, prepare_store
from clrelion.expectation.volumes import BackprojectionVolumes
from clrelion.expectation.weights import SignificantSamples

if TYPE_CHECKING:
    from clrelion.device.session import DeviceSession

__all__ = ["FinePart", "FineTools"]


@dataclass(frozen=True)
class FineTools:
    """What all parts of the batches of one optics group share."""

    session: DeviceSession
    settings: ExpectationSettings
    setup: OpticsSetup
    projector: Projector
    tables: OrientationTables
    volumes: BackprojectionVolumes


class FinePart:
    """Images of a batch with consecutive places.

    Parameters
    ----------
    tools
        Of the optics group.
    batch
        These images.
    space, significant
        Of the whole batch.
    first
        Place of the first image in the batch.
    slice_table
        Slices of all fine orientations, or None.
    blocks_per_run
        Blocks whose slices are made at a time.  One run serves the fine pass and the sums; with
        more the slices are made twice.

    Attributes
    ----------
    rows
        Fine orientations of all blocks.
    """

    def __init__(
        self,
        tools: FineTools,
        batch: BatchImages,
        space: SearchSpace,
        significant: SignificantSamples,
        first: int,
        slice_table: SliceTable | None,
        blocks_per_run: int,
    ) -> None:
        self._tools = tools
        self._batch = batch
        self._slice_table = slice_table
        starts = significant.block_start[first : first + batch.n + 1]
        span = slice(int(starts[0]), int(starts[-1]))
        self._block_start = starts - span.start
        settings = tools.settings
        self.rows = list_rows(settings, significant, space, tools.tables, span)
        self._blocks = fine_blocks(settings, significant, first, span)
        image, orientation = significant.image[span], significant.orientation[span]
        self._log_prior = space.log_prior[space.prior_base[image] + orientation]
        n_blocks = len(image)
        self._runs = [
            slice(start, min(start + blocks_per_run, n_blocks))
            for start in range(0, n_blocks, blocks_per_run)
        ]
        self._kept_slices: RowSlices | None = None

    def weights(
        self, operands: ScoringOperands, log_translation: NDArray[np.float64]
    ) -> FineSamples:
        """Compare the images with the children of their significant samples.

        Parameters
        ----------
        operands
            Of these images and the fine translations.
        log_translation
            float64, (n, n_trans); log-priors of the coarse translations.
        """
        session, settings = self._tools.session, self._tools.settings
        pixels = self._tools.setup.fine.pixels
        values = session.empty(max(1, self._blocks.n_samples), session.real)
        per_block = self.rows.per_block
        for run in self._runs:
            with session.profile.timer("getDiff"):
                slices = self._slices(run, for_sums=False)
                block_differences(
                    session,
                    operands,
                    slices.projections,
                    self._blocks.part(run, slices.projection[::per_block]),
                    settings.n_child_translations,
                    pixels.n_padded,
                    values,
                )
        log_prior = self._log_prior
        if settings.do_cross_correlation:
            # no priors here (specification E 5.5 (b))
            log_prior = np.zeros_like(log_prior)
            log_translation = np.zeros_like(log_translation)
        return fine_weights(
            session,
            settings,
            self._batch,
            values,
            self._blocks,
            self._block_start,
            log_prior,
            log_translation,
            self._tools.setup.geometry.optics.pixel_size_angst,
        )

    def _slices(self, run: slice, for_sums: bool) -> RowSlices:
        """Slices of a run at the size of the fine pass or at that of the sums."""
        setup = self._tools.setup
        if self._kept_slices is not None:
            return self._kept_slices
        sized = setup if for_sums else setup.fine
        slices = make_slices(
            self.rows.part(run),
            self._tools.tables,
            self._tools.projector,
            sized.pixels,
            sized.pixel_xy,
            self._slice_table if setup.fine_is_full else None,
        )
        if len(self._runs) == 1 and setup.fine_is_full:
            self._kept_slices = slices
        return slices

    def first_job(self, samples: FineSamples) -> StoreJob:
        """Get ready for the sums of the first run; nothing has changed if memory runs out here."""
        return self._job(self._runs[0], samples)

    def _job(self, run: slice, samples: FineSamples) -> StoreJob:
        tools, setup = self._tools, self._tools.setup
        with tools.session.profile.timer("getDiff"):
            slices = self._slices(run, for_sums=True)
        blocks = self._blocks.part(run, slices.projection[:: self.rows.per_block])
        return prepare_store(
            tools.session,
            tools.settings,
            self._batch,
            replace(samples, blocks=blocks),
            self.rows.part(run),
            slices,
            tools.tables,
            setup.pixels,
            setup.weights,
            setup.store_ramps,
            tools.volumes,
        )

    def store(self, first_job: StoreJob, samples: FineSamples) -> StoredSums:
        """Add all runs to the volumes."""
        sums = [first_job.run()]
        for run in self._runs[1:]:
            sums.append(self._job(run, samples).run())
        return reduce(StoredSums.joined, sums)
