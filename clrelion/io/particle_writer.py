"""Particle STAR files of a run, written by a process of their own.

Formatting numbers holds Python's lock: in a thread it keeps the main thread from its device.
"""

from __future__ import annotations

import dataclasses
import json
import os
import pickle
import subprocess
import sys
from typing import Any

from clrelion.io.particle_table import ParticleTable, write_particles
from clrelion.io.star import StarBlock
from clrelion.io.star_writer import padded_cells

__all__ = ["ParticleWriter", "serve"]

_FEWEST_ROWS = 3000
"""Shorter tables are written sooner than told."""
_START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from clrelion.io.particle_writer import serve; serve()"
)
_END_SECONDS = 10.0


class ParticleWriter:
    """Writes the tables of a run, one at a time; if the process is lost, by itself."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._told: dict[str, Any] = {}
        self._is_lost = False

    def write(
        self,
        path: str | os.PathLike[str],
        table: ParticleTable,
        iteration_done: bool,
        all_digits: bool = False,
    ) -> None:
        """Write ``_data.star``; arguments and errors as of `write_particles`."""
        if table.n < _FEWEST_ROWS or self._is_lost:
            write_particles(path, table, iteration_done, all_digits)
            return
        try:
            error = self._ask(os.fspath(path), table, iteration_done, all_digits)
        except (OSError, EOFError, pickle.PickleError):
            self._is_lost = True
            self.close()
            write_particles(path, table, iteration_done, all_digits)
            return
        if error is not None:
            raise error

    def _ask(
        self, path: str, table: ParticleTable, iteration_done: bool, all_digits: bool
    ) -> Exception | None:
        """Let the process write a table; of each column it gets to know what has changed."""
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _START, json.dumps(sys.path)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                start_new_session=True,  # an interrupt is this process's business
            )
        given, answers = self._process.stdin, self._process.stdout
        assert given is not None
        assert answers is not None
        columns = {field.name: getattr(table, field.name) for field in dataclasses.fields(table)}
        told = self._told
        news = {
            name: values
            for name, values in columns.items()
            if name not in told or values is not told[name]
        }
        pickle.dump((path, news, iteration_done, all_digits), given, protocol=5)
        given.flush()
        self._told = columns
        answer: Exception | None = pickle.load(answers)
        return answer

    def close(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is None:
            return
        try:
            process.communicate(timeout=_END_SECONDS)
        except (OSError, ValueError, subprocess.TimeoutExpired):
            process.kill()
            process.wait()


def _pad_strings(particles: StarBlock, path: str) -> None:
    """Format what stays as it was read once and for all."""
    for label, values in particles.columns.items():
        particles.columns[label] = padded_cells(values, label, path)


def serve() -> None:
    """Write tables as they are asked for on standard input, until it ends."""
    asked, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what prints must not get between the answers
    columns: dict[str, Any] = {}
    while True:
        try:
            path, news, iteration_done, all_digits = pickle.load(asked)
        except EOFError:
            return
        columns.update(news)
        answer: Exception | None = None
        try:
            if "raw" in news:
                _pad_strings(columns["raw"]["particles"], path)
            write_particles(path, ParticleTable(**columns), iteration_done, all_digits)
        except Exception as error:
            answer = error
        pickle.dump(answer, answers)
        answers.flush()
