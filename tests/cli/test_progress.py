"""Progress: plain lines in a file, a live line on a terminal, both with rate and time left."""

from __future__ import annotations

import io
import logging
import os
import re
import sys

import pytest

from clrelion.cli.console import setup_logging
from clrelion.cli.progress import Progress


class Clock:
    """Stands in for time.monotonic."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr("time.monotonic", made)
    return made


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level("INFO")
    return caplog


def test_a_file_gets_ten_lines(clock: Clock, lines: pytest.LogCaptureFixture) -> None:
    with Progress(250, "Expectation iteration 3 of 25") as progress:
        for _ in range(250):
            clock.now += 0.25
            progress.update(1)
    found = [record.getMessage() for record in lines.records]
    assert found[0] == "Expectation iteration 3 of 25"
    assert found[1] == "   10 % after 6.2 s, 4 particles/s, 56.2 s left"
    assert found[5] == "   50 % after 31.2 s, 4 particles/s, 31.2 s left"
    assert found[10] == "  100 % after 1 min 2 s, 4 particles/s"
    assert len(found) == 11


def test_large_steps_skip_lines(clock: Clock, lines: pytest.LogCaptureFixture) -> None:
    with Progress(100, "Maximization", "maps") as progress:
        clock.now += 1
        progress.update(35)
        clock.now += 1
        progress.update(65)
    assert [record.getMessage() for record in lines.records[1:]] == [
        "   30 % after 1.0 s, 35 maps/s, 1.9 s left", "  100 % after 2.0 s, 50 maps/s",
    ]  # fmt: skip


def test_a_short_step_gets_one_line(clock: Clock, lines: pytest.LogCaptureFixture) -> None:
    with Progress(10, "Maximization") as progress:
        for _ in range(10):
            clock.now += 0.01
            progress.update(1)
    assert [record.getMessage() for record in lines.records[1:]] == [
        "  100 % after 0.1 s, 100 particles/s"
    ]


def test_nothing_to_do_is_no_error(lines: pytest.LogCaptureFixture) -> None:
    with Progress(0, "Maximization") as progress:
        progress.update(0)
    assert len(lines.records) == 1


class Terminal(io.StringIO):
    """Standard output that says it is a terminal."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_a_live_line(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("COLUMNS", "100")
    setup_logging(1)
    with Progress(200, "Expectation iteration 3 of 25") as progress:
        progress.update(50)
        logging.getLogger("clrelion.x").info("a line above")
        assert progress._bar is not None
        progress._bar.refresh()
    written = terminal.getvalue()
    live = written.split("\r")
    expected = re.compile(r"3 of 25 .* 25 %  [\d.]+k? ?particles/s  \d\d:\d\d left")
    assert any(expected.search(line) for line in live)
    assert "a line above\n" in written
    # the live line goes, one plain line stays
    assert (
        written.rstrip("\n")
        .rsplit("\n", 1)[-1]
        .split("\r")[-1]
        .startswith("Expectation iteration 3 of 25: ")
    )


def test_a_quiet_run_shows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    setup_logging(0)
    with Progress(2, "Maximization") as progress:
        progress.update(2)
    assert terminal.getvalue() == ""


def test_a_reader_that_has_gone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """``clrelion_refine ... | head``: the run goes on, without a traceback a line."""
    reader, writer = os.pipe()
    os.close(reader)
    setup_logging(1)
    with os.fdopen(writer, "w", encoding="utf-8") as stream, monkeypatch.context() as patched:
        patched.setattr(sys, "stdout", stream)
        for _ in range(3):
            logging.getLogger("clrelion.x").info("nobody reads this")
    assert capsys.readouterr().err == ""
