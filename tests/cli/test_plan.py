"""``clrelion plan``."""

from __future__ import annotations

import pytest

from clrelion.cli.main import main


def test_plan_of_a_large_box(capsys: pytest.CaptureFixture[str]) -> None:
    given = "plan --box 512 --auto_refine --memory 80GB --memory_limit 12GB"
    assert main(given.split()) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "A GPU with 80GB"
    assert lines[1].startswith("Memory plan within 12.0 GB")
    last = next(line for line in lines if line.startswith("last"))
    assert "512" in last
    assert "sums in 2 tiles" in last
    assert "MORE" not in "".join(lines)


def test_plan_on_a_device_of_this_machine(capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        main(
            [
                "plan",
                "--box",
                "64",
                "--K",
                "3",
                "--iter",
                "4",
                "--device",
                "cpu",
                "--memory_limit",
                "500MB",
            ]
        )
        == 0
    )
    lines = capsys.readouterr().out.splitlines()
    assert "within 500.0 MB" in lines[1]
    assert lines[3].startswith("1")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ("--box 63 --memory 8GB", "even number"),
        ("--box 64 --memory eight", "--memory: 'eight' is no size: write a number of MB"),
        ("--box 64 --memory 8GB --auto_refine --K 2", "one class only"),
        ("--box 64 --memory 8GB --angpix -1", "must be positive"),
        ("--box 64 --memory 8GB --sym Q7", "Q7"),
        ("--box 64 --memory 8GB --ini_high 0", "--ini_high 0"),
    ],
)
def test_mistakes_are_one_line(
    capsys: pytest.CaptureFixture[str], arguments: str, text: str
) -> None:
    assert main(["plan", *arguments.split()]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert text in error
