"""What an iteration leaves behind: changes, resolution, and the state after it."""

from __future__ import annotations

from dataclasses import replace

from clrelion.expectation.results import ParticleResults
from clrelion.options import RefineOptions
from clrelion.parallel.communicator import Communicator
from clrelion.refinement.maximization_step import MaximizationResult
from clrelion.refinement.schedule import (
    current_resolution,
    hidden_variable_changes,
    measure_changes,
    record_resolution,
    update_increment,
)
from clrelion.refinement.state import RunState

__all__ = ["conclude_iteration"]


def conclude_iteration(
    state: RunState,
    made: MaximizationResult,
    found: ParticleResults,
    current_size: int,
    iteration: int,
    options: RefineOptions,
    comm: Communicator,
) -> None:
    """Record changes and resolution; the state then is that after the iteration.

    Parameters
    ----------
    made, found
        Of the two steps.
    current_size
        S of the expectation step, px.
    """
    table = state.table
    # large arrays are not copied where all particles are done, as they mostly are
    done = slice(None) if found.is_done.all() else found.is_done
    changes = measure_changes(
        found.turned_deg[done],
        [found.origin_x_angst[done], found.origin_y_angst[done]],
        [table.origin_x_angst[done], table.origin_y_angst[done]],
        found.class_number[done],
        table.class_number[done],
    )
    found.write_to(table)
    state.models = made.models
    schedule = state.schedule
    if made.fsc_halves is not None:
        schedule = update_increment(schedule, made.fsc_halves, current_size)
    schedule = hidden_variable_changes(
        schedule,
        changes,
        state.sampling,
        options.oversampling,
        start_sampling_of_run=state.start_sampling if options.auto_refine else None,
    )
    schedule = replace(schedule, ave_pmax=made.models[0].ave_pmax)
    resolution = current_resolution(
        made.models[0].data_vs_prior,
        pixel_size_angst=state.pixel_size_angst,
        iteration=iteration,
        ini_high_angst=-1.0 if state.is_continued else options.ini_high_angst or -1.0,
        is_first_iteration_cc=options.firstiter_cc and not state.is_continued,
        is_gold_standard=options.auto_refine and made.fsc_halves is not None,
        do_map=not options.no_map,
        minres_map=options.minres_map,
    )
    state.schedule = record_resolution(schedule, resolution)
    state.references_ctf_corrected = True
    state.current_size = current_size
    state.iteration = iteration
    # decisions hang on these: they are the same to the last bit even on unlike machines
    state.schedule, state.sampling, state.perturbation = comm.bcast(
        (state.schedule, state.sampling, state.perturbation)
    )
