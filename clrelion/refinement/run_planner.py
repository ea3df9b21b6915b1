"""The memory planner of one run: plans for all iterations to come, and places for volumes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clrelion.device.memory import MemoryBudget
from clrelion.options import RefineOptions
from clrelion.orientations.symmetry import PointGroup
from clrelion.planning.limits import DeviceLimits
from clrelion.planning.run import IterationPlan, RunPlan, plan_iteration, plan_run
from clrelion.refinement.forecast import ImageGroup, RunSizes, foresee, foreseen_iteration
from clrelion.refinement.schedule import ImageSizes
from clrelion.refinement.schedule_state import SchedulePolicy
from clrelion.refinement.state import RunState

if TYPE_CHECKING:
    from clrelion.device.session import DeviceSession

__all__ = ["RunPlanner"]


class RunPlanner:
    """Plans the iterations of a run on a device.

    Parameters
    ----------
    session, budget
        Device, and its memory that may be used.
    options, point_group, policy
        Of the run.

    Attributes
    ----------
    budget
        As given; may be lowered.
    """

    def __init__(
        self,
        session: DeviceSession,
        budget: MemoryBudget,
        options: RefineOptions,
        point_group: PointGroup,
        policy: SchedulePolicy,
    ) -> None:
        self._session = session
        self.budget = budget
        self._options = options
        self._group = point_group
        self._policy = policy

    def plan(self, state: RunState, is_last: bool) -> RunPlan:
        """Plan all iterations to come; ``is_last``: the next one is the last."""
        run = self._sizes(state)
        coming = foresee(run, state.schedule, state.sampling, state.iteration + 1, is_last)
        return plan_run(self._limits(), coming)

    def coming(self, state: RunState, sizes: ImageSizes) -> IterationPlan:
        """Plan of the coming iteration: where volumes live, room for images."""
        number = state.iteration + 1
        coming = foreseen_iteration(self._sizes(state), state.sampling, sizes, number, False)
        return plan_iteration(self._limits(), coming)

    def _limits(self) -> DeviceLimits:
        return DeviceLimits.of(self._session, self.budget)

    def _sizes(self, state: RunState) -> RunSizes:
        options = self._options
        counts = state.membership.by_optics_group[0]
        groups = [
            ImageGroup(o.box_px, o.pixel_size_angst, int(n))
            for o, n in zip(state.table.optics, counts, strict=True)
        ]
        return RunSizes(
            ori_size=state.ori_size,
            pixel_size_angst=state.pixel_size_angst,
            padding_factor=options.padding,
            n_classes=state.n_classes,
            n_halves=len(state.models),
            groups=tuple(groups),
            symmetry_order=self._group.order,
            policy=self._policy,
            n_iterations=options.max_iterations,
            strict_highres_exp_angst=options.strict_highres_exp_angst or -1.0,
            max_coarse_size_px=options.max_coarse_size_px or -1,
            keeps_orientation=options.skip_align or options.skip_rotate,
            keeps_shift=options.skip_align,
        )
