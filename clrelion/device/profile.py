"""Where the time goes: one row a step of the paper, and one a kernel on request."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pyopencl as cl

STEPS = ("getImg", "getDiff", "convert", "store", "maximization", "others")
"""Rows of the table, in the order of the data (the paper's names)."""

_MAX_PENDING_EVENTS = 4096


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


class Profile:
    """Times of a session, summed by row.

    Parameters
    ----------
    finish : callable
        Waits for the device; called at the borders of each timer, so that a row holds its own
        kernels and nobody else's.
    kernel_events : bool
        Also sum the device's own time per kernel (needs a profiling queue).

    Attributes
    ----------
    on_step : callable
        Called with the name of a row at the beginning of each of its timers.
    """

    def __init__(self, finish: Callable[[], None], kernel_events: bool = False) -> None:
        self.rows: dict[str, TimeRow] = {}
        self.kernels: dict[str, TimeRow] = {}
        self.kernel_events = kernel_events
        self._finish = finish
        self._pending: list[tuple[str, cl.Event]] = []
        self._stack: list[list[float]] = []
        self._start = time.perf_counter()
        self.on_step: Callable[[str], None] = lambda _: None

    @contextmanager
    def timer(self, row: str) -> Iterator[None]:
        """Add the time of the ``with`` block to ``row``; a nested timer's time counts once.

        The device queue is finished at both ends.
        """
        self.on_step(row)
        self._finish()
        start = time.perf_counter()
        nested = [0.0]
        self._stack.append(nested)
        try:
            yield
        finally:
            self._finish()
            elapsed = time.perf_counter() - start
            self._stack.pop()
            if self._stack:
                self._stack[-1][0] += elapsed
            entry = self.rows.setdefault(row, TimeRow())
            entry.seconds += elapsed - nested[0]
            entry.count += 1

    def record_kernel(self, name: str, event: cl.Event) -> None:
        """Remember a launch, if kernels are timed."""
        if not self.kernel_events:
            return
        self._pending.append((name, event))
        if len(self._pending) >= _MAX_PENDING_EVENTS:
            self._collect()

    def reset(self) -> None:
        """Start from zero, e.g. at the start of an iteration."""
        self._collect()
        self.rows.clear()
        self.kernels.clear()
        self._start = time.perf_counter()

    def seconds(self) -> dict[str, float]:
        """Seconds of each row, in the order of the table, without the time between rows."""
        named = [step for step in STEPS if step in self.rows and step != "others"]
        named += [row for row in self.rows if row not in STEPS]
        return {row: self.rows[row].seconds for row in named}

    def table(self) -> str:
        """Text table: steps with seconds, share and count; then kernels, if they were timed."""
        total = time.perf_counter() - self._start
        seconds = self.seconds()
        others = max(0.0, total - sum(seconds.values()))
        lines = [f"{'step':<24}{'seconds':>10}{'share':>8}{'calls':>9}"]
        for row, spent in seconds.items():
            share = 100 * spent / total if total > 0 else 0.0
            lines.append(f"{row:<24}{spent:>10.3f}{share:>7.1f}%{self.rows[row].count:>9}")
        share = 100 * others / total if total > 0 else 0.0
        lines.append(f"{'others':<24}{others:>10.3f}{share:>7.1f}%")
        lines.append(f"{'total':<24}{total:>10.3f}")
        self._collect()
        if self.kernels:
            lines.append(f"{'kernel':<40}{'device s':>10}{'calls':>9}")
            for name, entry in sorted(self.kernels.items(), key=lambda item: -item[1].seconds):
                lines.append(f"{name:<40}{entry.seconds:>10.4f}{entry.count:>9}")
        return "\n".join(lines)

    def _collect(self) -> None:
        if not self._pending:
            return
        self._finish()
        for name, event in self._pending:
            entry = self.kernels.setdefault(name, TimeRow())
            entry.seconds += 1e-9 * (event.profile.end - event.profile.start)
            entry.count += 1
        self._pending.clear()
