"""What an iteration leaves behind: changes, resolution, and the state after it."""

from __future__ import annotations

from dataclasses import astuple, replace

import numpy as np

from clrelion.errors import PeerFailed, RanksDisagreeError
from clrelion.expectation.results import ParticleResults
from clrelion.options import RefineOptions
from clrelion.parallel.communicator import Communicator
from clrelion.refinement.maximization_step import MaximizationResult
from clrelion.refinement.schedule import (
    HiddenVariableChanges,
    current_resolution,
    hidden_variable_changes,
    measure_changes,
    record_resolution,
    update_increment,
)
from clrelion.refinement.state import RunState

__all__ = ["conclude_iteration"]

_ROUNDING = 1e-9
"""Sums over particles may differ by so much between unlike machines."""


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

    Raises
    ------
    RanksDisagreeError, PeerFailed
        The ranks do not have the same results of the particles.
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
    mark = _mark(changes, found)
    of_ranks = comm.allgather((mark, state.schedule, state.sampling, state.perturbation))
    _check_agreement(state, [of_rank[0] for of_rank in of_ranks], comm)
    # decisions hang on these: they are the same to the last bit even on unlike machines
    _, state.schedule, state.sampling, state.perturbation = of_ranks[0]


def _mark(changes: HiddenVariableChanges, found: ParticleResults) -> tuple[float, ...]:
    """Numbers that hang on the new and old values of all particles, and on which has which."""
    n = len(found.rot_deg)
    return (*astuple(changes), float(np.dot(found.rot_deg, np.arange(n))) / n**2)


def _check_agreement(state: RunState, marks: list[tuple[float, ...]], comm: Communicator) -> None:
    """See that all ranks have the same results of the particles.

    Raises
    ------
    RanksDisagreeError
        They have not; on rank 0, as the others need not say it too.
    PeerFailed
        On these.
    """
    strange = [
        rank
        for rank, mark in enumerate(marks)
        if not np.allclose(mark, marks[0], rtol=_ROUNDING, atol=_ROUNDING, equal_nan=True)
    ]
    if not strange:
        return
    comm.has_agreed_to_fail = True
    names = ", ".join(map(comm.where, strange))
    message = (
        f"{state.table.star_path}: after iteration {state.iteration} other poses are known to "
        f"{names} than to {comm.where(0)}, which is a fault of clrelion, of the MPI library or of "
        f"a host's memory; continue from iteration {state.iteration - 1} with --continue"
    )
    if comm.is_first:
        raise RanksDisagreeError(message)
    raise PeerFailed(message)
