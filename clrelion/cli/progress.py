"""Progress of a long step: a bar on a terminal, one line for every tenth in a file."""

import logging
import sys
import time
from types import TracebackType

from tqdm import tqdm

logger = logging.getLogger(__name__)


class Progress:
    """Show how far a step is.

    Parameters
    ----------
    total
        Units of work (particles, say).
    label
        What is done, in RELION's words: ``Expectation iteration 3 of 25``.
    """

    def __init__(self, total: int, label: str) -> None:
        self._total = max(total, 1)
        self._label = label
        self._done = 0
        self._tenths = 0
        self._start = time.monotonic()
        self._bar: tqdm | None = None
        if sys.stdout.isatty() and logger.isEnabledFor(logging.INFO):
            self._bar = tqdm(total=total, desc=label, file=sys.stdout, ncols=80, leave=False)
        else:
            logger.info("%s", label)

    def update(self, n: int) -> None:
        """Count ``n`` more units as done."""
        self._done += n
        if self._bar is not None:
            self._bar.update(n)
            return
        tenths = min(10 * self._done // self._total, 10)
        if tenths > self._tenths:
            self._tenths = tenths
            logger.info("  %3d %% after %.1f s", 10 * tenths, time.monotonic() - self._start)

    def close(self) -> None:
        """Take the bar away; its place gets one line with the time."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None
            logger.info("%s: %.1f s", self._label, time.monotonic() - self._start)

    def __enter__(self) -> "Progress":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
