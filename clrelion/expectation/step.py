"""The expectation step of one half-set: batches walk through getImg, getDiff, convert and store.

In: settings, particles in processing order.  Out: the sums of the half-set and each particle's best
pose.  Specification E 5.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from clrelion.device.memory import MemoryBudget
from clrelion.errors import NumericalError
from clrelion.expectation.accumulate import Accumulator
from clrelion.expectation.batch_work import BatchWork
from clrelion.expectation.bookkeeping import Bookkeeping
from clrelion.expectation.device_reference import DeviceReferenceTransform
from clrelion.expectation.images import SMALLEST_SCALE
from clrelion.expectation.local_lists import LocalLists
from clrelion.expectation.optics_setup import OpticsSetup
from clrelion.expectation.orientation_sums import OrientationSums
from clrelion.expectation.plan import step_size
from clrelion.expectation.projections import Projector
from clrelion.expectation.resident_images import ResidentImages
from clrelion.expectation.results import ExpectationResult, ParticleResults
from clrelion.expectation.sampling_tables import OrientationTables
from clrelion.expectation.settings import ExpectationSettings
from clrelion.expectation.upload_ahead import ComingBatch, ReadOnHost, UploadAhead
from clrelion.expectation.volumes import BackprojectionVolumes
from clrelion.io.particle_table import ParticleTable
from clrelion.parallel.claims import ShareClaims
from clrelion.particles.read_ahead import ImageSource, ReadAhead
from clrelion.planning.limits import DeviceLimits
from clrelion.planning.step import StepPlan, plan_step
from clrelion.planning.volumes import VolumePlacement, VolumeSizes, place_volumes

if TYPE_CHECKING:
    from clrelion.device.session import DeviceSession

__all__ = ["ExpectationStep", "StartedStep"]

_log = logging.getLogger(__name__)

_LARGEST_SCALE = 10000.0
_READ_AHEAD_BATCHES = 4
_TYPICAL_ITERATIONS = 20
"""How often the images are transformed in a run, for the choice of the FFT library."""


class StartedStep:
    """A step of which the device has all it needs; sums over particles are still being added up.

    Parameters
    ----------
    session
        Device.
    bookkeeping
        Adds up the sums over particles.
    by_direction
        Waits for the posterior weights by class and direction, float64, (n_classes, n_dir).
    volumes
        As in `ExpectationResult`.
    """

    def __init__(
        self,
        session: DeviceSession,
        bookkeeping: Bookkeeping,
        by_direction: Callable[[], NDArray[np.float64]],
        volumes: list[Any],
    ) -> None:
        self._session = session
        self._bookkeeping = bookkeeping
        self._by_direction = by_direction
        self.volumes = volumes

    def class_weights(self) -> NDArray[np.float64]:
        """Wait for the device; give the posterior weight of each class, float64, (n_classes,)."""
        return np.asarray(self._by_direction().sum(axis=1))

    def result(self) -> ExpectationResult:
        """Wait for the sums; asked for once.  From now on the particles' results are there."""
        with self._bookkeeping, self._session.profile.timer("store"):
            accumulator = self._bookkeeping.finish()
            accumulator.add_orientations(self._by_direction())
        return ExpectationResult(accumulator.total(), self.volumes, accumulator.skipped)

    def close(self) -> None:
        """Drop what is still to be added up."""
        with self._bookkeeping:
            pass


