"""One iteration of a run: preparation, expectation, maximization, conclusion."""

from __future__ import annotations

import logging
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

from clrelion.device.memory import MemoryBudget, format_bytes
from clrelion.errors import DeviceMemoryError
from clrelion.options import RefineOptions
from clrelion.parallel.communicator import Communicator
from clrelion.planning.run import RunPlan
from clrelion.refinement.conclusion import conclude_iteration
from clrelion.refinement.ended_step import EndedStep
from clrelion.refinement.expectation_setup import Grids, is_cross_correlation
from clrelion.refinement.maximization_step import Maximization, MaximizationResult
from clrelion.refinement.preparation import Preparation
from clrelion.refinement.processing_order import order_of_run
from clrelion.refinement.progress import ProgressMaker, no_progress
from clrelion.refinement.run_planner import RunPlanner
from clrelion.refinement.schedule import ImageSizes, has_converged
from clrelion.refinement.schedule_state import SchedulePolicy
from clrelion.refinement.shared_expectation import SharedExpectation
from clrelion.refinement.state import RunState

if TYPE_CHECKING:
    from clrelion.device.session import DeviceSession

__all__ = ["Iteration"]

_log = logging.getLogger(__name__)

_SMALLEST_BUDGET = 8 * 10**6


class Iteration:
    """Runs the iterations of one run.

    Parameters
    ----------
    session
        Device.
    options, policy, random_seed
        Of the run.
    planner
        Plans the memory of its iterations.
    preparation, expectation, maximization
        The three steps.
    comm
        Ranks that share the work.
    """

    def __init__(
        self,
        session: DeviceSession,
        options: RefineOptions,
        policy: SchedulePolicy,
        random_seed: int,
        planner: RunPlanner,
        preparation: Preparation,
        expectation: SharedExpectation,
        maximization: Maximization,
        comm: Communicator,
    ) -> None:
        self._session = session
        self._options = options
        self._policy = policy
        self._seed = random_seed
        self._planner = planner
        self._preparation = preparation
        self._expectation = expectation
        self._maximization = maximization
        self._comm = comm

    @property
    def budget(self) -> MemoryBudget:
        """Device memory that may be used."""
        return self._planner.budget

    def grids(self, state: RunState) -> Grids:
        """Sampling grids of the present sampling."""
        return self._preparation.grids(state)

    def plan(self, state: RunState) -> RunPlan:
        """Plan all iterations to come."""
        return self._planner.plan(state, self._is_last(state))

    def close(self) -> None:
        """Give up what the ranks have in common, on all of them together."""
        self._expectation.close()

    def run(self, state: RunState, progress: ProgressMaker) -> MaximizationResult:
        """Run the next iteration and bring ``state`` up to date.

        Returns
        -------
        MaximizationResult
            With the unregularised half maps, where they are wanted.
        """
        iteration = state.iteration + 1
        shown = progress if self._comm.is_first else no_progress
        is_last = self._converges(state)
        before = state.snapshot()
        while True:
            try:
                sizes, ended = self._expectation_of(state, iteration, is_last, progress)
                break
            except DeviceMemoryError as error:
                self._plan_for_less(error)
            # the arrays of the attempt are free only now
            self._session.release_unused()
            vars(state).update(vars(before.snapshot()))
        with ended:
            if self._options.skip_maximize:
                ended.parameters()
                ended.found.write_to(state.table)
                state.iteration = iteration
                return MaximizationResult(state.models, None, [])
            made = self._maximize(state, ended, sizes, iteration, is_last, shown)
        conclude_iteration(
            state,
            made,
            ended.found,
            sizes.current_size,
            iteration,
            self._options,
            self._comm,
        )
        return made

    def _maximize(
        self,
        state: RunState,
        ended: EndedStep,
        sizes: ImageSizes,
        iteration: int,
        is_last: bool,
        shown: ProgressMaker,
    ) -> MaximizationResult:
        n_own = sum(of_half.count(self._comm.rank) for of_half in ended.owners)
        n_maps = 1 if is_last and state.is_split else n_own
        with (
            self._session.profile.timer("maximization"),
            shown(n_own + n_maps, f"Maximization iteration {iteration}", "maps") as bar,
        ):
            is_cc = is_cross_correlation(state, self._options, iteration)
            return self._maximization.run(
                state, ended, sizes.current_size, iteration, is_cc, is_last, bar.update
            )

    def _expectation_of(
        self, state: RunState, iteration: int, is_last: bool, progress: ProgressMaker
    ) -> tuple[ImageSizes, EndedStep]:
        """Run the expectation step; the references are gone when it ends."""
        shown = progress if self._comm.is_first else no_progress
        ready = self._preparation.prepare(state, iteration, is_last, shown)
        label = f"Expectation iteration {iteration}"
        if not self._options.auto_refine:
            label += f" of {self._options.max_iterations}"
        ended = self._expectation.run(
            state, ready.settings_of, ready.bare_settings, ready.placement,
            order_of_run(state, self._seed).halves,
            is_last, label, progress, ready.late.ask if ready.late else None,
        )  # fmt: skip
        with ExitStack() as errors:
            errors.enter_context(ended)
            if ready.late:
                ready.late.share()
            errors.pop_all()
        return ready.sizes, ended

    def _plan_for_less(self, error: DeviceMemoryError) -> None:
        """Plan for less memory from now on, after an allocation that failed all the same.

        Images leave the device before the plan becomes one for half the memory.

        Raises
        ------
        DeviceMemoryError
            Again, if there is next to nothing to halve, or other ranks wait for this one.
        """
        if self._comm.size > 1:
            raise error
        if self._expectation.resident.give_up():
            _log.warning("%s; going on with fewer images on the device", error)
            return
        if self.budget.bytes < 2 * _SMALLEST_BUDGET:
            raise error
        less = replace(self.budget, limit_bytes=self.budget.bytes // 2)
        self._planner.budget = self._expectation.budget = less
        _log.warning(
            "%s; going on with a plan for half the memory, %s",
            error,
            format_bytes(self.budget.bytes),
        )

    def _is_last(self, state: RunState) -> bool:
        forced = self._options.force_converge and state.is_split
        return forced or has_converged(state.schedule, self._policy)

    def _converges(self, state: RunState) -> bool:
        is_last = self._is_last(state)
        state.schedule = replace(state.schedule, has_converged=is_last)
        if is_last:
            _log.info(
                "Auto-refine: converged; the last iteration joins the halves and uses all data"
            )
        return is_last
