"""The console script ``clrelion_refine``: options in, one refinement, exit code out."""

import logging
import os
import shlex
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from clrelion.cli.console import complain, setup_logging
from clrelion.cli.parser import parse_refine
from clrelion.cli.progress import Progress
from clrelion.errors import AbortRequested, ClrelionError, OptionsError
from clrelion.options import RefineOptions
from clrelion.orientations.symmetry import PointGroup

logger = logging.getLogger(__name__)

SUCCESS, FAILURE, ABORTED = 0, 1, 2


def main() -> int:
    """Run ``clrelion_refine`` with this process's arguments."""
    return refine(sys.argv[1:], program="clrelion_refine")


def refine(arguments: Sequence[str], program: str = "clrelion refine") -> int:
    """Run one classification or auto-refine.

    Parameters
    ----------
    arguments
        RELION's grammar, without the program's name.
    program
        Name for messages and for the head of the optimiser file.

    Returns
    -------
    int
        0 success; 1 failure, with one line on standard error; 2 aborted.
    """
    try:
        command = parse_refine(arguments, program)
    except OptionsError as error:
        complain(program, str(error))
        return FAILURE
    options = command.options
    setup_logging(options.verbosity)
    for notice in command.notices:
        logger.warning("%s", notice)
    if options.print_symmetry_ops:
        return _print_symmetry(options, program)
    if command.wants_gpu:
        _say_if_there_is_no_gpu()
    return _run(options, shlex.join([program, *arguments]), program)


def _say_if_there_is_no_gpu() -> None:
    from clrelion.device import choice

    try:
        has_gpu = any(device.kind == "gpu" for device in choice.list_devices())
    except ClrelionError:
        return  # without any device the run itself ends, and says why
    if not has_gpu:
        logger.warning("--mode 1: there is no GPU on this machine; the best other device is used")


def _run(options: RefineOptions, command_line: str, program: str) -> int:
    """Run, turn every way a run can end into an exit code, and leave the marker file."""
    # Imported here so that --help and mistakes do not wait for OpenCL.
    from clrelion.io.pipeline import PipelineControl

    markers = PipelineControl(options.pipeline_control)
    try:
        markers.start()
    except OSError as error:
        complain(program, f"--pipeline_control {options.pipeline_control}: {error}")
        return FAILURE
    try:
        _prepare_output_folder(options)
        from clrelion.refinement.run import run_refinement

        summary = run_refinement(options, command_line, progress=Progress)
    except AbortRequested as request:
        complain(program, f"aborted: {request}")
        markers.mark_aborted()
        return ABORTED
    except KeyboardInterrupt:
        complain(program, "interrupted; the iterations written so far can be continued")
        markers.mark_aborted()
        return ABORTED
    except ClrelionError as error:
        complain(program, str(error))
        logger.debug("raised here:", exc_info=True)
        markers.mark_failure()
        return FAILURE
    except Exception as error:
        place = _save_traceback(options)
        complain(program, f"unexpected {type(error).__name__}: {error}; traceback in {place}")
        markers.mark_failure()
        return FAILURE
    if not options.dry_run and not options.skip_maximize:
        _report(summary.output_root)
    markers.mark_success()
    return SUCCESS


def _prepare_output_folder(options: RefineOptions) -> None:
    """Make the folder of ``--o`` and see that files can be written there.

    Raises
    ------
    OptionsError
        The folder cannot be made, or nothing can be written into it.
    """
    if not options.output_root or options.dry_run:
        return
    folder = Path(options.output_root).parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OptionsError(f"--o {options.output_root}: cannot make {folder}: {error}") from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OptionsError(f"--o {options.output_root}: folder {folder} is not writable")


def _report(root: str) -> None:
    """Draw the results; a failing picture must not fail a good run."""
    from clrelion.report.summary import make_report

    try:
        logger.info("Report: %s", make_report(root))
    except Exception as error:
        logger.warning("no report was made: %s: %s", type(error).__name__, error)
        logger.debug("raised here:", exc_info=True)


def _save_traceback(options: RefineOptions) -> str:
    """Write the traceback beside the output; to standard error where that fails."""
    path = Path(f"{options.output_root or 'clrelion'}_traceback.log")
    try:
        path.write_text(traceback.format_exc(), encoding="utf-8")
    except OSError:
        traceback.print_exc()
        return "the lines above"
    return str(path)


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
