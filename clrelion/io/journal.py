"""``<o>_journal.star``: versions, device, times and warnings, which RELION's files do not have."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from clrelion.constants import PROGRAM_NAME, VERSION
from clrelion.io.star import StarBlock, read_star
from clrelion.io.star_writer import Block, Column, StarTable, write_star

__all__ = [
    "DeviceEntry", "IterationEntry", "Journal", "journal_file", "read_journal", "write_journal",
]  # fmt: skip

FINAL_ITERATION = -1
"""Number of the converged iteration of auto-refine, as in its optimiser file."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f]+")


@dataclass(frozen=True)
class DeviceEntry:
    """A device that computed: its name and driver, and the memory that the run may use, bytes."""

    name: str
    driver: str
    budget_bytes: int


@dataclass(frozen=True)
class IterationEntry:
    """One iteration.

    Attributes
    ----------
    number
        Of the iteration; -1 for the converged one.
    seconds
        Wall time.
    n_particles
        Particles that took part.
    peak_bytes
        Largest device memory in use so far.
    steps
        Seconds of each step, in the order of the time table.
    """

    number: int
    seconds: float
    n_particles: int
    peak_bytes: int
    steps: Mapping[str, float]


@dataclass
class Journal:
    """Contents of a journal.

    Attributes
    ----------
    started
        UTC, ISO 8601.
    versions
        Version of each software.
    devices, iterations
        In order.
    warnings
        Iteration under way (0 before the first) and text.
    """

    started: str
    versions: dict[str, str]
    devices: list[DeviceEntry] = field(default_factory=list)
    iterations: list[IterationEntry] = field(default_factory=list)
    warnings: list[tuple[int, str]] = field(default_factory=list)


def journal_file(root: str) -> str:
    """Journal of the run with this output root."""
    return f"{root}_journal.star"


def write_journal(path: str | os.PathLike[str], journal: Journal) -> None:
    """Write a journal.

    Parameters
    ----------
    path
        File to write.
    journal
        Control characters in its texts become blanks.
    """
    entries = journal.iterations
    steps = [(e.number, name, s) for e in entries for name, s in e.steps.items()]
    tables: dict[str, dict[str, Column]] = {
        "versions": {
            "clrelionSoftware": [_plain(name) for name in journal.versions],
            "clrelionVersion": [_plain(version) for version in journal.versions.values()],
        },
        "devices": {
            "clrelionDevice": [_plain(d.name) for d in journal.devices],
            "clrelionDriver": [_plain(d.driver) for d in journal.devices],
            "clrelionMemoryBudget": np.array([d.budget_bytes for d in journal.devices], np.int64),
        },
        "iterations": {
            "rlnCurrentIteration": np.array([e.number for e in entries], np.int64),
            "clrelionSeconds": np.array([e.seconds for e in entries], np.float64),
            "clrelionParticles": np.array([e.n_particles for e in entries], np.int64),
            "clrelionPeakMemory": np.array([e.peak_bytes for e in entries], np.int64),
        },
        "steps": {
            "rlnCurrentIteration": np.array([number for number, _, _ in steps], np.int64),
            "clrelionStep": [_plain(name) for _, name, _ in steps],
            "clrelionSeconds": np.array([seconds for _, _, seconds in steps], np.float64),
        },
        "warnings": {
            "rlnCurrentIteration": np.array([number for number, _ in journal.warnings], np.int64),
            "clrelionWarning": [_plain(text) for _, text in journal.warnings],
        },
    }
    blocks: list[Block] = [StarTable.of_values("run", {"clrelionStarted": journal.started})]
    blocks += [StarTable(name, columns) for name, columns in tables.items()]
    write_star(path, blocks, comments=(f"{PROGRAM_NAME} journal; version {VERSION}",))


def read_journal(path: str | os.PathLike[str]) -> Journal | None:
    """Read a journal; None if there is none (RELION's runs).

    Raises
    ------
    StarError
        It is damaged.
    """
    if not Path(path).is_file():
        return None
    blocks = read_star(path)

    def block(name: str) -> StarBlock:
        return blocks.get(name, StarBlock(name, True, {}, str(path)))

    steps: dict[int, dict[str, float]] = {}
    table = block("steps")
    for number, name, seconds in _rows(table, "clrelionStep", "clrelionSeconds"):
        steps.setdefault(int(number), {})[name] = float(seconds)
    versions = block("versions").columns
    devices = block("devices").columns
    return Journal(
        started=block("run").strings("clrelionStarted", "")[0],
        versions=dict(
            zip(versions.get("clrelionSoftware", []), versions.get("clrelionVersion", []),
                strict=True)
        ),
        devices=[
            DeviceEntry(name, driver, int(memory))
            for name, driver, memory in zip(
                *(devices.get(f"clrelion{c}", []) for c in ("Device", "Driver", "MemoryBudget")),
                strict=True,
            )
        ],
        iterations=[
            IterationEntry(
                int(number), float(seconds), int(n), int(peak), steps.get(int(number), {})
            )
            for number, seconds, n, peak in _rows(
                block("iterations"), "clrelionSeconds", "clrelionParticles", "clrelionPeakMemory"
            )
        ],
        warnings=[(int(n), text) for n, text in _rows(block("warnings"), "clrelionWarning")],
    )  # fmt: skip


def _rows(block: StarBlock, *labels: str) -> list[tuple[str, ...]]:
    """Rows of a table that may be empty, each led by its iteration."""
    columns = [block.columns.get(label, []) for label in ("rlnCurrentIteration", *labels)]
    return list(zip(*columns, strict=True))


def _plain(text: str) -> str:
    return _CONTROL.sub(" ", text)
