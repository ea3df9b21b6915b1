"""Progress of a long step: a live line on a terminal, plain lines in a file."""

import logging
import sys
import time
from types import TracebackType

from tqdm import tqdm

from clrelion.report.duration import duration

logger = logging.getLogger(__name__)

_LIVE_LINE = "{desc}  {bar:20} {percentage:3.0f} %  {rate_noinv_fmt}  {remaining} left"
_LEAST_PAUSE_S = 0.5
"""Between lines in a file, so that short steps do not fill it."""


class Progress:
    """Show how far a step is, how fast it goes and how long it will take.

    Parameters
    ----------
    total
        Units of work.
    label
        What is done, in RELION's words: ``Expectation iteration 3 of 25``.
    unit
        What is counted.
    """

    def __init__(self, total: int, label: str, unit: str = "particles") -> None:
        self._total = max(total, 1)
        self._label = label
        self._unit = unit
        self._done = 0
        self._tenths = 0
        self._start = self._last_line = time.monotonic()
        self._bar: tqdm | None = None
        if sys.stdout.isatty() and logger.isEnabledFor(logging.INFO):
            self._bar = tqdm(
                total=total, desc=label, unit=f" {unit}", file=sys.stdout, leave=False,
                dynamic_ncols=True, bar_format=_LIVE_LINE,
            )  # fmt: skip
        else:
            logger.info("%s", label)

    def update(self, n: int) -> None:
        """Count ``n`` more units as done."""
        self._done += n
        if self._bar is not None:
            self._bar.update(n)
            return
        tenths = min(10 * self._done // self._total, 10)
        if tenths <= self._tenths:
            return
        now = time.monotonic()
        if tenths == 10 or now - self._last_line >= _LEAST_PAUSE_S:
            self._tenths, self._last_line = tenths, now
            logger.info("  %3d %% after %s", 10 * tenths, self._speed(now - self._start))

    def close(self) -> None:
        """Take the live line away; its place gets one line with time and rate."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None
            logger.info("%s: %s", self._label, self._speed(time.monotonic() - self._start))

    def _speed(self, seconds: float) -> str:
        """Time, rate and time left: ``2.2 s, 42 particles/s, 3.3 s left``."""
        text = duration(seconds)
        if seconds <= 0 or self._done == 0:
            return text
        rate = self._done / seconds
        text += f", {rate:,.0f} {self._unit}/s" if rate >= 10 else f", {rate:.2g} {self._unit}/s"
        left = self._total - self._done
        return f"{text}, {duration(left / rate)} left" if left > 0 else text

    def __enter__(self) -> "Progress":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
