"""What an iteration needs before its expectation step: sizes, references, accuracies, sampling.

In: the state after the iteration before.  Out: settings of the step (specification M 4.1).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from clrelion.expectation.accuracy import N_TRIAL_PARTICLES
from clrelion.expectation.reference import ReferenceTransform
from clrelion.expectation.settings import ExpectationSettings
from clrelion.options import RefineOptions
from clrelion.orientations.sampling import advance_perturbation
from clrelion.orientations.symmetry import PointGroup
from clrelion.parallel.communicator import Communicator
from clrelion.particles.random_numbers import first_random_numbers
from clrelion.planning.volumes import VolumePlacement
from clrelion.refinement.expectation_setup import (
    Grids,
    References,
    expectation_settings,
    is_cross_correlation,
    references_of_model,
)
from clrelion.refinement.late_answers import LateAnswers
from clrelion.refinement.processing_order import order_of_run
from clrelion.refinement.progress import ProgressMaker
from clrelion.refinement.run_planner import RunPlanner
from clrelion.refinement.schedule import (
    ImageSizes,
    coarser_sampling,
    image_sizes,
    refinement_is_due,
    update_sampling,
)
from clrelion.refinement.schedule_state import SchedulePolicy
from clrelion.refinement.shared_expectation import SharedExpectation
from clrelion.refinement.state import RunState

if TYPE_CHECKING:
    from clrelion.device.session import DeviceSession

__all__ = ["Preparation", "Ready"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Ready:
    """An iteration whose expectation step can begin.

    Attributes
    ----------
    sizes
        Of the images.
    settings_of
        Gives the settings of a half-set; makes references that this rank has not needed so far.
    bare_settings
        Of any half-set, without references.
    placement
        Where this rank's volumes live.
    late
        To be asked before the step ends, and shared after it; None: that is done.
    """

    sizes: ImageSizes
    settings_of: Callable[[int], ExpectationSettings]
    bare_settings: ExpectationSettings
    placement: VolumePlacement
    late: LateAnswers | None


class Preparation:
    """Prepares the iterations of one run.

    Parameters
    ----------
    session
        Device.
    options, point_group, policy
        Of the run.
    expectation
        The step to come.
    planner
        Plans it.
    random_seed
        Seed of the run.
    has_fixed_tau2
        ``--tau`` is given.
    comm
        Ranks that share the work.
    """

    def __init__(
        self,
        session: DeviceSession,
        options: RefineOptions,
        point_group: PointGroup,
        policy: SchedulePolicy,
        expectation: SharedExpectation,
        planner: RunPlanner,
        random_seed: int,
        has_fixed_tau2: bool,
        comm: Communicator,
    ) -> None:
        self._session = session
        self._options = options
        self._group = point_group
        self._policy = policy
        self._expectation = expectation
        self._planner = planner
        self._seed = random_seed
        self._has_fixed_tau2 = has_fixed_tau2
        self._comm = comm
        self._grids: tuple[object, Grids] | None = None

    def grids(self, state: RunState) -> Grids:
        """Sampling grids of the present sampling."""
        if self._grids is None or self._grids[0] != state.sampling:
            grids = Grids.create(state.sampling, self._options, self._group)
            self._grids = (state.sampling, grids)
        return self._grids[1]

    def sizes(self, state: RunState, uses_all_data: bool) -> ImageSizes:
        """Image sizes of the coming expectation step."""
        options = self._options
        return image_sizes(
            state.schedule,
            state.sampling,
            self._policy,
            ori_size=state.ori_size,
            pixel_size_angst=state.pixel_size_angst,
            image_boxes_px=[o.box_px for o in state.table.optics],
            image_pixel_sizes_angst=[o.pixel_size_angst for o in state.table.optics],
            uses_all_data=uses_all_data,
            strict_highres_exp_angst=options.strict_highres_exp_angst or -1.0,
            max_coarse_size=options.max_coarse_size_px or -1,
        )

    def prepare(
        self, state: RunState, iteration: int, is_last: bool, progress: ProgressMaker
    ) -> Ready:
        """Sizes, references, accuracies and sampling of an iteration (specification M 4.1.3)."""
        sizes = self.sizes(state, uses_all_data=is_last)
        plan = self._planner.coming(state, sizes)
        placement = plan.placement
        # before the references are made, which may need it
        self._expectation.resident.leave_room(plan.images_room)
        order_of_run(state, self._seed)
        (drawn,) = first_random_numbers(np.array([self._seed + iteration])).tolist()
        state.perturbation = advance_perturbation(state.perturbation, self._options.perturb, drawn)
        references = References(
            lambda i_half: references_of_model(
                self._session,
                placement,
                state,
                state.models[i_half],
                self._options,
                sizes.current_size,
            ),
            keeps_all=placement.stays,
        )
        for i_half in self._expectation.halves_of_rank()[: None if placement.stays else 1]:
            references(i_half)
        answers = self._late_answers(state, references, sizes, iteration)
        steering = state.schedule, state.sampling, self._policy, iteration
        is_steered = self._options.allow_coarser_sampling or refinement_is_due(*steering)
        # references that are not kept would have to be made again
        waits = all(self._comm.allgather(placement.stays)) and not is_steered
        if not waits:
            answers.ask(progress)
            answers.share()
        self._update_sampling(state, iteration)

        def settings_of(i_half: int) -> ExpectationSettings:
            return self._settings(state, i_half, references(i_half), sizes, iteration)

        bare = self._settings(state, 0, [], sizes, iteration)
        return Ready(sizes, settings_of, bare, placement, answers if waits else None)

    def _late_answers(
        self, state: RunState, references: References, sizes: ImageSizes, iteration: int
    ) -> LateAnswers:
        """Prepare to ask for tau2 and, where orientations are searched, for the accuracies."""
        options = self._options
        trial_ids = None
        keeps_orientation = options.skip_align and options.skip_rotate
        if not keeps_orientation and not is_cross_correlation(state, options, iteration):
            every_id = order_of_run(state, self._seed).everybody[:N_TRIAL_PARTICLES]
            trial_ids = self._expectation.part_of_half(0, every_id)
        halves = [] if self._has_fixed_tau2 else range(len(state.models))
        return LateAnswers(
            self._session,
            state,
            references,
            [self._expectation.owner(i_half) for i_half in halves],
            trial_ids,
            lambda: self._settings(state, 0, references(0), sizes, iteration),
            f"Expected accuracies iteration {iteration}",
            self._comm,
        )

    def _settings(
        self,
        state: RunState,
        i_half: int,
        references: list[ReferenceTransform | None],
        sizes: ImageSizes,
        iteration: int,
    ) -> ExpectationSettings:
        return expectation_settings(
            state,
            self._options,
            state.models[i_half],
            references,
            self.grids(state),
            self._group,
            self._policy,
            sizes,
            iteration,
            self._seed,
        )

    def _update_sampling(self, state: RunState, iteration: int) -> None:
        """Refine the sampling where it is due; new directions start with equal priors."""
        before = state.sampling
        state.schedule, state.sampling = update_sampling(
            state.schedule, state.sampling, self._policy, iteration
        )
        if self._options.allow_coarser_sampling and state.n_classes > 1:
            state.sampling = coarser_sampling(
                state.schedule,
                state.sampling,
                self._policy,
                is_cross_correlation=is_cross_correlation(state, self._options, iteration),
            )
        if state.sampling.healpix_order != before.healpix_order:
            n_dir = self.grids(state).orientations.n_dir
            for model in state.models:
                uniform = 1.0 / (model.n_classes * n_dir)
                model.pdf_direction = np.full((model.n_classes, n_dir), uniform)
