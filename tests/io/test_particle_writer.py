"""Tables of particles that a process of their own writes."""

from __future__ import annotations

import copy
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from clrelion.errors import ClrelionError, StarError
from clrelion.io import particle_writer
from clrelion.io.particle_table import ParticleTable, read_particles, write_particles
from clrelion.io.particle_writer import ParticleWriter
from clrelion.io.star_writer import Column, StarTable, write_star

N_ROWS = 2500


@pytest.fixture
def table(tmp_path: Path) -> ParticleTable:
    optics: dict[str, Column] = {
        "rlnOpticsGroup": np.array([1]),
        "rlnOpticsGroupName": ["one"],
        "rlnVoltage": np.array([300.0]),
        "rlnSphericalAberration": np.array([2.7]),
        "rlnAmplitudeContrast": np.array([0.1]),
        "rlnImagePixelSize": np.array([1.5]),
        "rlnImageSize": np.array([16]),
        "rlnImageDimensionality": np.array([2]),
    }
    particles: dict[str, Column] = {
        "rlnImageName": [f"{i + 1:06d}@stack.mrcs" for i in range(N_ROWS)],
        "rlnMicrographName": [f"m{i // 100:02d}" for i in range(N_ROWS)],
        "rlnOpticsGroup": np.ones(N_ROWS, dtype=np.int64),
        "rlnDefocusU": np.full(N_ROWS, 1e4),
        "rlnDefocusV": np.linspace(0.9e4, 1.1e4, N_ROWS),
        "rlnDefocusAngle": np.zeros(N_ROWS),
        # its width follows the first row of a thousand
        "ownWidth": ["x" if i % 1000 else "7" for i in range(N_ROWS)],
        "ownColumn": ["a", "b c", "#c", "4", "é"] * (N_ROWS // 5),
    }
    other = StarTable("notes", {"ownNote": ["one", "two words"]})
    write_star(
        tmp_path / "in.star",
        [StarTable("optics", optics), StarTable("particles", particles), other],
    )
    return read_particles(tmp_path / "in.star")


@pytest.fixture(params=[1, 2, 4])
def writer(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[ParticleWriter]:
    """A writer that takes short tables for long ones; the last of four processes has no row."""
    monkeypatch.setattr(particle_writer, "FEWEST_ROWS", 1)
    monkeypatch.setattr(particle_writer, "_process_count", lambda _: request.param)
    made = ParticleWriter()
    yield made
    made.close()


def assert_written(
    writer: ParticleWriter, table: ParticleTable, folder: Path, is_done: bool = True,
    all_digits: bool = False,
) -> None:  # fmt: skip
    writer.write(folder / "there.star", table, is_done, all_digits)
    write_particles(folder / "here.star", table, is_done, all_digits)
    assert (folder / "there.star").read_bytes() == (folder / "here.star").read_bytes()
    assert not list(folder.glob(".*"))


def test_files_are_those_of_this_process(
    writer: ParticleWriter, table: ParticleTable, tmp_path: Path
) -> None:
    """At first, after columns have been replaced, and with other columns and digits."""
    assert_written(writer, table, tmp_path, is_done=False)
    processes = [process._process for process in writer._processes]
    assert all(processes)
    later = copy.copy(table)
    later.rot_deg = np.arange(N_ROWS) / 3
    later.class_number = np.arange(N_ROWS)
    assert_written(writer, later, tmp_path)
    assert b" 4.000000" in (tmp_path / "there.star").read_bytes()
    assert_written(writer, later, tmp_path, all_digits=True)
    assert_written(writer, table, tmp_path, is_done=False)
    assert [process._process for process in writer._processes] == processes
    writer.close()
    assert [process.returncode for process in processes if process] == [0] * len(processes)


def test_its_errors_are_raised_here(
    writer: ParticleWriter, table: ParticleTable, tmp_path: Path
) -> None:
    bad = copy.copy(table)
    bad.rot_deg = np.zeros(4)
    with pytest.raises(StarError, match="differ in length"):
        writer.write(tmp_path / "bad.star", bad, iteration_done=True)
    with pytest.raises(ClrelionError, match=r"folder\.star: cannot be written \(No such"):
        writer.write(tmp_path / "no" / "folder.star", table, iteration_done=True)
    names = table.raw["particles"].columns["ownColumn"]
    table.raw["particles"].columns["ownColumn"] = [*names[:-1], "two\nlines"]
    with pytest.raises(StarError, match=r"bad\.star: ownColumn holds a line break"):
        writer.write(tmp_path / "bad.star", table, iteration_done=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.star"]
    table.raw["particles"].columns["ownColumn"] = names
    assert_written(writer, table, tmp_path)


@pytest.mark.parametrize("is_dead_before", [True, False])
def test_a_lost_process_is_done_without(
    writer: ParticleWriter, table: ParticleTable, tmp_path: Path, is_dead_before: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    """One is killed between two tables, or while it formats."""
    assert_written(writer, table, tmp_path)
    process = writer._processes[-1]._process
    assert process is not None
    if is_dead_before:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    else:
        os.kill(process.pid, signal.SIGSTOP)  # it is asked, and will not answer
        threading.Timer(0.3, os.kill, (process.pid, signal.SIGKILL)).start()
    later = copy.copy(table)
    later.rot_deg = np.arange(N_ROWS) / 3
    assert_written(writer, later, tmp_path)
    assert "was lost" in caplog.text
    later.rot_deg = np.arange(N_ROWS) / 7
    assert_written(writer, later, tmp_path)


def test_short_tables_need_no_process(table: ParticleTable, tmp_path: Path) -> None:
    writer = ParticleWriter()
    assert_written(writer, table, tmp_path)
    assert writer._processes == []
