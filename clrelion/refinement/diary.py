"""Keeps the journal of a run: what ran where, how long it took, and what was warned of."""

from __future__ import annotations

import logging
import platform
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timezone
from importlib import metadata

from clrelion.constants import PROGRAM_NAME, VERSION
from clrelion.io.journal import DeviceEntry, IterationEntry, Journal, read_journal

__all__ = ["Diary"]

_SOFTWARE = ("numpy", "scipy", "pyopencl")


class Diary:
    """Collects what the journal of one run holds.

    Its warnings are those that the package logs while `listening`.
    """

    def __init__(self) -> None:
        versions = {PROGRAM_NAME: VERSION, "Python": platform.python_version()}
        versions |= {name: metadata.version(name) for name in _SOFTWARE}
        started = datetime.now(timezone.utc).isoformat(timespec="seconds")
        self._journal = Journal(started, versions)
        self._under_way = 0

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Write down the package's warnings during the ``with`` block."""
        handler = _Listener(self)
        logger = logging.getLogger(PROGRAM_NAME)
        logger.addHandler(handler)
        try:
            yield
        finally:
            logger.removeHandler(handler)

    def add_warning(self, text: str) -> None:
        """Add a warning about the iteration under way."""
        self._journal.warnings.append((self._under_way, text))

    def add_device(self, device: DeviceEntry) -> None:
        """Add a device that computes."""
        self._journal.devices.append(device)

    def go_on_from(self, path: str, iteration: int) -> None:
        """Take over what an interrupted run wrote up to the iteration that is continued."""
        earlier = read_journal(path)
        if earlier is None:
            return
        self._journal.iterations[:0] = [e for e in earlier.iterations if 0 < e.number <= iteration]
        self._journal.warnings[:0] = [w for w in earlier.warnings if w[0] <= iteration]

    def begin_iteration(self, number: int) -> None:
        """Warnings from now on belong to this iteration."""
        self._under_way = number

    def end_iteration(
        self,
        number: int,
        seconds: float,
        n_particles: int,
        peak_bytes: int,
        steps: Mapping[str, float],
    ) -> None:
        """Add what an iteration took; `number` is -1 for the converged one."""
        entry = IterationEntry(number, seconds, n_particles, peak_bytes, dict(steps))
        self._journal.iterations.append(entry)

    def snapshot(self) -> Journal:
        """Copy that later entries do not change."""
        journal = self._journal
        return replace(
            journal,
            devices=list(journal.devices),
            iterations=list(journal.iterations),
            warnings=list(journal.warnings),
        )


class _Listener(logging.Handler):
    """Hands warnings to a diary."""

    def __init__(self, diary: Diary) -> None:
        super().__init__(logging.WARNING)
        self._diary = diary

    def emit(self, record: logging.LogRecord) -> None:
        self._diary.add_warning(record.getMessage().strip())
