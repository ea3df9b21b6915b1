"""What a run needs before its first iteration: options, devices, particles, references, masks."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clrelion.device.pinned import pinned
from clrelion.device.session import DeviceSession
from clrelion.errors import ContinueError, StarError
from clrelion.expectation.resident_images import ResidentImages
from clrelion.expectation.results import RESULT_TYPES
from clrelion.fourier.masks import prepare_solvent_mask
from clrelion.io.mrc import read_map
from clrelion.io.mtf import read_mtfs
from clrelion.io.particle_table import read_particles
from clrelion.io.star import read_star
from clrelion.maximization.plane_blocks import largest_block_bytes
from clrelion.maximization.solvent import SolventMasks, spherical_solvent_mask
from clrelion.options import RefineOptions
from clrelion.orientations.symmetry import PointGroup
from clrelion.parallel.common_columns import CommonColumns
from clrelion.parallel.communicator import Communicator
from clrelion.parallel.exchange import BlockExchange
from clrelion.parallel.sharing import WorkSharing
from clrelion.refinement.devices import (
    guessed_speed,
    memory_budget,
    open_session,
    set_host_threads,
)
from clrelion.refinement.expectation_setup import schedule_policy
from clrelion.refinement.image_sources import images_of_rank, particle_images, reconstruct_images
from clrelion.refinement.initialise import default_particle_diameter_angst
from clrelion.refinement.iteration import Iteration
from clrelion.refinement.maximization_step import Maximization
from clrelion.refinement.preparation import Preparation
from clrelion.refinement.processing_order import order_of_run
from clrelion.refinement.progress import ProgressMaker, no_progress
from clrelion.refinement.restart import read_stored_run, restart_run, stored_options
from clrelion.refinement.run_planner import RunPlanner
from clrelion.refinement.schedule_state import SchedulePolicy
from clrelion.refinement.shared_expectation import SharedExpectation
from clrelion.refinement.start import read_references, start_run
from clrelion.refinement.state import RunState

__all__ = ["PreparedRun", "make_iteration", "prepare_run"]

_log = logging.getLogger(__name__)

_SEED_LIMIT = 2**31 - 1


@dataclass
class PreparedRun:
    """A run that can begin.

    Attributes
    ----------
    options
        Of the command line, with those of the stored run if it is continued, and with a seed.
    state
        Before the next iteration; alike on all ranks.
    session
        This rank's device.
    speeds
        Guessed relative speed of each rank's device.
    point_group, policy
        Of the run.
    """

    options: RefineOptions
    state: RunState
    session: DeviceSession
    speeds: list[float]
    point_group: PointGroup
    policy: SchedulePolicy

    @property
    def seed(self) -> int:
        """Seed of the run."""
        assert self.options.random_seed is not None
        return self.options.random_seed


def prepare_run(
    options: RefineOptions,
    session: DeviceSession | None,
    comm: Communicator,
    progress: ProgressMaker = no_progress,
) -> PreparedRun:
    """Read and check everything before the first line of output is written.

    Rank 0 reads; the others get what it has read.

    Raises
    ------
    ClrelionError
        One line that says what is wrong and what to do.
    """
    set_host_threads(options.n_threads, comm)
    if session is None:
        session = open_session(options, comm)
    session.profile.on_step = comm.activity.tick
    speeds = comm.allgather(guessed_speed(session, comm))
    options, state = comm.from_first(lambda: _read(options, progress))
    point_group = PointGroup.from_name(options.symmetry)
    policy = _policy(options, state.ori_size, state.pixel_size_angst)
    return PreparedRun(options, state, session, speeds, point_group, policy)


def _read(options: RefineOptions, progress: ProgressMaker) -> tuple[RefineOptions, RunState]:
    """Read particles and references, or the run that is continued."""
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
        if options.deterministic:
            _log.warning(
                "--deterministic without --random_seed: to repeat this run, give it the seed of "
                "the clock that it takes now, --random_seed %d",
                seed,
            )
    update: dict[str, object] = {"random_seed": seed}
    if options.skip_align or options.skip_rotate:
        update["oversampling"] = 0  # as RELION: one pass, in which all samples count
    options = options.model_copy(update=update)
    point_group = PointGroup.from_name(options.symmetry)
    if stored is not None:
        state = restart_run(options, stored, point_group, given)
        particle_images(state.table, state.image_folder).verify()
    else:
        table = read_particles(options.particles_star, options.pixel_size_angst, options.ctf)
        references = read_references(options, table)
        images = particle_images(table)
        images.verify()
        policy = _policy(options, references[0][0][0].shape[0], references[1])
        state = start_run(options, table, images, point_group, policy, references, seed, progress)
    others = reconstruct_images(options, state)
    if others is not None:
        others.verify()
    read_mtfs(state.table.optics, state.table.star_path, state.image_folder)
    if options.do_scale_correction and len(state.table.group_names) == 1:
        _log.info("--scale: there is only one group, so intensity scales are not corrected")
    if state.iteration >= options.max_iterations:
        flag = "--auto_iter_max" if options.auto_refine else "--iter"
        raise ContinueError(
            f"--continue {options.continue_from}: this run has done its {state.iteration} "
            f"iterations; give a larger {flag}"
        )
    return options, state


def make_iteration(prepared: PreparedRun, comm: Communicator) -> Iteration:
    """Make what runs the iterations, on all ranks together.

    Raises
    ------
    ImageError, StarError
        A mask or a spectrum does not fit.
    """
    options, state, session = prepared.options, prepared.state, prepared.session
    masks, solvent_mask = _solvent_masks(options, state, prepared.policy)
    fixed_tau2 = _fixed_tau2(options, state)
    if fixed_tau2 is not None:
        for model in state.models:
            model.tau2 = np.tile(fixed_tau2, (model.n_classes, 1))
    sharing = WorkSharing(
        comm,
        order_of_run(state, prepared.seed).halves,
        state.table.optics_group,
        prepared.speeds,
        is_static=options.deterministic,
    )
    budget = memory_budget(options, session, comm)
    padding, r_max = options.padding, state.ori_size // 2
    block_bytes = largest_block_bytes(padding, r_max, session.real)
    exchange = BlockExchange(comm, block_bytes, lambda memory: pinned(session, memory))
    expectation = SharedExpectation(
        comm,
        session,
        budget,
        comm.on_all(lambda: images_of_rank(options, state, sharing.own, comm)),
        reconstruct_images(options, state),
        sharing,
        CommonColumns(comm, state.table.n, RESULT_TYPES),
        exchange,
        ResidentImages(session, state.table, sharing.own, budget.largest_allocation_bytes),
        is_ordered=options.deterministic,
    )
    group, policy, seed = prepared.point_group, prepared.policy, prepared.seed
    planner = RunPlanner(session, budget, options, group, policy)
    has_fixed_tau2 = fixed_tau2 is not None
    return Iteration(
        *(session, options, policy, seed, planner),
        Preparation(
            *(session, options, group, policy, expectation, planner, seed, has_fixed_tau2, comm)
        ),
        expectation,
        Maximization(options, group, masks, solvent_mask, fixed_tau2, comm, exchange, session),
        comm,
    )


def _policy(options: RefineOptions, ori_size: int, pixel_size: float) -> SchedulePolicy:
    diameter = options.particle_diameter_angst
    if diameter is None:
        edge = options.width_mask_edge_px
        diameter = default_particle_diameter_angst(ori_size, pixel_size, edge)
    return schedule_policy(options, diameter)


def _solvent_masks(
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
