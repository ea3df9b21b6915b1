"""Where the time goes: one row a step of the paper, and one a kernel on request."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

import pyopencl as cl

STEPS = ("getImg", "getDiff", "convert", "store", "maximization", "others")
"""Rows of the table, in the order of the data (the paper's names)."""

_MAX_PENDING_EVENTS = 4096
_COMPLETE = cl.command_execution_status.COMPLETE


@dataclass
class TimeRow:
    """Sum of one row.

    Attributes
    ----------
    seconds : float
        Time spent in the row itself, without rows nested in it.
    count : int
        How often it was entered.
    """

    seconds: float = 0.0
    count: int = 0


@dataclass
class _Stretch:
    """Launches of one row with no other row's between them."""

    row: str
    first: cl.Event
    last: cl.Event


class _Timer:
    """One ``with`` block of a profile."""

    __slots__ = ("_profile", "_row", "_start")

    def __init__(self, profile: Profile, row: str) -> None:
        self._profile = profile
        self._row = row

    def __enter__(self) -> None:
        self._profile._begin(self._row)
        self._start = time.perf_counter()

    def __exit__(self, *_error: object) -> None:
        self._profile._end(self._row, self._start)


class Profile:
    """Times of a session, summed by row.

    Parameters
    ----------
    finish : callable
        Waits for the device.
    kernel_events : bool
        Also sum the device's own time per kernel (needs a profiling queue).
    works_ahead : bool
        No border of a timer is waited for; rows are told apart by the device's own clock (needs a
        profiling queue), and what it does not account for is the host's own time in the outermost
        timers.  False: all borders are waited for, so that a row holds its own kernels and nobody
        else's.

    Attributes
    ----------
    rows : dict
        By name; asking for them waits for what the device has been given.
    on_step : callable
        Called with the name of a row at the beginning of each of its timers.
    """

    def __init__(
        self,
        finish: Callable[[], None],
        kernel_events: bool = False,
        works_ahead: bool = False,
    ) -> None:
        self._rows: dict[str, TimeRow] = {}
        self.kernels: dict[str, TimeRow] = {}
        self.kernel_events = kernel_events
        self.works_ahead = works_ahead
        self._finish = finish
        self._pending: list[tuple[str, cl.Event]] = []
        self._open: list[str] = []
        self._nested: list[float] = []
        self._stretches: deque[_Stretch] = deque()
        self._last_end: int | None = None
        # outermost timers that have ended, with what the device may still account for
        self._unclaimed: deque[tuple[str, float]] = deque()
        self._of_device = 0.0
        self._start = time.perf_counter()
        self.on_step: Callable[[str], None] = lambda _: None

    def timer(self, row: str) -> AbstractContextManager[None]:
        """Add the time of the ``with`` block to ``row``; a nested timer's time counts once."""
        return _Timer(self, row)

    @property
    def rows(self) -> dict[str, TimeRow]:
        """Rows by name."""
        self._settle()
        if self._stretches:
            self._finish()
            self._settle()
        return self._rows

    def _begin(self, row: str) -> None:
        self.on_step(row)
        if not self.works_ahead:
            self._finish()
        elif not self._open:
            self._settle()
        self._open.append(row)
        self._nested.append(0.0)

    def _end(self, row: str, start: float) -> None:
        if not self.works_ahead:
            self._finish()
        elapsed = time.perf_counter() - start
        self._open.pop()
        nested = self._nested.pop()
        entry = self._row(row)
        entry.count += 1
        if not self.works_ahead:
            entry.seconds += elapsed - nested
            if self._nested:
                self._nested[-1] += elapsed
        elif not self._open:
            self._unclaimed.append((row, elapsed))
            self._settle()

    def _row(self, row: str) -> TimeRow:
        return self._rows.setdefault(row, TimeRow())

    def launched(self, name: str, event: cl.Event) -> None:
        """Take note of a launch."""
        if self.works_ahead and self._open:
            row = self._open[-1]
            if self._stretches and self._stretches[-1].row == row:
                self._stretches[-1].last = event
            else:
                self._stretches.append(_Stretch(row, event, event))
                if len(self._stretches) > _MAX_PENDING_EVENTS:
                    self._assign_stretches()
        if self.kernel_events:
            self._pending.append((name, event))
            if len(self._pending) >= _MAX_PENDING_EVENTS:
                self._collect()

    def reset(self) -> None:
        """Start from zero, e.g. at the start of an iteration."""
        self._collect()
        self.rows.clear()  # which waits for the last ones
        self.kernels.clear()
        self._start = time.perf_counter()

    def seconds(self) -> dict[str, float]:
        """Seconds of each row, in the order of the table, without the time between rows."""
        rows = self.rows
        named = [step for step in STEPS if step in rows and step != "others"]
        named += [row for row in rows if row not in STEPS]
        return {row: rows[row].seconds for row in named}

    def table(self) -> str:
        """Text table: steps with seconds, share and count; then kernels, if they were timed."""
        total = time.perf_counter() - self._start
        seconds = self.seconds()
        others = max(0.0, total - sum(seconds.values()))
        lines = [f"{'step':<24}{'seconds':>10}{'share':>8}{'calls':>9}"]
        for row, spent in seconds.items():
            share = 100 * spent / total if total > 0 else 0.0
            lines.append(f"{row:<24}{spent:>10.3f}{share:>7.1f}%{self._rows[row].count:>9}")
        share = 100 * others / total if total > 0 else 0.0
        lines.append(f"{'others':<24}{others:>10.3f}{share:>7.1f}%")
        lines.append(f"{'total':<24}{total:>10.3f}")
        self._collect()
        if self.kernels:
            lines.append(f"{'kernel':<40}{'device s':>10}{'calls':>9}")
            for name, entry in sorted(self.kernels.items(), key=lambda item: -item[1].seconds):
                lines.append(f"{name:<40}{entry.seconds:>10.4f}{entry.count:>9}")
        return "\n".join(lines)

    def _settle(self) -> None:
        """Take the device's time off the timers in their order; the rest is their own."""
        self._assign_stretches()
        while self._unclaimed and self._of_device > 0.0:
            row, seconds = self._unclaimed.popleft()
            taken = min(seconds, self._of_device)
            self._of_device -= taken
            if taken < seconds:
                self._unclaimed.appendleft((row, seconds - taken))
        if self._stretches:
            return
        while self._unclaimed:
            row, seconds = self._unclaimed.popleft()
            self._row(row).seconds += seconds
        if not self._open:
            self._of_device = 0.0
            self._last_end = None

    def _assign_stretches(self) -> None:
        """Give the device's time to the rows, up to where it has got.

        A stretch lasts from the end of the one before to its own end: waits before it are its own.
        """
        while self._stretches:
            stretch = self._stretches[0]
            if stretch.last.command_execution_status != _COMPLETE:
                break
            self._stretches.popleft()
            end = stretch.last.profile.end
            begin = stretch.first.profile.start if self._last_end is None else self._last_end
            self._last_end = end
            seconds = 1e-9 * (end - begin)
            self._row(stretch.row).seconds += seconds
            self._of_device += seconds

    def _collect(self) -> None:
        if not self._pending:
            return
        self._finish()
        for name, event in self._pending:
            entry = self.kernels.setdefault(name, TimeRow())
            entry.seconds += 1e-9 * (event.profile.end - event.profile.start)
            entry.count += 1
        self._pending.clear()
