"""A process that works on files: what comes back, and what happens when it is lost."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import numpy as np
import pytest

from clrelion.errors import StarError
from clrelion.io import writing_process
from clrelion.io.writing_process import ProcessLostError, WritingProcess

_seen: list[int] = []


def remember(number: int) -> list[int]:
    _seen.append(number)
    return _seen


def twice(values: np.ndarray) -> np.ndarray:
    return 2 * values


def complain(text: str) -> None:
    raise StarError(text)


def shout() -> int:
    sys.stdout.write("this is no answer\n")
    sys.stdout.flush()
    return 7


def die_unless(pid: int) -> str:
    """Die in the middle of the work, but not in the process of the test."""
    if os.getpid() != pid:
        os.kill(os.getpid(), signal.SIGKILL)
    return "done here"


def what_cannot_be_sent() -> object:
    return lambda: None


@pytest.fixture
def process() -> Iterator[WritingProcess]:
    made = WritingProcess()
    yield made
    made.close()


def test_results_come_back_and_variables_stay(process: WritingProcess) -> None:
    assert process.ask(remember, 1) == [1]
    assert process.ask(remember, 2) == [1, 2]
    assert _seen == []
    assert process.ask(os.getpid) != os.getpid()
    assert process.ask(shout) == 7


@pytest.mark.parametrize("shape", [(0,), (7, 5), (300, 1000)])
def test_arrays_come_back(process: WritingProcess, shape: tuple[int, ...]) -> None:
    values = np.random.default_rng(1).normal(size=shape)
    for some in (values, values[::2], values.T, values.astype(np.float32)):
        found = process.ask(twice, some)
        assert found.dtype == some.dtype
        np.testing.assert_array_equal(found, 2 * some)


def test_errors_are_raised_here(process: WritingProcess) -> None:
    with pytest.raises(StarError, match=r"^a\.star: row 3$") as caught:
        process.ask(complain, "a.star: row 3")
    assert "in complain" in str(caught.value.__cause__)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        process.call(os.stat, "/nowhere")
    assert process.ask(abs, -3) == 3


def test_begun_and_taken_later(process: WritingProcess) -> None:
    assert not process.is_busy
    process.begin(time.sleep, 0.2)
    assert process.is_busy
    assert process.result() is None
    assert not process.is_busy
    process.begin(complain, "never read")
    process.drop()
    process.drop()
    process.begin(abs, -1)
    deadline = time.monotonic() + 20
    while process.is_busy:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert process.result() == 1


@pytest.mark.parametrize("lose", [die_unless, what_cannot_be_sent])
def test_a_lost_process_is_done_without(
    process: WritingProcess, lose: object, caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    caplog.set_level(logging.WARNING)
    process.ask(abs, 1)
    arguments = (os.getpid(),) if lose is die_unless else ()
    found: object = process.call(lose, *arguments)  # type: ignore[arg-type]
    assert found == "done here" or callable(found)
    assert process.is_lost
    assert not process.is_busy
    assert ["a process that writes files was lost" in r.getMessage() for r in caplog.records] == [
        True
    ]
    with pytest.raises(ProcessLostError):
        process.ask(abs, -1)
    assert process.call(abs, -1) == 1
    assert len(caplog.records) == 1
    capfd.readouterr()


def test_no_process_can_be_started(
    process: WritingProcess, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    caplog.set_level(logging.WARNING)
    assert process.call(abs, -1) == 1
    assert "FileNotFoundError" in caplog.text


def test_an_interrupt_ends_it(process: WritingProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    process.begin(time.sleep, 60)
    child = process._process
    assert child is not None

    def interrupted(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(writing_process, "_receive", interrupted)
    with pytest.raises(KeyboardInterrupt):
        process.result()
    assert child.returncode == -signal.SIGKILL
    assert process.is_lost


def test_closed_twice_and_after_its_death(process: WritingProcess) -> None:
    pid = process.ask(os.getpid)
    process.close()
    process.close()
    assert not is_alive(pid)
    other = WritingProcess()
    os.kill(other.ask(os.getpid), signal.SIGKILL)
    other.close()


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:  # a zombie of the init process
        return file.read().rsplit(")", 1)[1].split()[0] != "Z"


_PARENT = """
import os, signal, time
from clrelion.io.writing_process import WritingProcess
process = WritingProcess()
print(process.ask(os.getpid), flush=True)
{busy}
{end}
"""


@pytest.mark.parametrize("busy", ["", "process.begin(time.sleep, 0.5)"])
@pytest.mark.parametrize(
    "end", ["", "raise KeyboardInterrupt", "os._exit(3)", "os.kill(os.getpid(), signal.SIGKILL)"]
)
def test_it_ends_with_the_program(busy: str, end: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", _PARENT.format(busy=busy, end=end)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    pid = int(ended.stdout)
    deadline = time.monotonic() + 20
    while is_alive(pid):
        assert time.monotonic() < deadline, f"process {pid} goes on"
        time.sleep(0.02)
    assert "Broken" not in ended.stderr
