"""What an iteration needs before its expectation step: sizes, references, accuracies, sampling.

In: the state after the iteration before.  Out: settings of the step (specification M 4.1).
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from clrelion.expectation.accuracy import N_TRIAL_PARTICLES, expected_accuracies, try_particles
from clrelion.expectation.reference import ReferenceTransform
from clrelion.expectation.settings import ExpectationSettings
from clrelion.options import RefineOptions
from clrelion.orientations.sampling import advance_perturbation
from clrelion.orientations.symmetry import PointGroup
from clrelion.parallel.communicator import Communicator
from clrelion.particles.random_numbers import c_library_random
from clrelion.planning.volumes import VolumePlacement
from clrelion.refinement.expectation_setup import (
    Grids,
    References,
    expectation_settings,
    is_cross_correlation,
    references_of_model,
)
from clrelion.refinement.processing_order import order_of_run
from clrelion.refinement.progress import ProgressMaker, no_progress
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
    meanwhile
        To be called on all ranks before the step ends: accuracies that the sampling does not
        depend on.
    """

    sizes: ImageSizes
    settings_of: Callable[[int], ExpectationSettings]
    bare_settings: ExpectationSettings
    placement: VolumePlacement
    meanwhile: Callable[[], None]


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
        (drawn,) = c_library_random(self._seed + iteration, 1).tolist()
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
        all_stay = self._meet(state, references, placement.stays)

        def accuracies(shows: ProgressMaker) -> None:
            self._estimate_accuracies(state, references, sizes, iteration, shows)

        steering = state.schedule, state.sampling, self._policy, iteration
        is_steered = self._options.allow_coarser_sampling or refinement_is_due(*steering)
        # references that are not kept would have to be made again
        waits = not is_steered and all_stay
        if not waits:
            accuracies(progress)
        self._update_sampling(state, iteration)

        def settings_of(i_half: int) -> ExpectationSettings:
            return self._settings(state, i_half, references(i_half), sizes, iteration)

        def meanwhile() -> None:
            if waits:
                accuracies(no_progress)  # the step's own display is still there

        bare = self._settings(state, 0, [], sizes, iteration)
        return Ready(sizes, settings_of, bare, placement, meanwhile)

    def _meet(self, state: RunState, references: References, stays: bool) -> bool:
        """Give all ranks tau2 from the references, and tell whether all keep these.

        tau2 of a half-set comes from the rank that reconstructs it.
        """
        mine = {}
        # the first half-set's last: its references are wanted next
        for i_half, model in reversed(list(enumerate(state.models))):
            if self._expectation.owner(i_half) == self._comm.rank and not self._has_fixed_tau2:
                for k, transform in enumerate(references(i_half)):
                    if transform is not None:
                        model.tau2[k] = transform.power_spectrum
                mine[i_half] = model.tau2
        of_ranks = self._comm.allgather((stays, mine))
        for _, of_rank in of_ranks:
            for i_half, tau2 in of_rank.items():
                state.models[i_half].tau2 = tau2
        return all(stays for stays, _ in of_ranks)

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

    def _estimate_accuracies(
        self,
        state: RunState,
        references: References,
        sizes: ImageSizes,
        iteration: int,
        progress: ProgressMaker,
    ) -> None:
        options = self._options
        if is_cross_correlation(state, options, iteration):
            return
        if options.skip_align and options.skip_rotate:
            return
        with self._session.profile.timer("accuracies"):
            every_id = order_of_run(state, self._seed).everybody[:N_TRIAL_PARTICLES]
            ids = self._expectation.part_of_half(0, every_id)
            part = None
            n, label = len(ids) * state.n_classes, f"Expected accuracies iteration {iteration}"
            if n:
                settings = self._settings(state, 0, references(0), sizes, iteration)
                with progress(n, label) as bar:
                    part = try_particles(self._session, settings, state.table, ids, bar.update)
            parts = self._comm.allgather(part)
            found = expected_accuracies([part for part in parts if part is not None])
        state.take_accuracies(found.rot_deg, found.trans_angst, found.orientability)
        _log.info(
            "Estimated accuracy angles= %.3f degrees; offsets= %.3f Angstroms",
            state.schedule.acc_rot_deg,
            state.schedule.acc_trans_angst,
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
