"""How a job begins and ends: output folder, exit code, RELION's marker files and output nodes."""

import logging
import os
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path

from clrelion.cli.console import complain
from clrelion.errors import AbortRequested, ClrelionError, OptionsError, PeerFailed
from clrelion.io.pipeline import PipelineControl
from clrelion.parallel.communicator import Communicator

logger = logging.getLogger(__name__)

SUCCESS, FAILURE, ABORTED = 0, 1, 2


def run_job(
    program: str,
    output_root: str,
    pipeline_control: str | None,
    work: Callable[[], Iterable[tuple[str, str]]],
    when_interrupted: str = "interrupted",
    comm: Communicator | None = None,
    on_failure: Callable[[str], None] = lambda _: None,
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
    comm
        Ranks that do it together; None: this process alone.
    on_failure
        Called with the cause before all ranks are ended because this one fails.

    Returns
    -------
    int
        0 success; 1 failure, with one line on standard error; 2 aborted.
    """
    comm = comm or Communicator()
    code, cause = _outcome(program, output_root, pipeline_control, work, when_interrupted, comm)
    if code != SUCCESS and not comm.has_agreed_to_fail:
        on_failure(cause)
        comm.abort(code)  # several ranks do not return from here
    return code


def _outcome(
    program: str,
    output_root: str,
    pipeline_control: str | None,
    work: Callable[[], Iterable[tuple[str, str]]],
    when_interrupted: str,
    comm: Communicator,
) -> tuple[int, str]:
    """Do the job; give exit code and cause of failure."""
    where = "" if comm.size == 1 else f"{comm.where(comm.rank)}: "
    markers = PipelineControl(pipeline_control)
    try:
        comm.from_first(markers.start)
    except OSError as error:
        cause = f"--pipeline_control {pipeline_control}: {error}"
        complain(program, cause)
        return FAILURE, cause
    except PeerFailed as error:
        return FAILURE, str(error)
    try:
        comm.from_first(lambda: _prepare_output_folder(output_root))
        nodes = work()
        if comm.is_first:
            markers.write_output_nodes(nodes)
            markers.mark_success()
    except PeerFailed as error:
        return FAILURE, str(error)
    except (AbortRequested, KeyboardInterrupt) as request:
        is_asked = isinstance(request, AbortRequested)
        cause = f"aborted: {request}" if is_asked else when_interrupted
        complain(program, f"{where}{cause}")
        markers.mark_aborted()
        return ABORTED, cause
    except ClrelionError as error:
        cause = str(error)
        complain(program, f"{where}{cause}")
        logger.debug("raised here:", exc_info=True)
        markers.mark_failure()
        return FAILURE, cause
    except Exception as error:
        place = _save_traceback(output_root, comm)
        cause = f"unexpected {type(error).__name__}: {error}"
        complain(program, f"{where}{cause}; traceback in {place}")
        markers.mark_failure()
        return FAILURE, cause
    return SUCCESS, ""


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


def _save_traceback(output_root: str, comm: Communicator) -> str:
    """Write the traceback beside the output; to standard error where that fails."""
    rank = "" if comm.size == 1 else f"_rank{comm.rank}"
    path = Path(f"{output_root or 'clrelion'}_traceback{rank}.log")
    try:
        path.write_text(traceback.format_exc(), encoding="utf-8")
    except OSError:
        traceback.print_exc()
        return "the lines above"
    return str(path)
