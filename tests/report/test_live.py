"""The page of a run that goes on: refreshed after each iteration, never in its way."""

from __future__ import annotations

import logging
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


def test_nothing_was_written() -> None:
    assert LiveReport().finish([]) is None
