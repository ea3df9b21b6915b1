"""One whole run: from options to the last map (specification M 4.1, E 6)."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass

from clrelion.device.memory import format_bytes
from clrelion.device.memory_info import peak_resident_bytes
from clrelion.device.session import DeviceSession
from clrelion.io.journal import FINAL_ITERATION, DeviceEntry, journal_file, write_journal
from clrelion.io.pipeline import PipelineControl
from clrelion.io.run_files import data_file, optimiser_file
from clrelion.options import RefineOptions
from clrelion.parallel.communicator import Communicator
from clrelion.refinement.background import BackgroundWriter
from clrelion.refinement.diary import Diary
from clrelion.refinement.host_threads import undisturbed
from clrelion.refinement.iteration_lines import iteration_lines, rank_lines, resolution_angst
from clrelion.refinement.output import Output, Written
from clrelion.refinement.progress import ProgressMaker, no_progress, with_check
from clrelion.refinement.restart import stored_state, take_stored_values
from clrelion.refinement.set_up import PreparedRun, make_iteration, prepare_run
from clrelion.refinement.state import RunState

__all__ = ["RunSummary", "run_refinement"]

_log = logging.getLogger(__name__)

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
    comm: Communicator | None = None,
    diary: Diary | None = None,
    on_written: Callable[[Written], None] | None = None,
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
    comm
        Ranks that share the work, each of which calls this; None: this process alone.
    diary
        Keeps the journal; it may have begun before the run, e.g. to hear its warnings.
    on_written
        Called on the first rank with each iteration once its files are complete, beside the next
        iteration.

    Raises
    ------
    ClrelionError
        One line that says what is wrong and what to do.
    AbortRequested
        The pipeline asked the job to stop.
    """
    started = time.monotonic()
    comm, diary = comm or Communicator(), diary or Diary()
    prepared = prepare_run(options, session, comm, progress)
    try:
        return _run(prepared, command_line, progress, comm, diary, on_written, started)
    finally:
        if session is None:
            # a process may go on to something else
            prepared.session.close()


def _run(
    prepared: PreparedRun,
    command_line: str,
    progress: ProgressMaker,
    comm: Communicator,
    diary: Diary,
    on_written: Callable[[Written], None] | None,
    started: float,
) -> RunSummary:
    """Run what has been set up to its end."""
    options, state = prepared.options, prepared.state
    run = _Run(prepared, command_line, comm, diary, on_written)
    run.print_plan(state)
    if options.dry_run:
        resolution = resolution_angst(state)
        return RunSummary(options.output_root, state.iteration, False, resolution, [], 0.0)
    is_final = False
    with undisturbed(), closing(run):
        run.write_start(state)
        while state.iteration < options.max_iterations and not is_final:
            run.check_abort()
            run.iterate(state, progress)
            is_final = state.schedule.has_converged
            if options.skip_maximize or run.reached_resolution(state):
                break
        maps = run.last_maps()
    seconds = time.monotonic() - started
    summary = RunSummary(
        options.output_root, state.iteration, is_final, resolution_angst(state), maps, seconds
    )
    run.part()
    if comm.is_first:
        run.report_end(state, summary)
    return summary


