"""How a job begins and ends: output folder, exit code, RELION's marker files and output nodes."""

import logging
import os
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path

from clrelion.cli.console import complain
from clrelion.errors import AbortRequested, ClrelionError, OptionsError
from clrelion.io.pipeline import PipelineControl

logger = logging.getLogger(__name__)

SUCCESS, FAILURE, ABORTED = 0, 1, 2


def run_job(
    program: str,
    output_root: str,
    pipeline_control: str | None,
    work: Callable[[], Iterable[tuple[str, str]]],
    when_interrupted: str = "interrupted",
) -> int:
    """Run a job, and turn every way it can end into an exit code and a marker file.

    Parameters
    ----------
    program
        Name for messages.
    output_root
        Root of the output files; its folder is made. Empty: nothing is written.
    pipeline_control
        Folder (prefix) of the marker files; None: there are none.
    work
        Does it; gives the output nodes (file, label) that are to be written here.
    when_interrupted
        What to say after Ctrl-C.

    Returns
    -------
    int
        0 success; 1 failure, with one line on standard error; 2 aborted.
    """
    markers = PipelineControl(pipeline_control)
    try:
        markers.start()
    except OSError as error:
        complain(program, f"--pipeline_control {pipeline_control}: {error}")
        return FAILURE
    try:
        _prepare_output_folder(output_root)
        markers.write_output_nodes(work())
    except AbortRequested as request:
        complain(program, f"aborted: {request}")
        markers.mark_aborted()
        return ABORTED
    except KeyboardInterrupt:
        complain(program, when_interrupted)
        markers.mark_aborted()
        return ABORTED
    except ClrelionError as error:
        complain(program, str(error))
        logger.debug("raised here:", exc_info=True)
        markers.mark_failure()
        return FAILURE
    except Exception as error:
        place = _save_traceback(output_root)
        complain(program, f"unexpected {type(error).__name__}: {error}; traceback in {place}")
        markers.mark_failure()
        return FAILURE
    markers.mark_success()
    return SUCCESS


def _prepare_output_folder(output_root: str) -> None:
    """Make the folder of ``--o`` and see that files can be written there.

    Raises
    ------
    OptionsError
        The folder cannot be made, or nothing can be written into it.
    """
    if not output_root:
        return
    folder = Path(output_root).parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OptionsError(f"--o {output_root}: cannot make {folder}: {error}") from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OptionsError(f"--o {output_root}: folder {folder} is not writable")


def _save_traceback(output_root: str) -> str:
    """Write the traceback beside the output; to standard error where that fails."""
    path = Path(f"{output_root or 'clrelion'}_traceback.log")
    try:
        path.write_text(traceback.format_exc(), encoding="utf-8")
    except OSError:
        traceback.print_exc()
        return "the lines above"
    return str(path)
