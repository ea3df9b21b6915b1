"""The console script ``clrelion_refine``: options in, one refinement, exit code out."""

import argparse
import logging
import shlex
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from clrelion.cli.console import complain, setup_logging
from clrelion.cli.jobs import FAILURE, SUCCESS, run_job
from clrelion.cli.parser import build_parser, parse_refine
from clrelion.cli.presets import CLASS3D, REFINE3D, Preset
from clrelion.cli.progress import Progress
from clrelion.errors import ClrelionError, OptionsError
from clrelion.io.pipeline import PipelineControl
from clrelion.options import RefineOptions
from clrelion.orientations.symmetry import PointGroup
from clrelion.parallel.launch import join_ranks, launched_rank
from clrelion.parallel.placement import share_cores
from clrelion.parallel.watch import Watch

if TYPE_CHECKING:
    from clrelion.refinement.diary import Diary

logger = logging.getLogger(__name__)

_SECONDS_TO_TELL = 5.0
"""Rank 0 may still be starting when another has read the options."""


def main() -> int:
    """Run ``clrelion_refine`` with this process's arguments."""
    return refine(sys.argv[1:], program="clrelion_refine")


def refine_parser() -> argparse.ArgumentParser:
    """Make the argument parser of ``clrelion refine``."""
    return build_parser("clrelion refine")


def refine3d_parser() -> argparse.ArgumentParser:
    """Make the argument parser of ``clrelion refine3d``."""
    return build_parser("clrelion refine3d", REFINE3D)


def class3d_parser() -> argparse.ArgumentParser:
    """Make the argument parser of ``clrelion class3d``."""
    return build_parser("clrelion class3d", CLASS3D)


def refine3d_main() -> int:
    """Run ``clrelion_refine3d`` with this process's arguments."""
    return refine3d(sys.argv[1:], program="clrelion_refine3d")


def class3d_main() -> int:
    """Run ``clrelion_class3d`` with this process's arguments."""
    return class3d(sys.argv[1:], program="clrelion_class3d")


def refine3d(arguments: Sequence[str], program: str = "clrelion refine3d") -> int:
    """Run one auto-refine with recommended defaults; see `refine`."""
    return refine(arguments, program, REFINE3D)


def class3d(arguments: Sequence[str], program: str = "clrelion class3d") -> int:
    """Run one classification with recommended defaults; see `refine`."""
    return refine(arguments, program, CLASS3D)


def refine(
    arguments: Sequence[str], program: str = "clrelion refine", preset: Preset | None = None
) -> int:
    """Run one classification or auto-refine.

    Parameters
    ----------
    arguments
        RELION's grammar, without the program's name.
    program
        Name for messages and for the head of the optimiser file.
    preset
        Defaults of a kind of job.

    Returns
    -------
    int
        0 success; 1 failure, with one line on standard error; 2 aborted.
    """
    rank = launched_rank()
    try:
        command = parse_refine(arguments, program, preset)
    except OptionsError as error:
        return _told_by_the_first(program, error)
    options = command.options
    setup_logging(options.verbosity, rank)
    if options.print_symmetry_ops:
        return _print_symmetry(options, program)
    # Imported here and below so that --help and mistakes do not wait for it.
    from clrelion.refinement.diary import Diary

    diary = Diary()
    with diary.listening():
        for notice in command.notices if rank == 0 else ():
            logger.warning("%s", notice)
        if command.wants_gpu and rank == 0:
            _say_if_there_is_no_gpu()
        return _run(options, f"{program} {shlex.join(arguments)}", program, diary)


def _told_by_the_first(program: str, error: ClrelionError) -> int:
    """Fail as all ranks do, which have not met."""
    if launched_rank() == 0:
        complain(program, str(error))
    else:
        # launchers end all ranks once one has failed, even one that has not said why yet
        time.sleep(_SECONDS_TO_TELL)
    return FAILURE


def _say_if_there_is_no_gpu() -> None:
    from clrelion.device import choice

    try:
        has_gpu = any(device.kind == "gpu" for device in choice.list_devices())
    except ClrelionError:
        return  # without any device the run itself ends, and says why
    if not has_gpu:
        logger.warning("--mode 1: there is no GPU on this machine; the best other device is used")


def _run(options: RefineOptions, command_line: str, program: str, diary: "Diary") -> int:
    """Run as one of the ranks that were started."""
    try:
        comm = join_ranks()
    except ClrelionError as error:
        return _told_by_the_first(program, error)

    def work() -> list[tuple[str, str]]:
        share_cores(options.device, comm)
        from clrelion.refinement.run import run_refinement
        from clrelion.report.live import LiveReport

        report = LiveReport()
        is_shown = not options.dry_run and not options.skip_maximize
        try:
            run_refinement(
                options, command_line, Progress, comm=comm,
                diary=diary, on_written=report.add if is_shown else None,
            )  # fmt: skip
        except BaseException as error:
            diary.add_warning(f"The run ended: {error or type(error).__name__}")
            raise
        finally:
            page = report.finish(diary.snapshot().warnings)
        if page is not None:
            logger.info("Report: %s", page)
        return []  # the run has written its output nodes

    markers = PipelineControl(options.pipeline_control)
    watch = Watch(comm, options.stall_timeout_seconds, markers.mark_failure, program)
    code = run_job(
        program,
        "" if options.dry_run else options.output_root,
        options.pipeline_control,
        work,
        "interrupted; the iterations written so far can be continued",
        comm,
        watch.fail,
    )
    watch.close()
    return code


def _print_symmetry(options: RefineOptions, program: str) -> int:
    try:
        group = PointGroup.from_name(options.symmetry)
    except ClrelionError as error:
        complain(program, str(error))
        return FAILURE
    print(f"{group.name}: {len(group.operators)} operators")
    for number, operator in enumerate(group.operators, start=1):
        print(f"\n{number}")
        for row in operator:
            print("".join(f"{value:10.6f}" for value in row))
    return SUCCESS
