"""The diary of a run: which warnings it hears, and what a continued run takes over."""

from __future__ import annotations

import logging
from pathlib import Path

from clrelion.io.journal import IterationEntry, Journal, write_journal
from clrelion.refinement.diary import Diary


def test_warnings_belong_to_their_iteration() -> None:
    diary = Diary()
    logger = logging.getLogger("clrelion.somewhere")
    logger.warning("not heard yet")
    with diary.listening():
        logger.warning("  %d things", 3)
        logger.info("no warning")
        diary.begin_iteration(2)
        logger.error("worse")
        logging.getLogger("another.package").warning("not ours")
    logger.warning("not heard any more")
    assert diary.snapshot().warnings == [(0, "3 things"), (2, "worse")]


def test_a_snapshot_stays_as_it_is() -> None:
    diary = Diary()
    before = diary.snapshot()
    steps = {"store": 1.0}
    diary.end_iteration(1, 2.0, 3, 4, steps)
    steps["store"] = 9.0
    diary.add_warning("w")
    assert (before.iterations, before.warnings) == ([], [])
    assert diary.snapshot().iterations == [IterationEntry(1, 2.0, 3, 4, {"store": 1.0})]
    assert {"clrelion", "Python", "numpy", "pyopencl"} <= set(before.versions)


def test_a_continued_run_takes_over_what_counts(tmp_path: Path) -> None:
    path = str(tmp_path / "run_journal.star")
    entries = [IterationEntry(n, 1.0, 1, 0, {}) for n in (1, 2, 3, -1)]
    write_journal(path, Journal("", {}, [], entries, [(1, "kept"), (3, "undone")]))
    diary = Diary()
    diary.add_warning("now")
    diary.go_on_from(path, 2)
    diary.go_on_from(str(tmp_path / "none"), 2)
    found = diary.snapshot()
    assert [entry.number for entry in found.iterations] == [1, 2]
    assert found.warnings == [(1, "kept"), (0, "now")]
