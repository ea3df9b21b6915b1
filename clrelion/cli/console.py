"""Where log lines go: plain on standard output, warnings on standard error.

RELION's users and their scripts read ``run.out`` and ``run.err``, so lines carry no time stamp and
no logger name.
"""

import logging
import os
import sys
from typing import TextIO

from tqdm import tqdm

_LEVELS = {0: logging.WARNING, 1: logging.INFO, 2: logging.DEBUG}


class _LineHandler(logging.Handler):
    """Write log lines around a progress bar that may be on the terminal."""

    def emit(self, record: logging.LogRecord) -> None:
        is_warning = record.levelno >= logging.WARNING
        stream = sys.stderr if is_warning else sys.stdout
        try:
            text = self.format(record)
            tqdm.write(f"WARNING: {text}" if is_warning else text, file=stream)
            stream.flush()
        except BrokenPipeError:
            _discard(stream)
        except Exception:  # a log line must not end a run (full disk)
            self.handleError(record)


def _discard(stream: TextIO) -> None:
    """Go on without a stream whose reader has gone (``clrelion_refine ... | head``)."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def setup_logging(verbosity: int, rank: int = 0) -> None:
    """Send the package's log lines to the console; of other ranks than 0, warnings only.

    Parameters
    ----------
    verbosity
        0: warnings, 1: progress and results, 2: everything (``--verb``).
    rank
        Of this process.
    """
    logger = logging.getLogger("clrelion")
    logger.setLevel(_LEVELS[verbosity] if rank == 0 else logging.WARNING)
    handler = _LineHandler()
    if rank > 0:
        handler.setFormatter(logging.Formatter(f"rank {rank}: %(message)s"))
    logger.handlers = [handler]
    logger.propagate = False
    logging.captureWarnings(True)
    warnings_logger = logging.getLogger("py.warnings")
    warnings_logger.setLevel(logging.WARNING if verbosity == 2 else logging.ERROR)


def complain(program: str, message: str) -> None:
    """Print one line about a failure on standard error."""
    print(f"{program}: {' '.join(message.split())}", file=sys.stderr, flush=True)
