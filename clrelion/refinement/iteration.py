"""One iteration of a run: expectation, maximization, and what steers the next one."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from clrelion.device.memory import MemoryBudget
from clrelion.expectation.accuracy import N_TRIAL_PARTICLES, expected_accuracies
from clrelion.expectation.reference import ReferenceTransform
from clrelion.expectation.resident_images import ResidentImages
from clrelion.expectation.results import NOT_FINITE, ExpectationResult, ParticleResults
from clrelion.expectation.settings import ExpectationSettings
from clrelion.expectation.step import ExpectationStep
from clrelion.options import RefineOptions
from clrelion.orientations.sampling import advance_perturbation
from clrelion.orientations.symmetry import PointGroup
from clrelion.particles.half_sets import processing_order
from clrelion.particles.loader import ParticleImages, PrereadImages
from clrelion.planning.limits import DeviceLimits
from clrelion.planning.run import RunPlan, plan_iteration, plan_run
from clrelion.planning.volumes import VolumePlacement
from clrelion.refinement.expectation_setup import (
    Grids,
    expectation_settings,
    is_cross_correlation,
    references_of_models,
    run_sizes,
)
from clrelion.refinement.forecast import foresee, foreseen_iteration
from clrelion.refinement.maximization_step import Maximization, MaximizationResult
from clrelion.refinement.progress import ProgressMaker
from clrelion.refinement.schedule import (
    ImageSizes,
    coarser_sampling,
    current_resolution,
    has_converged,
    hidden_variable_changes,
    image_sizes,
    measure_changes,
    record_resolution,
    update_increment,
    update_sampling,
)
from clrelion.refinement.schedule_state import SchedulePolicy
from clrelion.refinement.state import RunState

if TYPE_CHECKING:
    from clrelion.device.session import DeviceSession

__all__ = ["Iteration"]

_log = logging.getLogger(__name__)


class Iteration:
    """Runs the iterations of one run.

    Parameters
    ----------
    session
        Device.
    options, point_group, policy
        Of the run.
    images, reconstruct_images
        Particle images; images for back-projection in the last iteration, or None.
    maximization
        M-step with its masks.
    budget
        Device memory that may be used.
    random_seed
        Seed of the run.
    has_fixed_tau2
        ``--tau`` is given.
    """

    def __init__(
        self,
        session: DeviceSession,
        options: RefineOptions,
        point_group: PointGroup,
        policy: SchedulePolicy,
        images: ParticleImages | PrereadImages,
        maximization: Maximization,
        budget: MemoryBudget,
        random_seed: int,
        has_fixed_tau2: bool,
        reconstruct_images: ParticleImages | None = None,
    ) -> None:
        self._session = session
        self._options = options
        self._group = point_group
        self._policy = policy
        self._images = images
        self._maximization = maximization
        self._budget = budget
        self._seed = random_seed
        self._has_fixed_tau2 = has_fixed_tau2
        self._reconstruct_images = reconstruct_images
        self._resident: ResidentImages | None = None
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

    def plan(self, state: RunState) -> RunPlan:
        """Plan all iterations to come."""
        forced = self._options.force_converge and state.is_split
        return plan_run(
            DeviceLimits.of(self._session, self._budget),
            foresee(
                run_sizes(self._options, state, self._policy, self._group),
                state.schedule,
                state.sampling,
                state.iteration + 1,
                forced or has_converged(state.schedule, self._policy),
            ),
        )

    def _placement(self, state: RunState, sizes: ImageSizes) -> VolumePlacement:
        """Where the volumes of the coming iteration live."""
        run = run_sizes(self._options, state, self._policy, self._group)
        iteration = foreseen_iteration(run, state.sampling, sizes, state.iteration + 1, False)
        return plan_iteration(DeviceLimits.of(self._session, self._budget), iteration).placement

    def _residents(self, state: RunState) -> ResidentImages:
        """Images that stay on the device; none of them before the first iteration."""
        if self._resident is None:
            self._resident = ResidentImages(self._session, state.table, self._budget)
        return self._resident

    def run(self, state: RunState, progress: ProgressMaker) -> MaximizationResult:
        """Run the next iteration and bring ``state`` up to date.

        Returns
        -------
        MaximizationResult
            With the unregularised half maps, where they are wanted.
        """
        iteration = state.iteration + 1
        is_last = self._converges(state)
        sizes, settings, placement = self.prepare(state, iteration, is_last)
        results, found = self._expectation(state, settings, placement, iteration, is_last, progress)
        del settings  # the references make room for the reconstruction
        if self._options.skip_maximize:
            found.write_to(state.table)
            state.iteration = iteration
            return MaximizationResult(state.models, None, [])
        with self._session.profile.timer("maximization"):
            is_cc = is_cross_correlation(state, self._options, iteration)
            made = self._maximization.run(
                state, results, sizes.current_size, iteration, is_cc, is_last
            )
        self._finish(state, made, found, sizes, iteration, is_last)
        return made

    def _converges(self, state: RunState) -> bool:
        forced = self._options.force_converge and state.is_split
        is_last = forced or has_converged(state.schedule, self._policy)
        state.schedule = replace(state.schedule, has_converged=is_last)
        if is_last:
            _log.info(
                "Auto-refine: converged; the last iteration joins the halves and uses all data"
            )
        return is_last

    def prepare(
        self, state: RunState, iteration: int, is_last: bool
    ) -> tuple[ImageSizes, list[ExpectationSettings], VolumePlacement]:
        """Sizes, references, accuracies and sampling of an iteration (specification M 4.1.3)."""
        sizes = self.sizes(state, uses_all_data=is_last)
        placement = self._placement(state, sizes)
        rng = np.random.default_rng([self._seed, iteration])
        state.perturbation = advance_perturbation(state.perturbation, self._options.perturb, rng)
        references = references_of_models(
            self._session, placement, state, self._options, sizes.current_size
        )
        if not self._has_fixed_tau2:
            for model, transforms in zip(state.models, references, strict=True):
                for k, transform in enumerate(transforms):
                    if transform is not None:
                        model.tau2[k] = transform.power_spectrum
        self._estimate_accuracies(state, references[0], sizes, iteration)
        self._update_sampling(state, iteration)
        settings = [
            self._settings(state, i, references[i], sizes, iteration)
            for i in range(len(state.models))
        ]
        return sizes, settings, placement

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

    def order(self, state: RunState) -> NDArray[np.int64]:
        """Processing order of the particles: shuffled once a run, half 1 first.

        The same in a continued run, so that it goes on as if it had not been interrupted.
        """
        if state.order is None:
            seed = self._seed + 1 if self._seed else 0
            state.order = processing_order(state.table, seed)
        return state.order

    def _estimate_accuracies(
        self,
        state: RunState,
        references: list[ReferenceTransform | None],
        sizes: ImageSizes,
        iteration: int,
    ) -> None:
        options = self._options
        if is_cross_correlation(state, options, iteration):
            return
        if options.skip_align and options.skip_rotate:
            return
        ids = self.order(state)[:N_TRIAL_PARTICLES]
        with self._session.profile.timer("accuracies"):
            settings = self._settings(state, 0, references, sizes, iteration)
            found = expected_accuracies(self._session, settings, state.table, ids)
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

    def _expectation(
        self,
        state: RunState,
        settings: list[ExpectationSettings],
        placement: VolumePlacement,
        iteration: int,
        is_last: bool,
        progress: ProgressMaker,
    ) -> tuple[list[ExpectationResult], ParticleResults]:
        found = ParticleResults.of(state.table)
        usable = np.ones(state.table.n, dtype=np.bool_)
        # images stay bad; without a finite weight a particle may do better next time
        bad = {i: reason for i, reason in state.skipped.items() if reason == NOT_FINITE}
        usable[list(bad)] = False
        order = self.order(state)
        label = f"Expectation iteration {iteration}"
        if not self._options.auto_refine:
            label += f" of {self._options.max_iterations}"
        results = []
        with progress(state.table.n, label) as bar:
            for i_half, half_settings in enumerate(settings):
                is_mine = np.zeros(state.table.n, dtype=np.bool_)
                is_mine[state.members(i_half)] = True
                step = ExpectationStep(
                    self._session,
                    half_settings,
                    state.table,
                    self._images,
                    self._budget,
                    _print_plan if i_half == 0 else lambda _: None,
                    self._reconstruct_images if is_last else None,
                    self._residents(state),
                    placement,
                )
                mine = order[is_mine[order] & usable[order]]
                results.append(step.run(mine, found, bar.update))
        state.skipped = bad
        for result in results:
            state.skipped.update(result.skipped)
        return results, found

    def _finish(
        self,
        state: RunState,
        made: MaximizationResult,
        found: ParticleResults,
        sizes: ImageSizes,
        iteration: int,
        is_last: bool,
    ) -> None:
        """Record changes and resolution; the state then is that after the iteration."""
        table, done = state.table, found.is_done
        changes = measure_changes(
            np.stack([found.rot_deg, found.tilt_deg, found.psi_deg], -1)[done],
            np.stack([table.rot_deg, table.tilt_deg, table.psi_deg], -1)[done],
            np.stack([found.origin_x_angst, found.origin_y_angst], -1)[done],
            np.stack([table.origin_x_angst, table.origin_y_angst], -1)[done],
            found.class_number[done],
            table.class_number[done],
            self._group,
        )
        found.write_to(table)
        state.models = made.models
        schedule = state.schedule
        if made.fsc_halves is not None:
            schedule = update_increment(schedule, made.fsc_halves, sizes.current_size)
        schedule = hidden_variable_changes(
            schedule,
            changes,
            state.sampling,
            self._options.oversampling,
            start_sampling_of_run=state.start_sampling if self._options.auto_refine else None,
        )
        schedule = replace(schedule, ave_pmax=made.models[0].ave_pmax)
        resolution = current_resolution(
            made.models[0].data_vs_prior,
            pixel_size_angst=state.pixel_size_angst,
            iteration=iteration,
            ini_high_angst=-1.0 if state.is_continued else self._options.ini_high_angst or -1.0,
            is_first_iteration_cc=self._options.firstiter_cc and not state.is_continued,
            is_gold_standard=self._options.auto_refine and made.fsc_halves is not None,
            do_map=not self._options.no_map,
            minres_map=self._options.minres_map,
        )
        state.schedule = record_resolution(schedule, resolution)
        state.references_ctf_corrected = True
        state.current_size = sizes.current_size
        state.iteration = iteration


def _print_plan(lines: list[str]) -> None:
    for line in lines:
        _log.info("%s", line)
