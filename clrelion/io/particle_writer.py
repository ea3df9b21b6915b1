"""Particle STAR files of a run, written by a process of their own."""

from __future__ import annotations

import dataclasses
import os
from typing import Any

from clrelion.io.particle_table import ParticleTable, write_particles
from clrelion.io.star import StarBlock
from clrelion.io.star_writer import padded_cells
from clrelion.io.writing_process import ProcessLostError, WritingProcess

__all__ = ["FEWEST_ROWS", "ParticleWriter"]

FEWEST_ROWS = 3000
"""Shorter tables are written sooner than told."""

_columns: dict[str, Any] = {}
"""In the process that writes: what it was told of the table."""


class ParticleWriter:
    """Writes the tables of a run, one at a time; if the process is lost, by itself."""

    def __init__(self) -> None:
        self._process = WritingProcess()
        self._told: dict[str, Any] = {}

    def write(
        self,
        path: str | os.PathLike[str],
        table: ParticleTable,
        iteration_done: bool,
        all_digits: bool = False,
    ) -> None:
        """Write ``_data.star``; arguments and errors as of `write_particles`."""
        if table.n >= FEWEST_ROWS and not self._process.is_lost:
            names = [field.name for field in dataclasses.fields(table)]
            columns = {name: getattr(table, name) for name in names}
            told, self._told = self._told, columns
            news = {
                name: values
                for name, values in columns.items()
                if name not in told or values is not told[name]
            }
            try:
                self._process.ask(write_told, os.fspath(path), news, iteration_done, all_digits)
            except ProcessLostError:
                self._told = {}
            else:
                return
        write_particles(path, table, iteration_done, all_digits)

    def close(self) -> None:
        """End the process."""
        self._process.close()


def write_told(path: str, news: dict[str, Any], iteration_done: bool, all_digits: bool) -> None:
    """Write a table of which only the columns come that have changed since the last one."""
    _columns.update(news)
    if "raw" in news:
        _pad_strings(_columns["raw"]["particles"], path)
    write_particles(path, ParticleTable(**_columns), iteration_done, all_digits)


def _pad_strings(particles: StarBlock, path: str) -> None:
    """Format what stays as it was read once and for all."""
    for label, values in particles.columns.items():
        particles.columns[label] = padded_cells(values, label, path)
