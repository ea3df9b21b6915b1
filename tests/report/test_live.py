"""The page of a run that goes on: refreshed after each iteration, never in its way."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from pathlib import Path

import pytest

from clrelion.io.journal import IterationEntry, Journal
from clrelion.io.optimiser_file import OptimiserFile
from clrelion.io.particle_table import read_particles
from clrelion.io.run_files import data_file
from clrelion.refinement.output import Output, Written
from clrelion.report import live
from clrelion.report.live import LiveReport
from tests.refinement.small_state import options_of, run_state
from tests.report.written_run import model, sampling, write_iteration, write_particle_file


def optimiser(folder: Path) -> OptimiserFile:
    """Optimiser file of a classification, as a run writes it."""
    state, options = run_state(2), options_of("--K", "2")
    output = Output(str(folder / "other"), options, "C1", 17, 24.0, "a command")
    return output._optimiser(state, state.iteration)


@pytest.fixture
def root(tmp_path: Path) -> str:
    return str(tmp_path / "run")


def written(root: str, number: int) -> Written:
    write_iteration(root, number, 30.0 - number)
    write_particle_file(root, number)
    entries = [IterationEntry(i, 2.0, 7, 0, {"store": 1.0}) for i in range(1, number + 1)]
    maps = [f"{root}_it{number:03d}_class001.mrc"]
    return Written(
        root, number, [model(1, 30.0 - number, maps)], sampling(), optimiser(Path(root).parent),
        read_particles(data_file(root, number)), Journal("", {}, [], entries, []), maps, [],
    )  # fmt: skip


def text_of(root: str) -> str:
    return Path(f"{root}_report.html").read_text(encoding="utf-8")


def test_refreshed_and_finished(root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "_SHARE", 1e9)  # no pause between refreshes
    report = LiveReport()
    report.add(written(root, 0))
    assert "data-reload" in text_of(root)
    assert "running" in text_of(root)
    assert not Path(f"{root}_report").exists()  # PNG and CSV come at the end
    report.add(written(root, 1))
    assert "29.00 Å" in text_of(root)
    page = report.finish([(1, "something odd")])
    assert page == Path(f"{root}_report.html")
    assert "data-reload" not in text_of(root)
    assert "something odd" in text_of(root)
    assert (Path(f"{root}_report") / "resolution.png").is_file()


def test_short_iterations_share_a_refresh(root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "_SHARE", 1e-9)
    report = LiveReport()
    report.add(written(root, 0))
    before = text_of(root)
    report.add(written(root, 1))
    assert text_of(root) == before
    report.finish([])
    assert "29.00 Å" in text_of(root)


def test_a_continued_run_shows_what_was_before(root: str) -> None:
    for number in (0, 1, 2, 3, 4):  # 4 is left over from before
        write_iteration(root, number, 50.0 - number)
    report = LiveReport()
    report.add(written(root, 3))
    report.finish([])
    csv = (Path(f"{root}_report") / "resolution.csv").read_text(encoding="utf-8")
    assert csv.splitlines()[1:] == ["0,50.0,16", "1,49.0,16", "2,48.0,16", "3,27.0,16"]


def test_a_new_run_does_not_show_an_earlier_one(root: str) -> None:
    for number in (0, 1, 2):
        write_iteration(root, number, 50.0)
    report = LiveReport()
    report.add(written(root, 0))
    report.finish([])
    csv = (Path(f"{root}_report") / "resolution.csv").read_text(encoding="utf-8")
    assert len(csv.splitlines()) == 2


def test_a_failing_page_is_said_once(
    root: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(live, "write_report", fail)
    caplog.set_level(logging.WARNING)
    report = LiveReport()
    report.add(written(root, 0))
    assert report.finish([]) is None
    assert [r.getMessage() for r in caplog.records] == ["no report was made: OSError: disk full"]


@pytest.fixture
def as_if_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "FEWEST_ROWS", 1)
    monkeypatch.setattr(live, "_SHARE", 1e9)


def wait_for(report: LiveReport) -> None:
    deadline = time.monotonic() + 60
    while report._process.is_busy:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def figures(root: str) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in Path(f"{root}_report").iterdir()}


def test_the_page_of_a_process_is_that_of_this_one(
    root: str, tmp_path: Path, as_if_large: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = LiveReport()
    there.add(written(root, 0))
    wait_for(there)
    there.add(written(root, 1))
    wait_for(there)
    process = there._process._process
    assert process is not None
    page = text_of(root)
    assert there.finish([(1, "something odd")]) == Path(f"{root}_report.html")
    last, shown = text_of(root), figures(root)
    assert process.returncode == 0

    monkeypatch.setattr(live, "FEWEST_ROWS", 1000)
    here = LiveReport()
    for number in (0, 1):
        here.add(written(root, number))
    assert text_of(root) == page
    here.finish([(1, "something odd")])
    assert text_of(root) == last
    assert figures(root) == shown
    assert here._process._process is None


def test_nobody_waits_for_a_page(root: str, as_if_large: None) -> None:
    report = LiveReport()
    report.add(written(root, 0))
    wait_for(report)
    process = report._process._process
    assert process is not None
    before = text_of(root)
    os.kill(process.pid, signal.SIGSTOP)
    at_last = threading.Timer(20.0, os.kill, (process.pid, signal.SIGCONT))
    at_last.start()
    report.add(written(root, 1))
    assert report._process.is_busy
    report.add(written(root, 2))  # the one before is not ready
    assert at_last.is_alive(), "somebody waited"
    at_last.cancel()
    os.kill(process.pid, signal.SIGCONT)
    wait_for(report)
    assert text_of(root) != before
    assert "28.00 Å" not in text_of(root)
    report.finish([])
    assert "28.00 Å" in text_of(root)


@pytest.mark.parametrize("is_dead_before", [True, False])
def test_the_process_of_the_page_is_lost(
    root: str, as_if_large: None, is_dead_before: bool
) -> None:
    """The next page is made here."""
    report = LiveReport()
    report.add(written(root, 0))
    wait_for(report)
    process = report._process._process
    assert process is not None
    os.kill(process.pid, signal.SIGSTOP)
    if is_dead_before:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        report.add(written(root, 1))
    else:
        report.add(written(root, 1))
        os.kill(process.pid, signal.SIGKILL)
        wait_for(report)
        report.add(written(root, 1))
    assert "29.00 Å" in text_of(root)
    assert report.finish([]) is not None


def test_a_failing_page_of_a_process_is_said_once(
    root: str, as_if_large: None, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    report = LiveReport()
    for number in (0, 1):
        there = written(root, number)
        Path(there.class_maps[0]).unlink()
        report.add(there)
        wait_for(report)
    assert report.finish([]) is None
    (message,) = [r.getMessage() for r in caplog.records]
    assert message.startswith("no report was made: ImageError: ")
    assert report._process._process is None


def test_nothing_was_written() -> None:
    assert LiveReport().finish([]) is None