class _Run:
    """A run that has been set up."""

    def __init__(
        self,
        prepared: PreparedRun,
        command_line: str,
        comm: Communicator,
        diary: Diary,
        on_written: Callable[[Written], None] | None,
    ) -> None:
        options, session = prepared.options, prepared.session
        self._options = options
        self._session = session
        self._point_group = prepared.point_group
        self._comm = comm
        self._diary = diary
        self._has_iterated = False
        self._waited = 0.0
        self._iteration = make_iteration(prepared, comm)
        own = DeviceEntry(session.info.label, session.info.driver, self._iteration.budget.bytes)
        for device in comm.allgather(own):
            diary.add_device(device)
        if prepared.state.iteration > 0:
            diary.go_on_from(journal_file(options.output_root), prepared.state.iteration)
        self._output = Output(
            options.output_root,
            options,
            prepared.point_group.name,
            prepared.seed,
            prepared.policy.particle_diameter_angst,
            command_line,
            on_written,
        )
        self._writer: BackgroundWriter[Written] = BackgroundWriter()
        self._pipeline = PipelineControl(options.pipeline_control if comm.is_first else None)

    def check_abort(self) -> None:
        """Stop if RELION's pipeline asks for it."""
        self._pipeline.check_abort()

    def write_start(self, state: RunState) -> None:
        """Write the files of the iteration the run starts from."""
        if not self._comm.is_first:
            return
        now, grids, journal = state.snapshot(), self._iteration.grids(state), self._diary.snapshot()
        self._writer.submit(lambda: self._output.write(now, grids, journal))

    def last_maps(self) -> list[str]:
        """Wait until all files are written; give the maps of the last iteration."""
        written = self._writer.wait()
        return [] if written is None else written.class_maps + written.half_maps

    def close(self) -> None:
        """Finish writing, however the run ends."""
        self._writer.close()
        self._output.close()

    def part(self) -> None:
        """Give up what the ranks have in common, on all of them together."""
        self._iteration.close()

    def print_plan(self, state: RunState) -> None:
        """Print the memory plan of all iterations to come."""
        if not self._comm.is_first:
            return
        for line in self._iteration.plan(state).lines():
            _log.info("%s", line)

    def iterate(self, state: RunState, progress: ProgressMaker) -> None:
        """Run one iteration, print its summary, and start writing its files."""
        started = time.monotonic()
        self._diary.begin_iteration(state.iteration + 1)
        profile = self._session.profile
        profile.reset()
        if self._options.deterministic and self._has_iterated:
            self._go_on_as_continued(state)
        self._has_iterated = True
        made = self._iteration.run(state, with_check(progress, self._pipeline.check_abort))
        is_final = state.schedule.has_converged
        of_ranks = self._comm.allgather(self._seconds(started))
        if not self._comm.is_first:
            return
        grids = self._iteration.grids(state)
        if self._options.skip_maximize:
            self._output.write_particles_only(state)
            return
        now = state.snapshot()
        self._diary.end_iteration(
            FINAL_ITERATION if is_final else state.iteration,
            time.monotonic() - started,
            state.table.n - len(state.skipped),
            self._session.peak_bytes,
            profile.seconds(),
        )
        journal = self._diary.snapshot()
        self._writer.submit(
            lambda: self._output.write(now, grids, journal, is_final, made.unfiltered_half_maps)
        )
        lines = [*iteration_lines(state, self._options), *profile.table().splitlines()]
        if len(of_ranks) > 1:
            lines += rank_lines(of_ranks)
        # in one go: the devices wait for the next iteration
        _log.info("%s", "\n".join(lines))
        if state.skipped:
            _log.warning("%d particles were left out of this iteration", len(state.skipped))

    def _seconds(self, started: float) -> dict[str, float]:
        """Seconds of each step on this rank; how long it waited for others is in these."""
        activity = self._comm.activity
        waited, self._waited = activity.waited_seconds - self._waited, activity.waited_seconds
        steps = self._session.profile.seconds()
        return {**steps, "iteration": time.monotonic() - started, "of it waiting": waited}

    def _go_on_as_continued(self, state: RunState) -> None:
        """Give the state what its files hold: a run that is continued has nothing else."""

        def stored() -> RunState:
            self._writer.wait()
            return stored_state(self._options, state.iteration, self._point_group)

        take_stored_values(state, self._comm.from_first(stored))

    def reached_resolution(self, state: RunState) -> bool:
        """``--abort_at_resolution`` is reached."""
        goal = self._options.abort_at_resolution_angst
        return goal is not None and resolution_angst(state) < goal

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
        _log.info(
            "Peak memory: %s on the device, %s resident on the host",
            format_bytes(self._session.peak_bytes),
            format_bytes(peak_resident_bytes()),
        )
        if self._comm.is_first and not options.skip_maximize:
            write_journal(journal_file(options.output_root), self._diary.snapshot())
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
