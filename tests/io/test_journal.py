"""The journal of a run, there and back."""

from pathlib import Path

import pytest

from clrelion.io.journal import (
    DeviceEntry,
    IterationEntry,
    Journal,
    journal_file,
    read_journal,
    write_journal,
)


def test_there_and_back(tmp_path: Path) -> None:
    journal = Journal(
        started="2026-01-02T03:04:05+00:00",
        versions={"clrelion": "1.2", "a name": "3 beta"},
        devices=[DeviceEntry('A "big" GPU', "555.1", 12 * 10**9), DeviceEntry("B", "x", 1)],
        iterations=[
            IterationEntry(1, 2.5, 100, 10**9, {"getImg": 1.0, "store": 0.25}),
            IterationEntry(-1, 7.125, 99, 2 * 10**9, {"getImg": 3.0}),
        ],
        warnings=[(0, "at the start: 'x' # y"), (1, "two\nlines\x07")],
    )
    path = journal_file(str(tmp_path / "run"))
    assert path.endswith("run_journal.star")
    write_journal(path, journal)
    found = read_journal(path)
    assert found is not None
    assert found.warnings == [(0, "at the start: 'x' # y"), (1, "two lines ")]
    assert (found.started, found.versions) == (journal.started, journal.versions)
    assert (found.devices, found.iterations) == (journal.devices, journal.iterations)


def test_a_run_that_has_just_begun(tmp_path: Path) -> None:
    path = tmp_path / "run_journal.star"
    write_journal(path, Journal("now", {"clrelion": "1"}))
    assert read_journal(path) == Journal("now", {"clrelion": "1"})


def test_no_journal(tmp_path: Path) -> None:
    assert read_journal(tmp_path / "run_journal.star") is None


@pytest.mark.parametrize("name", ["GPU é", "日本"])
def test_other_letters(tmp_path: Path, name: str) -> None:
    path = tmp_path / "run_journal.star"
    write_journal(path, Journal("", {}, [DeviceEntry(name, "1", 2)]))
    found = read_journal(path)
    assert found is not None
    assert found.devices[0].name == name
