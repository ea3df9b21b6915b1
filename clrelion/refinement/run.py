"""One whole run: from options to the last map (specification M 4.1, E 6)."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clrelion.device.choice import choose_device
from clrelion.device.session import DeviceSession
from clrelion.errors import ContinueError, OptionsError, StarError
from clrelion.fourier.masks import prepare_solvent_mask
from clrelion.fourier.transforms import set_workers
from clrelion.io.mrc import read_map
from clrelion.io.mtf import read_mtfs
from clrelion.io.particle_table import read_particles
from clrelion.io.pipeline import PipelineControl
from clrelion.io.run_files import data_file, optimiser_file
from clrelion.io.star import read_star
from clrelion.maximization.solvent import SolventMasks, spherical_solvent_mask
from clrelion.options import RefineOptions
from clrelion.orientations.symmetry import PointGroup
from clrelion.particles.loader import ParticleImages, PrereadImages
from clrelion.refinement.background import BackgroundWriter
from clrelion.refinement.expectation_setup import schedule_policy
from clrelion.refinement.image_sources import particle_images, reconstruct_images
from clrelion.refinement.initialise import default_particle_diameter_angst
from clrelion.refinement.iteration import Iteration
from clrelion.refinement.maximization_step import Maximization
from clrelion.refinement.output import Output
from clrelion.refinement.progress import ProgressMaker, no_progress, with_check
from clrelion.refinement.restart import read_stored_run, restart_run, stored_options
from clrelion.refinement.schedule_state import SchedulePolicy
from clrelion.refinement.start import read_references, start_run
from clrelion.refinement.state import RunState

__all__ = ["RunSummary", "run_refinement"]

_log = logging.getLogger(__name__)

_SEED_LIMIT = 2**31 - 1


@dataclass(frozen=True)
class RunSummary:
    """How a run ended.

    Attributes
    ----------
    output_root
        Root of the output files.
    iterations
        Number of the last iteration.
    has_converged
        Auto-refine reached its joined last iteration.
    resolution_angst
        Å, of the last maps.
    maps
        Files of the last maps.
    seconds
        Wall time.
    """

    output_root: str
    iterations: int
    has_converged: bool
    resolution_angst: float
    maps: list[str]
    seconds: float


def run_refinement(
    options: RefineOptions,
    command_line: str,
    progress: ProgressMaker = no_progress,
    session: DeviceSession | None = None,
) -> RunSummary:
    """Run a classification or an auto-refine to its end.

    Parameters
    ----------
    options
        Of the command line.
    command_line
        For the head of the optimiser files.
    progress
        Makes the progress display of a step.
    session
        Session to work with instead of one on the device of the options, e.g. one that measures.

    Raises
    ------
    ClrelionError
        One line that says what is wrong and what to do.
    AbortRequested
        The pipeline asked the job to stop.
    """
    started = time.monotonic()
    options, state, run = _set_up(options, command_line, session)
    if state.iteration >= options.max_iterations:
        flag = "--auto_iter_max" if options.auto_refine else "--iter"
        raise ContinueError(
            f"--continue {options.continue_from}: this run has done its {state.iteration} "
            f"iterations; give a larger {flag}"
        )
    run.print_plan(state)
    if options.dry_run:
        return RunSummary(options.output_root, state.iteration, False, _resolution(state), [], 0.0)
    is_final = False
    try:
        run.write_start(state)
        while state.iteration < options.max_iterations and not is_final:
            run.check_abort()
            run.iterate(state, progress)
            is_final = state.schedule.has_converged
            if options.skip_maximize or run.reached_resolution(state):
                break
        maps = run.last_maps()
    finally:
        run.close()
    seconds = time.monotonic() - started
    summary = RunSummary(
        options.output_root, state.iteration, is_final, _resolution(state), maps, seconds
    )
    run.report_end(state, summary)
    return summary


def _resolution(state: RunState) -> float:
    resolution = state.schedule.current_resolution_inv_angst
    return 1.0 / resolution if resolution > 0 else np.inf


def _set_up(
    options: RefineOptions, command_line: str, session: DeviceSession | None
) -> tuple[RefineOptions, RunState, _Run]:
    """Read and check everything before the first line of output is written."""
    stored = None
    given: dict[str, object] = {}
    if options.continue_from is not None:
        stored = read_stored_run(options.continue_from)
        given = {name: getattr(options, name) for name in options.model_fields_set}
        options = options.continued(stored_options(stored))
        if "output_root" not in given:
            root = f"{stored.optimiser.output_root}_ct{stored.optimiser.iteration}"
            options = options.model_copy(update={"output_root": root})
    seed = options.random_seed
    if seed is None:
        seed = int(time.time()) % _SEED_LIMIT
    options = options.model_copy(update={"random_seed": seed})
    set_workers(options.n_threads)
    point_group = PointGroup.from_name(options.symmetry)
    if session is None:
        session = DeviceSession(choose_device(options.device), options.precision)
    _log.info("Device: %s, driver %s", session.info.label, session.info.driver)
    if options.deterministic and not session.is_cpu:
        raise OptionsError(
            f"--deterministic: {session.info.label} adds up the back-projections in no fixed "
            "order; drop the option, or give --device cpu"
        )
    if stored is not None:
        state = restart_run(options, stored, point_group, given)
        source = particle_images(options, state.table, state.image_folder)
        policy = _policy(options, state.ori_size, state.pixel_size_angst)
    else:
        table = read_particles(options.particles_star, options.pixel_size_angst, options.ctf)
        references = read_references(options, table)
        source = particle_images(options, table)
        ori_size = references[0][0][0].shape[0]
        policy = _policy(options, ori_size, references[1])
        _log.info("Estimating initial noise spectra from %d particles", table.n)
        state = start_run(options, table, source, point_group, policy, references, seed)
    read_mtfs(state.table.optics, state.table.star_path, state.image_folder)
    if options.do_scale_correction and len(state.table.group_names) == 1:
        _log.info("--scale: there is only one group, so intensity scales are not corrected")
    run = _Run(options, state, session, point_group, policy, source, command_line, seed)
    return options, state, run


def _policy(options: RefineOptions, ori_size: int, pixel_size: float) -> SchedulePolicy:
    diameter = options.particle_diameter_angst
    if diameter is None:
        edge = options.width_mask_edge_px
        diameter = default_particle_diameter_angst(ori_size, pixel_size, edge)
    return schedule_policy(options, diameter)


class _Run:
    """A run that has been set up."""

    def __init__(
        self,
        options: RefineOptions,
        state: RunState,
        session: DeviceSession,
        point_group: PointGroup,
        policy: SchedulePolicy,
        images: ParticleImages | PrereadImages,
        command_line: str,
        seed: int,
    ) -> None:
        self._options = options
        self._session = session
        masks, solvent_mask = _masks(options, state, policy)
        fixed_tau2 = _fixed_tau2(options, state)
        if fixed_tau2 is not None:
            for model in state.models:
                model.tau2 = np.tile(fixed_tau2, (model.n_classes, 1))
        maximization = Maximization(options, point_group, masks, solvent_mask, fixed_tau2)
        limit = options.memory_limit_bytes
        if options.free_gpu_memory_mb > 0:
            free = session.memory_budget().bytes - int(options.free_gpu_memory_mb * 1e6)
            limit = min(limit, free) if limit is not None else max(1, free)
        self._iteration = Iteration(
            session,
            options,
            point_group,
            policy,
            images,
            maximization,
            session.memory_budget(limit),
            seed,
            fixed_tau2 is not None,
            reconstruct_images(options, state),
        )
        self._output = Output(
            options.output_root,
            options,
            point_group.name,
            seed,
            policy.particle_diameter_angst,
            command_line,
        )
        self._writer: BackgroundWriter[list[str]] = BackgroundWriter()
        self._pipeline = PipelineControl(options.pipeline_control)

    def check_abort(self) -> None:
        """Stop if RELION's pipeline asks for it."""
        self._pipeline.check_abort()

    def write_start(self, state: RunState) -> None:
        """Write the files of the iteration the run starts from."""
        self._output.write(state, self._iteration.grids(state))

    def last_maps(self) -> list[str]:
        """Wait until all files are written; give the maps of the last iteration."""
        return self._writer.wait() or []

    def close(self) -> None:
        """Finish writing, however the run ends."""
        self._writer.close()

    def print_plan(self, state: RunState) -> None:
        """Print the memory plan of all iterations to come."""
        for line in self._iteration.plan(state).lines():
            _log.info("%s", line)

    def iterate(self, state: RunState, progress: ProgressMaker) -> None:
        """Run one iteration, print its summary, and start writing its files."""
        profile = self._session.profile
        profile.reset()
        made = self._iteration.run(state, with_check(progress, self.check_abort))
        is_final = state.schedule.has_converged
        grids = self._iteration.grids(state)
        if self._options.skip_maximize:
            self._output.write_particles_only(state)
            return
        now = state.snapshot()
        self._writer.submit(
            lambda: self._output.write(now, grids, is_final, made.unfiltered_half_maps)
        )
        self._print_iteration(
            state, grids.orientations.angular_step_deg(self._options.oversampling)
        )
        for line in profile.table().splitlines():
            _log.info("%s", line)

    def _print_iteration(self, state: RunState, fine_step: float) -> None:
        schedule, sampling = state.schedule, state.sampling
        _log.info(
            "%s: Resolution= %.3f Angstroms (no gain for %d iter), current size %d px",
            "Auto-refine" if self._options.auto_refine else f"Iteration {state.iteration}",
            _resolution(state),
            schedule.nr_iter_wo_resol_gain,
            state.current_size,
        )
        _log.info(
            "  Changes in angles= %.3f degrees; and in offsets= %.3f Angstroms (no gain for %d "
            "iter)",
            schedule.current_changes_orientations_deg,
            schedule.current_changes_offsets_angst,
            schedule.nr_iter_wo_changes,
        )
        _log.info(
            "  Angular step= %.3f degrees; local searches= %s; offset step %.2f, range %.2f "
            "Angstroms; average Pmax= %.4f",
            fine_step,
            "true" if sampling.has_orientation_priors else "false",
            sampling.fine_offset_step_angst(self._options.oversampling),
            sampling.offset_range_angst,
            schedule.ave_pmax,
        )
        if state.n_classes > 1:
            sizes = ", ".join(f"{100 * p:.1f}" for p in state.models[0].pdf_class)
            _log.info("  Class sizes (%%): %s", sizes)
        if state.skipped:
            _log.warning("  %d particles were left out of this iteration", len(state.skipped))

    def reached_resolution(self, state: RunState) -> bool:
        """``--abort_at_resolution`` is reached."""
        goal = self._options.abort_at_resolution_angst
        return goal is not None and _resolution(state) < goal

    def report_end(self, state: RunState, summary: RunSummary) -> None:
        """Say how the run ended and where the maps are."""
        options = self._options
        if options.auto_refine and not summary.has_converged and not options.skip_maximize:
            _log.warning(
                "Auto-refine: stopped after %d iterations without convergence; there is no joined "
                "map. Continue with --continue %s",
                summary.iterations,
                optimiser_file(options.output_root, summary.iterations),
            )
        if summary.has_converged:
            _log.info(
                "Auto-refine: Refinement has converged, final resolution (without masking) "
                "is: %.3f Angstroms",
                summary.resolution_angst,
            )
        if summary.maps:
            _log.info("Final resolution: %.2f A", summary.resolution_angst)
        for path in summary.maps:
            _log.info("%s: %s", "Half map" if path.endswith("_unfil.mrc") else "Map", path)
        self._pipeline.write_output_nodes(_output_nodes(options, summary))