class ExpectationStep:
    """One expectation step of one half-set on one device.

    Parameters
    ----------
    session
        Device.
    settings
        Model, sampling and rules of this iteration.
    table
        Particles with their present poses; not changed.
    images
        Source of the images.
    budget
        Memory that may be used.
    on_plan
        Called with the text of each plan before it is used.
    reconstruct_images
        Source of other images for back-projection (specification E 2.2), or None.
    resident
        Images that stay on the device, or None.
    placement
        Where the volumes live; None: planned here, for this half-set alone.
    stays_whole
        Sums of whole numbers stay so, for those of other ranks to be added (`WholeSums`).
    """

    def __init__(
        self,
        session: DeviceSession,
        settings: ExpectationSettings,
        table: ParticleTable,
        images: ImageSource,
        budget: MemoryBudget,
        on_plan: Callable[[list[str]], None] = lambda _: None,
        reconstruct_images: ImageSource | None = None,
        resident: ResidentImages | None = None,
        placement: VolumePlacement | None = None,
        stays_whole: bool = False,
    ) -> None:
        self._session = session
        self._settings = settings
        self._table = table
        self._images = images
        self._budget = budget
        self._on_plan = on_plan
        self._reconstruct_images = reconstruct_images
        self._resident = resident
        self._stays_whole = stays_whole
        self._placement = placement or _placement_of(session, settings, budget)

    def run(
        self,
        claims: ShareClaims,
        results: ParticleResults,
        progress: Callable[[int], None] = lambda _: None,
    ) -> ExpectationResult:
        """Process the particles that can be claimed; arguments and errors as of `start`."""
        return self.start(claims, results, progress).result()

    def start(
        self,
        claims: ShareClaims,
        results: ParticleResults,
        progress: Callable[[int], None] = lambda _: None,
    ) -> StartedStep:
        """Give the device its work with the particles that can be claimed.

        Parameters
        ----------
        claims
            Where the particles come from, batch by batch.
        results
            Filled in for these particles, until the result of the step is there.
        progress
            Called with the number of particles done since the last call.

        Raises
        ------
        DeviceMemoryError
            Not even one particle fits on the device.
        """
        self._check_scales()
        with self._session.profile.timer("set-up"):
            return self._start(claims, results, progress)

    def _start(
        self, claims: ShareClaims, results: ParticleResults, progress: Callable[[int], None]
    ) -> StartedStep:
        session, settings = self._session, self._settings
        self._leave_room()
        with session.profile.timer("getDiff"):
            projector = Projector(
                session,
                settings.references,
                self._placement.reference_planes,
                self._placement.brick_bytes > 0,
            )
            tables = OrientationTables.create(session, settings, self._table)
            volumes = BackprojectionVolumes(
                session, settings, self._placement, self._table.n
            )
            orientation_sums = OrientationSums(
                session, settings.n_classes, tables.n_dir, self._table.n
            )
            lists = LocalLists(session, settings, self._table)
        padding = next(r.padding_factor for r in settings.references if r is not None)
        # sums over particles may wait longer than the references
        without = replace(settings, references=[])
        accumulator = Accumulator(without, self._table, results, session.deterministic)
        with ExitStack() as errors:
            bookkeeping = errors.enter_context(Bookkeeping(accumulator))
            while (group := claims.next_group()) is not None:
                n = claims.expected(group)
                setup = OpticsSetup(
                    session, without, group, padding, _TYPICAL_ITERATIONS * n
                )
                plan = self._plan(setup, n)
                work = BatchWork(
                    *(session, settings, self._table, setup, plan, projector, tables, volumes),
                    orientation_sums,
                    *(bookkeeping, lists, self._give_up_images),
                )
                self._process_group(work, lists, claims, group, plan.batch.batch_size, progress)
            with session.profile.timer("store"):
                if not (session.works_ahead and self._placement.stays):
                    # what still waits to be read has no room beside the sums in the plan
                    bookkeeping.finish()
                stays_whole = self._stays_whole and volumes.is_fixed_point
                sums = volumes.whole_sums() if stays_whole else volumes.sums()
            errors.pop_all()
        by_direction = orientation_sums.start_reading()
        return StartedStep(session, bookkeeping, by_direction, list(sums))

    def _process_group(
        self,
        work: BatchWork,
        lists: LocalLists,
        claims: ShareClaims,
        group: int,
        batch_size: int,
        progress: Callable[[int], None],
    ) -> None:
        """Process particles of one optics group, from the device or from the files."""
        session, resident = self._session, self._resident_for_step
        if not session.is_cpu and resident is not None and resident.is_waiting(group):
            # several batches, so that reading goes on while the device works
            batch_size = min(batch_size, max(1, -(-claims.expected(group) // _READ_AHEAD_BATCHES)))
        box = self._table.optics[group].box_px
        with ReadAhead(self._table, self._images, self._reconstruct_images) as ahead:
            source: ReadOnHost | UploadAhead = ReadOnHost(ahead)
            if not session.is_cpu:
                source = UploadAhead(session, ahead, resident, box, batch_size)
            rest = np.empty(0, dtype=np.int64)

            def claim() -> ComingBatch | None:
                nonlocal rest
                # neighbours in the table are neighbours in their files
                ids = rest if len(rest) else np.sort(claims.claim(group, batch_size))
                if not len(ids):
                    return None
                coming, rest = source.begin(ids)
                with session.profile.timer("getDiff"):
                    lists.begin(coming.ids)
                return coming

            current = claim()
            while current is not None:
                # what is on the device already and shares its orientations needs no time before
                is_ahead = not current.is_here or lists.are_needed
                following = claim() if is_ahead else None
                work.process(current.result())
                current.note_use()
                progress(len(current.ids))
                current = following or claim()
            work.finish()

    @property
    def _resident_for_step(self) -> ResidentImages | None:
        """Images that stay; other images for back-projection are read beside those, all of them."""
        return None if self._reconstruct_images is not None else self._resident

    def _leave_room(self) -> None:
        """Take what is on the device already, but is not of this step, out of the budget.

        Images, and volumes that stay there: the other half-set's references and sums.
        """
        session = self._session
        if session.deterministic and session.is_cpu:
            return  # there the order of sums depends on the batches, so they may on nothing else
        holds_images = self._resident is not None and self._resident.is_on
        if not self._settings.references_are_on_device and not holds_images:
            return
        own = {
            id(r.stack): int(r.stack.nbytes)
            for r in self._settings.references
            if isinstance(r, DeviceReferenceTransform)
        }
        others = max(0, self._session.allocated_bytes - sum(own.values()))
        left = max(1, self._budget.bytes - others)
        self._budget = replace(self._budget, limit_bytes=left)

    def _give_up_images(self) -> bool:
        return self._resident is not None and self._resident.give_up()

    def _check_scales(self) -> None:
        """Refuse an intensity scale that has run away; warn of one too small (E 5.6)."""
        if not self._settings.do_scale_correction:
            return
        scale, names = self._settings.scale_correction, self._table.group_names
        worst = int(np.argmax(scale))
        if scale[worst] > _LARGEST_SCALE:
            raise NumericalError(
                f"{self._table.star_path}: the intensity scale of group {names[worst]} is "
                f"{scale[worst]:.4g}; check its images, or run without --scale"
            )
        for group in np.flatnonzero(scale < SMALLEST_SCALE).tolist():
            _log.warning(
                "group %s: intensity scale %.2g, %g is used; check its images",
                names[group],
                scale[group],
                SMALLEST_SCALE,
            )

    def _plan(self, setup: OpticsSetup, n_particles: int) -> StepPlan:
        size = step_size(
            self._settings,
            1,
            n_particles,
            setup.geometry.optics.box_px,
            setup.pixels.n,
            setup.coarse.pixels.n_padded,
            setup.fine.pixels.n_padded,
            f"expectation, optics group {setup.group + 1}",
        )
        plan = plan_step(DeviceLimits.of(self._session, self._budget), size, self._placement)
        self._on_plan(plan.lines())
        return plan


def _placement_of(
    session: DeviceSession, settings: ExpectationSettings, budget: MemoryBudget
) -> VolumePlacement:
    sizes = VolumeSizes(
        settings.ori_size, settings.padding_factor, settings.r_max, settings.n_classes, 1
    )
    placement = place_volumes(DeviceLimits.of(session, budget), sizes)
    return replace(placement, stays=settings.references_are_on_device)
