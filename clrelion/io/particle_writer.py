"""Particle STAR files of a run; processes of their own format the rows of large ones."""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator

import numpy as np

from clrelion.io.particle_table import ParticleTable, particle_blocks, write_particles
from clrelion.io.star_writer import (
    CHUNK_ROWS,
    Block,
    Column,
    FormattedTable,
    StarTable,
    check_lengths,
    formatted_rows,
    padded_cells,
    write_star,
)
from clrelion.io.writing_process import ProcessLostError, WritingProcess

__all__ = ["FEWEST_ROWS", "ParticleWriter"]

FEWEST_ROWS = 3000
"""Shorter tables are written sooner than told."""

_ROWS_A_PROCESS = 10_000
_MOST_PROCESSES = 4
_CORES_A_PROCESS = 4

_columns: dict[str, Column] = {}
"""In a process that formats: what it was told of its rows."""


class ParticleWriter:
    """Writes the tables of a run, one at a time; if a process is lost, by itself."""

    def __init__(self) -> None:
        self._processes: list[WritingProcess] = []
        self._told: dict[str, Column] = {}
        self._is_lost = False

    def write(
        self,
        path: str | os.PathLike[str],
        table: ParticleTable,
        iteration_done: bool,
        all_digits: bool = False,
    ) -> None:
        """Write ``_data.star``; arguments and errors as of `write_particles`."""
        if table.n >= FEWEST_ROWS and not self._is_lost:
            optics, particles, *others = particle_blocks(table, iteration_done)
            check_lengths(particles, path)
            try:
                self._begin(particles, table.n, os.fspath(path), all_digits)
                labels: dict[str, Column] = {label: [] for label in particles.columns}
                rows = FormattedTable("particles", labels, rows=self._texts())
                write_star(path, [optics, rows, *others], all_digits=all_digits)
            except ProcessLostError:
                self._is_lost = True
            else:
                return
            finally:
                for process in self._processes:
                    process.drop()
        write_particles(path, table, iteration_done, all_digits)

    def _begin(self, particles: Block, n_rows: int, path: str, all_digits: bool) -> None:
        """Let each process format its rows; it gets to know which columns have changed."""
        if not self._processes:
            self._processes = [WritingProcess() for _ in range(_process_count(n_rows))]
        rows_each = -(-n_rows // (len(self._processes) * CHUNK_ROWS)) * CHUNK_ROWS
        told, self._told = self._told, {}
        news = {
            label: values
            for label, values in particles.columns.items()
            if label not in told or values is not told[label]
        }
        for i, process in enumerate(self._processes):
            rows = slice(i * rows_each, (i + 1) * rows_each)
            process.begin(
                format_told, list(particles.columns),
                {label: _packed(values[rows]) for label, values in news.items()}, path, all_digits,
            )  # fmt: skip
        self._told = dict(particles.columns)

    def _texts(self) -> Iterator[bytes]:
        """Yield the text of each process."""
        for process in self._processes:
            try:
                text = process.result()
            except Exception:
                self._told = {}
                raise
            yield text

    def close(self) -> None:
        """End the processes."""
        for process in self._processes:
            process.close()


def _process_count(n_rows: int) -> int:
    # imported here, as the processes need not wait for SciPy
    from clrelion.fourier.transforms import available_cores

    cores = available_cores()
    return max(1, min(n_rows // _ROWS_A_PROCESS, cores // _CORES_A_PROCESS, _MOST_PROCESSES))


def _packed(values: Column) -> Column | str:
    """Give strings as one: pickling each of them would stop other threads for long."""
    if isinstance(values, np.ndarray):
        return values
    joined = "\n".join(values)
    return joined if joined.count("\n") == len(values) - 1 else values


def format_told(
    labels: list[str], news: dict[str, Column | str], path: str, all_digits: bool
) -> pickle.PickleBuffer:
    """Format rows of which only the columns come that have changed since the last time."""
    for label, values in news.items():
        if isinstance(values, str):
            values = values.split("\n")
        if not isinstance(values, np.ndarray):
            # what stays as it was read is formatted once and for all
            values = padded_cells(values, label, path)
        _columns[label] = values
    rows = StarTable("particles", {label: _columns[label] for label in labels})
    return pickle.PickleBuffer(formatted_rows(rows, path, all_digits))
