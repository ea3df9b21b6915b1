"""The expectation step of one iteration, shared by the ranks.

In: settings of each half-set.  Out: volumes where their owners are; then the same on all ranks,
whoever did what: each particle's best pose and all other sums.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from clrelion.device.memory import MemoryBudget
from clrelion.errors import NumericalError
from clrelion.expectation.accumulate import empty_sums
from clrelion.expectation.resident_images import ResidentImages
from clrelion.expectation.results import NOT_FINITE, ParticleResults
from clrelion.expectation.settings import ExpectationSettings
from clrelion.expectation.step import ExpectationStep
from clrelion.fourier.padded import centred_shape
from clrelion.maximization.reduction import VolumeReduction
from clrelion.maximization.sums import ParameterSums
from clrelion.parallel.common_columns import CommonColumns, FilledColumns
from clrelion.parallel.communicator import Communicator
from clrelion.parallel.exchange import BlockExchange
from clrelion.parallel.sharing import RankEnd, WorkSharing
from clrelion.particles.loader import ImageSource
from clrelion.refinement.ended_step import EndedStep
from clrelion.refinement.progress import Progress, ProgressMaker, no_progress
from clrelion.refinement.started_steps import StartedSteps
from clrelion.refinement.state import RunState

if TYPE_CHECKING:
    from clrelion.device.session import DeviceSession
    from clrelion.planning.volumes import VolumePlacement

__all__ = ["SharedExpectation"]

_log = logging.getLogger(__name__)

_VOLUME_BYTES_PER_SECOND = 1e9
"""At which a volume more is cleared, sent and added up, all in all."""
_IMAGE_BYTES_PER_SECOND = 1e9
"""At which images are read and brought to the device."""


@dataclass
class _Step:
    """A step under way on this rank.

    Attributes
    ----------
    state, is_last
        Of the iteration.
    settings_of
        Makes the settings of a half-set.
    placement
        Where this rank's volumes live.
    found
        Results of the particles.
    count
        Counts particles for the progress display.
    started
        What this rank's device has been given.
    """

    state: RunState
    is_last: bool
    settings_of: Callable[[int], ExpectationSettings]
    placement: VolumePlacement
    found: ParticleResults
    count: Callable[[int], None] = lambda _: None
    started: StartedSteps = field(default_factory=StartedSteps)


class SharedExpectation:
    """Runs the expectation steps of a run.

    Parameters
    ----------
    comm
        Ranks.
    session
        This rank's device.
    budget
        Device memory that may be used.
    images, reconstruct_images
        Particle images; images for back-projection in the last iteration, or None.
    sharing
        Who works on which particles.
    columns
        Memory for the results of the particles.
    exchange
        Carries volumes between the ranks.
    resident
        Images that stay on the device.
    is_ordered
        Add volumes up in the order of the ranks.

    Attributes
    ----------
    budget, resident
        As given; the budget may be lowered.
    """

    def __init__(
        self,
        comm: Communicator,
        session: DeviceSession,
        budget: MemoryBudget,
        images: ImageSource,
        reconstruct_images: ImageSource | None,
        sharing: WorkSharing,
        columns: CommonColumns,
        exchange: BlockExchange,
        resident: ResidentImages,
        is_ordered: bool = False,
    ) -> None:
        self._comm = comm
        self._exchange = exchange
        self._session = session
        self.budget = budget
        self._images = images
        self._reconstruct_images = reconstruct_images
        self._sharing = sharing
        self._columns = columns
        self.resident = resident
        self._is_ordered = is_ordered

    def close(self) -> None:
        """Give up what the ranks have in common, on all of them together."""
        self._exchange.close()
        self._sharing.close()

    def owner(self, i_half: int) -> int:
        """Rank that has most particles of a half-set."""
        return int(np.argmax(self._sharing.shares.counts[i_half]))

    def part_of_half(self, i_half: int, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """Take this rank's part of some work, by how much of a half-set is its own."""
        counts = self._sharing.shares.counts[i_half]
        ends = np.cumsum(counts) / sum(counts)
        first = ends[self._comm.rank - 1] if self._comm.rank else 0.0
        borders = np.rint(len(ids) * np.array([first, ends[self._comm.rank]])).astype(int)
        return ids[borders[0] : borders[1]]

    def _volume_owners(self, state: RunState) -> list[list[int]]:
        """Rank that reconstructs each class of each half-set."""
        if state.is_split:
            return [[self.owner(i_half)] for i_half in range(len(state.models))]
        n_rows = self._sharing.shares.rows_of_ranks
        # slow devices reconstruct nothing
        fast = np.flatnonzero(2 * n_rows >= n_rows.max()).tolist()
        return [[fast[k % len(fast)] for k in range(state.n_classes)]]

    def halves_of_rank(self) -> list[int]:
        """Half-sets this rank has particles of."""
        counts = self._sharing.shares.counts
        return [i for i, of_half in enumerate(counts) if of_half[self._comm.rank]]

    def run(
        self,
        state: RunState,
        settings_of: Callable[[int], ExpectationSettings],
        bare_settings: ExpectationSettings,
        placement: VolumePlacement,
        orders: list[NDArray[np.int64]],
        is_last: bool,
        label: str,
        progress: ProgressMaker,
        meanwhile: Callable[[], None] | None = None,
    ) -> EndedStep:
        """Run the step until the volumes are there.

        Parameters
        ----------
        settings_of
            Makes the settings of a half-set; asked for those this rank works on.
        bare_settings
            Of any half-set, without references.
        placement
            Where this rank's volumes live.
        orders
            Processing order of each half-set.
        is_last
            Back-project the images for it.
        label
            For the progress display.
        meanwhile
            Called while this rank's device ends the step.

        Returns
        -------
        EndedStep
            To be left as a context.

        Raises
        ------
        NumericalError
            No particle of a half-set had a finite weight.
        """
        comm, sharing = self._comm, self._sharing
        # images stay bad; without a finite weight a particle may do better next time
        bad = {i: reason for i, reason in state.skipped.items() if reason == NOT_FINITE}
        self.resident.fill_room()
        sharing.seconds_to_fetch = self._seconds_to_fetch(state)
        filled = self._columns.begin(state.table.rot_deg)
        sharing.begin(orders, bad)  # here the ranks meet
        found = ParticleResults.in_columns(filled, comm.rank)
        step = _Step(state, is_last, settings_of, placement, found)
        display = progress if comm.is_first else no_progress
        started = time.perf_counter()
        with comm.progressing(), display(state.table.n, label) as bar, ExitStack() as errors:
            errors.enter_context(step.started)
            step.count = self._counting(bar)
            owners = self._volume_owners(state)
            with self._reduction(owners, bare_settings) as reduction:
                for i_half, helps in sharing.visits():
                    self._visit(step, i_half, helps)
                while (behind := self._half_to_help(bare_settings)) is not None:
                    self._visit(step, behind, helps=True)
                timer = self._session.profile.timer
                ended = self._session.to_host_later()
                # the device is still busy, and the last sums over particles are added up
                if meanwhile is not None:
                    meanwhile()
                ended.result()
                seconds = time.perf_counter() - started
                with timer("reduction"):
                    volumes = reduction.finish(step.started.volumes(state.n_classes))
                    weights = self._class_weights(step)
            errors.pop_all()
        of_classes = [
            [volumes.get(i_half * state.n_classes + k) for k in range(state.n_classes)]
            for i_half in range(len(state.models))
        ]
        # without the step: it holds the references
        wait = partial(
            self._parameters, state, step.started, found, filled, seconds, bare_settings, bad
        )
        return EndedStep(of_classes, owners, weights, wait, found, step.started)

    def _class_weights(self, step: _Step) -> list[NDArray[np.float64]]:
        """Posterior weight of each class of each half-set, of all ranks."""
        of_ranks = self._comm.allgather(step.started.class_weights())
        weights = []
        for i_half in range(len(step.state.models)):
            total = np.sum([one[i_half] for one in of_ranks if i_half in one], axis=0)
            if not np.any(total):
                raise NumericalError(
                    f"{step.state.table.star_path}: no particle has a finite weight; check the "
                    "images, the reference and its grey scale"
                )
            weights.append(total)
        return weights

    def _parameters(
        self,
        state: RunState,
        started: StartedSteps,
        found: ParticleResults,
        filled: FilledColumns,
        seconds: float,
        settings: ExpectationSettings,
        bad: dict[int, str],
    ) -> list[ParameterSums]:
        """Sums of each half-set over all ranks; with them, all there is to know of the step."""
        comm, timer = self._comm, self._session.profile.timer
        with timer("set-up"):
            local = started.results()
        with timer("reduction"):
            n_done = int(np.count_nonzero(found.done_by == comm.rank))
            end = self._sharing.end_of_rank(seconds, n_done)
            sums = {h: (one.to_vector(), skipped) for h, (one, skipped) in local.items()}
            # here the ranks meet
            ends, of_ranks = zip(*comm.allgather((end, sums)), strict=True)
            self._columns.join(filled)
        state.skipped = bad
        totals = []
        for i_half in range(len(state.models)):
            total = empty_sums(settings)
            # in the order of the ranks
            for vector, left_out in [one[i_half] for one in of_ranks if i_half in one]:
                total.add(ParameterSums.from_vector(vector, total))
                state.skipped.update(left_out)
            totals.append(total)
        found.keep_others(state.table)
        self._report(ends)
        self._sharing.finish(found.done_by, ends)
        if comm.size > 1:
            self.resident.retain(self._sharing.own)
        return totals

    def _reduction(self, owners: list[list[int]], settings: ExpectationSettings) -> VolumeReduction:
        return VolumeReduction(
            self._comm,
            self._exchange,
            [owner for of_half in owners for owner in of_half],
            settings.padding_factor,
            settings.r_max,
            settings.ori_size,
            self._session.real,
            self._is_ordered,
        )

    def _counting(self, bar: Progress) -> Callable[[int], None]:
        """Make the counter of a progress display, which shows what all ranks have claimed."""
        if self._comm.size == 1 or not self._comm.is_first:
            return bar.update
        shown = 0

        def count(_: int) -> None:
            nonlocal shown
            claimed = self._sharing.claimed_by_all()
            bar.update(claimed - shown)
            shown = claimed

        return count

    def _seconds_to_fetch(self, state: RunState) -> float:
        """Time to read a particle whose image is on another rank's device already; else 0."""
        if self.resident.is_empty:
            return 0.0
        largest = max(optics.box_px for optics in state.table.optics)
        return 4.0 * largest**2 / _IMAGE_BYTES_PER_SECOND

    def _half_to_help(self, settings: ExpectationSettings) -> int | None:
        shape = centred_shape(settings.padding_factor, settings.r_max)
        item = np.dtype(self._session.real).itemsize
        n_bytes = 4 * item * int(np.prod(shape)) * settings.n_classes
        return self._sharing.half_to_help(n_bytes / _VOLUME_BYTES_PER_SECOND)

    def _visit(self, step: _Step, i_half: int, helps: bool) -> None:
        """Work on what can be claimed of a half-set, and add to what was done of it before."""
        is_first_plan = self._comm.is_first and step.started.is_empty
        work = ExpectationStep(
            self._session,
            step.settings_of(i_half),
            step.state.table,
            self._images,
            self.budget,
            _print_plan if is_first_plan else lambda _: None,
            self._reconstruct_images if step.is_last else None,
            self.resident,
            step.placement,
            stays_whole=self._is_ordered and self._sharing.n_ranks_of(i_half) > 1,
        )

        def count(n: int) -> None:
            self._sharing.count_done(n)
            step.count(n)

        started = work.start(self._sharing.claims(i_half, helps), step.found, count)
        step.started.add(i_half, started)

    def _report(self, ends: Sequence[RankEnd]) -> None:
        """Tell how evenly the ranks were busy."""
        if self._comm.size > 1:
            work = ", ".join(f"{end.n_done} in {end.seconds:.2f} s" for end in ends)
            _log.info("Particles of rank 0, 1 ...: %s", work)


def _print_plan(lines: list[str]) -> None:
    # in one go: the device has nothing to do yet
    _log.info("%s", "\n".join(lines))
