"""One batch through the three computation modes, in parts that fit the device.

In: a batch of raw images.  Out: its share of the sums (specification E 5, design.md 3).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from clrelion.errors import DeviceMemoryError
from clrelion.expectation.bookkeeping import Bookkeeping
from clrelion.expectation.coarse_product import chosen_product
from clrelion.expectation.device_images import DeviceImages
from clrelion.expectation.device_space import DeviceSpace
from clrelion.expectation.differences import CoarsePanels, CoarseSamples, dense_differences
from clrelion.expectation.fine_part import FinePart, FineTools
from clrelion.expectation.fine_room import FineRoom, stores_shifted
from clrelion.expectation.images import BatchImages
from clrelion.expectation.local_lists import LocalLists
from clrelion.expectation.optics_setup import OpticsSetup
from clrelion.expectation.orientation_sums import OrientationSums
from clrelion.expectation.part_numbers import PendingPart
from clrelion.expectation.projections import Projector, SliceRows
from clrelion.expectation.results import NOT_FINITE
from clrelion.expectation.sampling_tables import OrientationTables
from clrelion.expectation.scoring import ScoringOperands
from clrelion.expectation.search_space import (
    dense_images,
    dense_search_space,
    log_translation_priors,
)
from clrelion.expectation.settings import ExpectationSettings
from clrelion.expectation.sparse import sparse_differences
from clrelion.expectation.upload_ahead import LoadedBatch
from clrelion.expectation.volumes import BackprojectionVolumes
from clrelion.expectation.weights import (
    SignificanceSearch,
    SignificantSamples,
    find_significant,
)
from clrelion.io.particle_table import ParticleTable
from clrelion.planning.step import StepPlan

if TYPE_CHECKING:
    from clrelion.device.array import Array
    from clrelion.device.session import DeviceSession

__all__ = ["BatchWork"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Compared:
    """A batch that the device has been given up to the selection of its significant samples.

    ``log_translation``: real device array, (n, n_trans); log-priors of the coarse translations.
    """

    images: BatchImages
    space: DeviceSpace
    log_translation: Array
    search: SignificanceSearch


class BatchWork:
    """Processes the batches of one optics group, one after the other.

    Where the host works ahead, the device is given the first half of a batch, getImg and the coarse
    pass, before the second half of the batch before, whose lists need an answer from the device:
    it has something to do while the host waits for that answer and makes the launches.

    Where memory runs out, ``give_up_images`` is asked to give some back; it tells whether it did.
    """

    def __init__(
        self,
        session: DeviceSession,
        settings: ExpectationSettings,
        table: ParticleTable,
        setup: OpticsSetup,
        plan: StepPlan,
        projector: Projector,
        tables: OrientationTables,
        volumes: BackprojectionVolumes,
        orientation_sums: OrientationSums,
        bookkeeping: Bookkeeping,
        lists: LocalLists,
        give_up_images: Callable[[], bool],
    ) -> None:
        self._session = session
        self._settings = settings
        self._table = table
        self._setup = setup
        self._plan = plan
        self._projector = projector
        self._tables = tables
        self._tools = FineTools(
            session, settings, setup, projector, tables, volumes, orientation_sums
        )
        self._bookkeeping = bookkeeping
        self._lists = lists
        self._give_up_images = give_up_images
        self._begun: _Compared | None = None
        self._slice_table: Array | None = None
        self._dense_space: DeviceSpace | None = None
        self._wants_table = plan.table_fits and setup.fine_is_full
        self._panels: CoarsePanels | None = None
        if settings.is_dense:
            self._panels = CoarsePanels(
                chosen_product(session),
                projector,
                tables,
                settings.n_classes * tables.n_dir * tables.n_psi,
                setup.coarse.pixels,
                setup.coarse.pixel_xy,
                plan.columns_per_run,
                plan.keep_panels,
            )

    def process(self, batch: LoadedBatch) -> None:
        """Process one batch."""
        for bad in batch.bad_ids.tolist():
            self._bookkeeping.skip(bad, NOT_FINITE, is_told=True)  # the loader has named it
        self._process_ids(batch.ids, batch.images, batch.reconstruct_images)

    def _process_ids(
        self,
        ids: NDArray[np.int64],
        images: NDArray[np.float32] | DeviceImages,
        others: NDArray[np.float32] | None,
    ) -> None:
        if len(ids) == 0:
            return
        try:
            begun = self._coarse(ids, images, others)
        except DeviceMemoryError as error:
            if self._begun is not None:
                # alone it may fit
                self.finish()
                self._session.release_unused()
                self._process_ids(ids, images, others)
                return
            if self._give_up_images():
                self._session.release_unused()
                self._process_ids(ids, images, others)
                return
            if len(ids) == 1:
                raise
            half = len(ids) // 2
            _log.warning("%s; going on with batches of %d particles", error, half)
            self._session.release_unused()
            for span in (slice(0, half), slice(half, len(ids))):
                self._process_ids(ids[span], images[span], None if others is None else others[span])
                self.finish()
            return
        self.finish()
        self._begun = begun
        if not self._session.works_ahead:
            self.finish()

    def finish(self) -> None:
        """Give the device what is left to do for the batches so far.

        Raises
        ------
        DeviceMemoryError
            Not even one particle fits on the device.
        """
        if self._begun is None:
            return
        begun, self._begun = self._begun, None
        batch = begun.images
        with self._session.profile.timer("convert"):
            try:
                significant = begun.search.finish()
            except DeviceMemoryError:
                # the lists are small beside what the batch has given back meanwhile
                self._session.release_unused()
                significant = begun.search.finish()
        for place in np.flatnonzero(significant.is_bad).tolist():
            self._bookkeeping.skip(int(batch.ids[place]), "no finite weight")
        self._consider_table(significant)
        room = FineRoom(
            self._session,
            self._settings,
            self._setup,
            self._plan,
            significant,
            self._slice_table is not None,
        )
        first = 0
        while first < batch.n:
            last = room.part_end(first)
            first = self._process_part(begun, significant, first, last)

    def _coarse(
        self,
        ids: NDArray[np.int64],
        images: NDArray[np.float32] | DeviceImages,
        others: NDArray[np.float32] | None,
    ) -> _Compared:
        """Begin getImg, the coarse pass and the selection of significant samples."""
        session, settings, setup = self._session, self._settings, self._setup
        with session.profile.timer("getImg"):
            batch = setup.preparation.prepare(ids, images, self._table, others)
        with session.profile.timer("getDiff"):
            space = self._space(ids)
            operands = ScoringOperands.create(settings, batch, setup.pixels.n, setup.coarse)
            samples = self._coarse_differences(operands, batch.n, space)
        with session.profile.timer("convert"):
            priors = log_translation_priors(
                settings,
                setup.geometry.optics.pixel_size_angst,
                batch.offset_px,
                batch.prior_offset_px,
            )
            log_translation = session.to_device(priors, session.real)
            search = find_significant(session, settings, samples, space, log_translation)
        return _Compared(batch, space, log_translation, search)

    def _space(self, ids: NDArray[np.int64]) -> DeviceSpace:
        """Orientations of these particles; what all particles share is uploaded once."""
        session, settings = self._session, self._settings
        if self._lists.are_needed:
            return self._lists.take(ids)
        if self._dense_space is None:
            self._dense_space = DeviceSpace.upload(session, dense_search_space(settings, ids))
        return self._dense_space.with_images(session, *dense_images(settings, ids))

    def _coarse_differences(
        self, operands: ScoringOperands, n: int, space: DeviceSpace
    ) -> CoarseSamples:
        coarse = self._setup.coarse
        if self._panels is not None:
            return dense_differences(
                self._session, operands, n, space.n_entries, self._panels, coarse.pixels.n_padded
            )
        return sparse_differences(
            self._session,
            operands,
            space,
            self._projector,
            self._tables,
            coarse.pixels,
            coarse.pixel_xy,
            self._plan.rows_per_run,
        )

    def _consider_table(self, significant: SignificantSamples) -> None:
        """Make the slices of all fine orientations if most of them will be asked for anyway."""
        settings = self._settings
        if self._slice_table is not None or not self._wants_table:
            return
        n_fine = self._tables.fine_frames.shape[0] * self._tables.fine_psis.shape[0]
        n_fine *= settings.n_classes
        if significant.block_start[-1] * settings.n_child_orientations < n_fine:
            return
        try:
            with self._session.profile.timer("getDiff"):
                self._slice_table = self._made_table()
        except DeviceMemoryError as error:
            _log.warning("%s; going on without a table of all fine slices", error)
            self._session.release_unused()
            self._wants_table = False

    def _made_table(self) -> Array:
        tables, per_block = self._tables, self._settings.n_child_orientations
        n_psi, n_dir = tables.n_psi, tables.n_dir
        entry = np.arange(self._settings.n_classes * n_dir * n_psi)
        frame, psi = tables.children((entry // n_psi) % n_dir, entry % n_psi, per_block)
        classes = np.repeat(entry // (n_psi * n_dir), per_block)
        return self._projector.rows(
            tables.fine_frames,
            tables.fine_psis,
            SliceRows.upload(self._session, classes, frame, psi),
            self._setup.fine.pixels,
            self._setup.fine.pixel_xy,
        )

    def _process_part(
        self, begun: _Compared, significant: SignificantSamples, first: int, last: int
    ) -> int:
        """Run the fine pass and the sums for images first .. last - 1; return where to go on."""
        try:
            images = begun.images.part(self._session, first, last)
            if significant.block_start[first] == significant.block_start[last]:
                return last
            part = FinePart(
                self._tools,
                images,
                begun.space,
                significant,
                first,
                self._slice_table,
                self._blocks_per_run(last - first),
            )
            with self._session.profile.timer("getDiff"):
                operands = ScoringOperands.create(
                    self._settings,
                    images,
                    self._setup.pixels.n,
                    self._setup.fine,
                    stores_shifted(self._session),
                )
            log_translation = begun.log_translation
            if images is not begun.images:
                log_translation = self._session.copy_rows(log_translation, first, last)
            samples = part.weights(operands, log_translation)
            with self._session.profile.timer("store"):
                job = part.first_job(samples)
        except DeviceMemoryError as error:
            if self._give_up_images():
                self._session.release_unused()
                return self._process_part(begun, significant, first, last)
            if last - first == 1:
                raise
            _log.warning("%s; going on with fewer particles", error)
            self._session.release_unused()
            return self._process_part(begun, significant, first, (first + last) // 2)
        with self._session.profile.timer("store"):
            stored = part.store(job, samples)
            ctf2 = None
            if self._setup.geometry.optics.ctf_premultiplied:
                ctf2 = self._session.to_host_later(images.ctf)
            counts: NDArray[np.int64] | None = significant.n_significant[first:last]
            if self._settings.oversampling == 0:
                counts = None
            pending = PendingPart.of(images, samples, stored, counts, ctf2)
            self._bookkeeping.add(self._setup, pending, self._tables)
        return last

    def _blocks_per_run(self, n_images: int) -> int:
        """Blocks whose slices fit; parts of several images have been made to fit as a whole."""
        if n_images > 1 or (self._slice_table is not None and self._setup.fine_is_full):
            return 2**62
        slice_bytes = 2 * self._setup.pixels.n_padded * np.dtype(self._session.real).itemsize
        room = min(self._plan.fine_bytes // 2, self._plan.largest_bytes)
        return max(1, room // (slice_bytes * self._settings.n_child_orientations))
