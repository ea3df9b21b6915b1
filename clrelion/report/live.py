"""Keeps the page of a run up to date while it runs."""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from pathlib import Path

from clrelion.errors import ClrelionError
from clrelion.refinement.output import Written
from clrelion.report.run_record import IterationRecord, RunRecord, read_run
from clrelion.report.summary import write_report

__all__ = ["LiveReport"]

logger = logging.getLogger(__name__)

_SHARE = 0.05
"""Part of the time that the page may take: shorter iterations share a refresh."""


class LiveReport:
    """The page of one run.

    A failing page must not fail a run: what goes wrong is logged once.
    """

    def __init__(self) -> None:
        self._run: RunRecord | None = None
        self._has_failed = False
        self._not_before = 0.0

    def add(self, written: Written) -> None:
        """Take an iteration whose files have just been written, and refresh the page."""
        if self._run is None:
            self._run = RunRecord(written.root, _earlier(written), state="running")
        run = self._run
        run.iterations.append(
            IterationRecord(
                iteration=written.number,
                model=replace(written.models[0], pdf_direction=None),  # large, and not shown
                sampling=written.sampling,
                maps=written.class_maps,
                optimiser=written.optimiser,
            )
        )
        run.particles, run.journal = written.table, written.journal
        begun = time.monotonic()
        if begun >= self._not_before:
            self._write(with_files=False)
            now = time.monotonic()
            self._not_before = now + (now - begun) / _SHARE

    def finish(self, warnings: list[tuple[int, str]]) -> Path | None:
        """Write the page for the last time, with PNG and CSV of each figure.

        Parameters
        ----------
        warnings
            All of the run, those after its last iteration too.

        Returns
        -------
        pathlib.Path or None
            None if the run wrote nothing, or the page failed.
        """
        if self._run is None:
            return None
        self._run.state = "ended"
        if self._run.journal is not None:
            self._run.journal.warnings = warnings
        return self._write(with_files=True)

    def _write(self, with_files: bool) -> Path | None:
        assert self._run is not None
        try:
            return write_report(self._run, with_files=with_files)
        except Exception as error:
            if not self._has_failed:
                logger.warning("no report was made: %s: %s", type(error).__name__, error)
                logger.debug("raised here:", exc_info=True)
            self._has_failed = True
            return None


def _earlier(written: Written) -> list[IterationRecord]:
    """Read the iterations before the first one of a continued run, if they are here."""
    if not written.number:
        return []
    try:
        found = read_run(written.root)
    except ClrelionError:
        return []
    return [r for r in found if r.iteration is not None and r.iteration < written.number]
