"""Progress in a file: a line for every tenth."""

import pytest

from clrelion.cli.progress import Progress


def test_a_file_gets_ten_lines(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    with Progress(250, "Expectation iteration 3 of 25") as progress:
        for _ in range(250):
            progress.update(1)
    lines = [record.getMessage() for record in caplog.records]
    assert lines[0] == "Expectation iteration 3 of 25"
    assert [line.split(" %")[0].strip() for line in lines[1:]] == [
        str(percent) for percent in range(10, 101, 10)
    ]


def test_large_steps_skip_lines(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    with Progress(100, "Maximization") as progress:
        progress.update(35)
        progress.update(65)
    assert [record.getMessage()[:7] for record in caplog.records[1:]] == ["   30 %", "  100 %"[:7]]


def test_nothing_to_do_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    with Progress(0, "Maximization") as progress:
        progress.update(0)
    assert len(caplog.records) == 1
