"""Keeps the page of a run up to date while it runs.

A refresh takes up to a second; of a large run a process of its own makes it, and nobody waits.
"""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from pathlib import Path

from clrelion.errors import ClrelionError
from clrelion.io.particle_writer import FEWEST_ROWS
from clrelion.io.writing_process import ProcessLostError, WritingProcess
from clrelion.refinement.output import Written
from clrelion.report.run_record import IterationRecord, RunRecord, ShownParticles, read_run
from clrelion.report.summary import write_page, write_report

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
        self._process = WritingProcess()
        self._is_large = False
        self._is_waiting = False
        self._has_failed = False
        self._begun = 0.0
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
                sampling=replace(written.sampling, rot_deg=None, tilt_deg=None),
                maps=written.class_maps,
                optimiser=written.optimiser,
            )
        )
        run.particles, run.journal = ShownParticles.of(written.table), written.journal
        self._is_large = written.table.n >= FEWEST_ROWS
        if self._is_waiting:
            if self._process.is_busy:
                return
            self._take_answer()
        if time.monotonic() >= self._not_before:
            self._refresh()

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
        try:
            if self._is_waiting:
                self._take_answer()
            if self._run is None:
                return None
            self._run.state = "ended"
            if self._run.journal is not None:
                self._run.journal.warnings = warnings
            try:
                if self._is_large:
                    return self._process.call(write_report, self._run)
                return write_report(self._run)
            except Exception as error:
                self._complain(error)
                return None
        finally:
            self._process.close()

    def _refresh(self) -> None:
        """Write the page, or let it be written."""
        assert self._run is not None
        self._begun = time.monotonic()
        if self._is_large and not self._process.is_lost:
            try:
                self._process.begin(write_page, self._run)
            except ProcessLostError:
                pass
            else:
                self._is_waiting = True
                return
        try:
            write_report(self._run, with_files=False)
            self._pause(time.monotonic() - self._begun)
        except Exception as error:
            self._complain(error)

    def _take_answer(self) -> None:
        """See how the last refresh went."""
        self._is_waiting = False
        try:
            self._pause(self._process.result())
        except ProcessLostError:
            pass
        except Exception as error:
            self._complain(error)

    def _pause(self, seconds: float) -> None:
        """Let some time pass after a refresh that took so long."""
        self._not_before = self._begun + seconds + seconds / _SHARE

    def _complain(self, error: Exception) -> None:
        if not self._has_failed:
            logger.warning("no report was made: %s: %s", type(error).__name__, error)
            logger.debug("raised here:", exc_info=error)
        self._has_failed = True


def _earlier(written: Written) -> list[IterationRecord]:
    """Read the iterations before the first one of a continued run, if they are here."""
    if not written.number:
        return []
    try:
        found = read_run(written.root)
    except ClrelionError:
        return []
    return [r for r in found if r.iteration is not None and r.iteration < written.number]
