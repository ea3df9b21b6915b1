"""Tables of particles that a process of their own writes."""

from __future__ import annotations

import copy
import os
import signal
from pathlib import Path

import numpy as np
import pytest

from clrelion.errors import ClrelionError, StarError
from clrelion.io import particle_writer
from clrelion.io.particle_table import ParticleTable, read_particles, write_particles
from clrelion.io.particle_writer import ParticleWriter
from clrelion.io.star_writer import Column, StarTable, write_star


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
        "rlnImageName": [f"{i + 1:06d}@stack.mrcs" for i in range(5)],
        "rlnMicrographName": ["m1", "m1", "m2", "m2", "m2"],
        "rlnOpticsGroup": np.ones(5, dtype=np.int64),
        "rlnDefocusU": np.full(5, 1e4),
        "rlnDefocusV": np.full(5, 1e4),
        "rlnDefocusAngle": np.zeros(5),
        "ownColumn": ["a", "b c", "#c", "4", "e"],
    }
    write_star(
        tmp_path / "in.star", [StarTable("optics", optics), StarTable("particles", particles)]
    )
    return read_particles(tmp_path / "in.star")


@pytest.fixture
def writer(monkeypatch: pytest.MonkeyPatch) -> ParticleWriter:
    """A writer that takes short tables for long ones."""
    monkeypatch.setattr(particle_writer, "FEWEST_ROWS", 1)
    return ParticleWriter()


def assert_written(writer: ParticleWriter, table: ParticleTable, folder: Path) -> None:
    writer.write(folder / "there.star", table, iteration_done=True)
    write_particles(folder / "here.star", table, iteration_done=True)
    assert (folder / "there.star").read_bytes() == (folder / "here.star").read_bytes()


def test_files_are_those_of_this_process(
    writer: ParticleWriter, table: ParticleTable, tmp_path: Path
) -> None:
    """At first, and after columns have been replaced."""
    assert_written(writer, table, tmp_path)
    process = writer._process._process
    assert process is not None
    later = copy.copy(table)
    later.rot_deg = np.arange(5.0)
    later.class_number = np.arange(5)
    assert_written(writer, later, tmp_path)
    assert b" 4.000000" in (tmp_path / "there.star").read_bytes()
    assert writer._process._process is process
    writer.close()
    assert process.returncode == 0


def test_its_errors_are_raised_here(
    writer: ParticleWriter, table: ParticleTable, tmp_path: Path
) -> None:
    bad = copy.copy(table)
    bad.rot_deg = np.zeros(4)
    with pytest.raises(StarError, match="differ in length"):
        writer.write(tmp_path / "bad.star", bad, iteration_done=True)
    with pytest.raises(ClrelionError, match="cannot be written"):
        writer.write(tmp_path / "no" / "folder.star", table, iteration_done=True)
    assert_written(writer, table, tmp_path)
    writer.close()


def test_a_lost_process_is_done_without(
    writer: ParticleWriter, table: ParticleTable, tmp_path: Path
) -> None:
    assert_written(writer, table, tmp_path)
    process = writer._process._process
    assert process is not None
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    later = copy.copy(table)
    later.rot_deg = np.arange(5.0)
    assert_written(writer, later, tmp_path)
    assert writer._process.is_lost