def _output_nodes(options: RefineOptions, summary: RunSummary) -> list[tuple[str, str]]:
    """Files and labels for RELION's pipeline (conventions 7)."""
    kind = "refine3d" if options.auto_refine else "class3d"
    nodes = [
        (path, f"DensityMap.mrc.relion.{'halfmap.' if path.endswith('_unfil.mrc') else ''}{kind}")
        for path in summary.maps
    ]
    root = options.output_root
    number = None if summary.has_converged or options.skip_maximize else summary.iterations
    nodes.append((data_file(root, number), f"ParticleGroupMetadata.star.relion.{kind}"))
    if not options.skip_maximize:
        nodes.append((optimiser_file(root, number), f"OptimiserData.star.relion.{kind}"))
    return nodes


def _masks(
    options: RefineOptions, state: RunState, policy: SchedulePolicy
) -> tuple[SolventMasks | None, NDArray[np.float64] | None]:
    """Masks for the maps (specification E 3.6, M 4.4)."""

    def user_mask(path: str) -> NDArray[np.float64]:
        found = read_map(path)
        return prepare_solvent_mask(
            found.data, found.pixel_size_angst, state.ori_size, state.pixel_size_angst, path
        )

    solvent = None if options.solvent_mask is None else user_mask(options.solvent_mask)
    if not options.flatten_solvent:
        return None, solvent
    second = None if options.solvent_mask2 is None else user_mask(options.solvent_mask2)
    sphere = spherical_solvent_mask(
        state.ori_size,
        state.pixel_size_angst,
        policy.particle_diameter_angst,
        options.width_mask_edge_px,
    )
    return SolventMasks(sphere if solvent is None else solvent, second), solvent


def _fixed_tau2(options: RefineOptions, state: RunState) -> NDArray[np.float64] | None:
    """``--tau``: spectrum of a STAR file, column rlnReferenceTau2."""
    if options.tau2_file is None:
        return None
    path = options.tau2_file
    block = next((b for b in read_star(path).values() if "rlnReferenceTau2" in b), None)
    if block is None:
        raise StarError(f"--tau {path}: no column rlnReferenceTau2")
    values = np.array(block.floats("rlnReferenceTau2"), dtype=np.float64)
    if len(values) != state.ori_size // 2 + 1:
        raise StarError(
            f"--tau {path}: {len(values)} shells, the model has {state.ori_size // 2 + 1}"
        )
    return values
