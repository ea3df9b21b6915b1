"""A part of a batch in the fine pass and in the sums, in runs of orientations if need be.

In: images and their significant samples.  Out: posterior weights, then their share of the sums
(specification E 5.4 pass 2, 5.5, 5.6).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from clrelion.expectation.device_space import DeviceSpace
from clrelion.expectation.differences import block_differences
from clrelion.expectation.fine import FineLists, FineSamples, fine_weights, list_fine
from clrelion.expectation.images import BatchImages
from clrelion.expectation.optics_setup import OpticsSetup
from clrelion.expectation.orientation_sums import OrientationSums
from clrelion.expectation.projections import Projector
from clrelion.expectation.sampling_tables import OrientationTables
from clrelion.expectation.scoring import ScoringOperands
from clrelion.expectation.settings import ExpectationSettings
from clrelion.expectation.store import StoreJob, prepare_store
from clrelion.expectation.stored_sums import PendingSums
from clrelion.expectation.volumes import BackprojectionVolumes
from clrelion.expectation.weights import SignificantSamples

if TYPE_CHECKING:
    from clrelion.device.array import Array
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
    orientation_sums: OrientationSums


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
        real device array (., 2, n_padded); slices of all fine orientations, or None.
    blocks_per_run
        Blocks whose slices are made at a time.  One run serves the fine pass and the sums; with
        more the slices are made twice.
    """

    def __init__(
        self,
        tools: FineTools,
        batch: BatchImages,
        space: DeviceSpace,
        significant: SignificantSamples,
        first: int,
        slice_table: Array | None,
        blocks_per_run: int,
    ) -> None:
        self._tools = tools
        self._batch = batch
        self._space = space
        self._significant = significant
        self._first = first
        self._slice_table = slice_table if tools.setup.fine_is_full else None
        images = slice(first, first + batch.n + 1)
        starts = significant.block_start[images]
        self._span = slice(int(starts[0]), int(starts[-1]))
        self._block_start = starts - starts[0]
        samples = significant.sample_start[images] - significant.sample_start[first]
        settings = tools.settings
        self._sample_start = samples * (
            settings.n_child_orientations * settings.n_child_translations
        )
        self._lists = self._list(self._span)
        self._runs = [
            slice(start, min(start + blocks_per_run, self._span.stop))
            for start in range(self._span.start, self._span.stop, blocks_per_run)
        ]
        self._kept_slices: Array | None = None

    def _list(self, span: slice) -> FineLists:
        tools = self._tools
        return list_fine(
            tools.session,
            tools.settings,
            self._significant,
            self._space,
            tools.tables,
            self._first,
            span,
            self._slice_table is not None,
        )

    def _lists_of(self, run: slice) -> FineLists:
        return self._lists if len(self._runs) == 1 else self._list(run)

    def weights(
        self, operands: ScoringOperands, log_translation: Array
    ) -> FineSamples:
        """Compare the images with the children of their significant samples.

        Parameters
        ----------
        operands
            Of these images and the fine translations.
        log_translation
            real device array, (n, n_trans); log-priors of the coarse translations.
        """
        session, settings = self._tools.session, self._tools.settings
        values = session.empty(max(1, int(self._sample_start[-1])), session.real)
        for run in self._runs:
            with session.profile.timer("getDiff"):
                lists = self._lists_of(run)
                block_differences(
                    session,
                    operands,
                    self._slices(lists, for_sums=False),
                    lists.blocks,
                    settings.n_child_translations,
                    self._tools.setup.fine.pixels.n_padded,
                    values,
                )
        with session.profile.timer("convert"):
            return fine_weights(
                session,
                settings,
                self._batch,
                values,
                self._lists,
                self._block_start,
                self._sample_start,
                log_translation,
                self._tools.setup.fine.translations,
                self._tools.setup.geometry.optics.pixel_size_angst,
            )

    def _slices(self, lists: FineLists, for_sums: bool) -> Array:
        """Slices of a run at the size of the fine pass or at that of the sums."""
        setup = self._tools.setup
        if self._slice_table is not None:
            return self._slice_table
        if self._kept_slices is not None:
            return self._kept_slices
        sized = setup if for_sums else setup.fine
        slices = self._tools.projector.rows(
            self._tools.tables.fine_frames,
            self._tools.tables.fine_psis,
            lists.rows,
            sized.pixels,
            sized.pixel_xy,
        )
        if len(self._runs) == 1 and setup.fine_is_full:
            self._kept_slices = slices
        return slices

    def first_job(self, samples: FineSamples) -> StoreJob:
        """Get ready for the sums of the first run; nothing has changed if memory runs out here."""
        return self._job(self._runs[0], samples)

    def _job(self, run: slice, samples: FineSamples) -> StoreJob:
        tools, setup = self._tools, self._tools.setup
        lists = self._lists_of(run)
        with tools.session.profile.timer("getDiff"):
            slices = self._slices(lists, for_sums=True)
        # runs are of one image: its blocks are those of the run
        whole = len(self._runs) == 1
        starts = self._block_start if whole else np.array([0, lists.blocks.n])
        return prepare_store(
            tools.session,
            tools.settings,
            self._batch,
            samples.omega,
            lists,
            starts,
            slices,
            tools.tables,
            setup.weights,
            tools.volumes,
            tools.orientation_sums,
        )

    def store(self, first_job: StoreJob, samples: FineSamples) -> PendingSums:
        """Add all runs to the volumes."""
        sums = [first_job.run()]
        for run in self._runs[1:]:
            sums.append(self._job(run, samples).run())
        return PendingSums(sums)
