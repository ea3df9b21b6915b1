"""Figure of the time table: seconds of each step, iteration by iteration."""

from __future__ import annotations

import numpy as np

from clrelion.io.journal import FINAL_ITERATION, IterationEntry
from clrelion.report.figure import Axis, Bars, Cell, Plot, Table, iteration_axis
from clrelion.report.run_record import RunRecord

__all__ = ["devices_table", "time_table"]

_REST = "others"
_HALF_BAR = 0.36


def time_table(run: RunRecord) -> Plot | None:
    """Seconds of each step, stacked; only runs with a journal have them."""
    entries = run.journal.iterations if run.journal else []
    if not entries:
        return None
    names = list(dict.fromkeys(name for entry in entries for name in entry.steps))
    seconds = np.array([[entry.steps.get(name, 0.0) for name in names] for entry in entries])
    seconds = seconds.reshape(len(entries), len(names))
    wall = np.array([entry.seconds for entry in entries])
    seconds = np.column_stack([seconds, np.maximum(wall - seconds.sum(axis=1), 0.0)])
    names.append(_REST)
    labels = [_label(entry) for entry in entries]
    at = np.arange(len(entries), dtype=np.float64)
    tops = np.cumsum(seconds, axis=1)
    bars = tuple(
        Bars(name, at - _HALF_BAR, at + _HALF_BAR, tops[:, i] - seconds[:, i], tops[:, i], i)
        for i, name in enumerate(names)
    )
    rows: list[list[Cell]] = [
        [label, round(entry.seconds, 3), *(round(float(s), 3) for s in row),
         round(entry.n_particles / entry.seconds, 1) if entry.seconds > 0 else None,
         round(entry.held_bytes / 1e6, 1)]
        for label, entry, row in zip(labels, entries, seconds, strict=True)
    ]  # fmt: skip
    axis = iteration_axis(labels)
    x = Axis(axis.label, -0.6, len(entries) - 0.4, axis.scale, axis.names)
    return Plot(
        "time", "Time table", "Wall time of each step; writing of files goes on beside them.",
        x, Axis("Seconds", 0.0, 1.05 * max(float(wall.max()), 1e-3)),
        Table(["Iteration", "Seconds", *(f"{name} (s)" for name in names), "Particles per second",
               "Device memory held (MB)"], rows),
        bars=bars,
    )  # fmt: skip


def devices_table(run: RunRecord) -> Table | None:
    """Devices that computed, with the share of the time in steps of the device."""
    if run.journal is None or not run.journal.devices:
        return None
    rows: list[list[Cell]] = [
        [d.name, d.driver, round(d.budget_bytes / 1e9, 2)] for d in run.journal.devices
    ]
    return Table(["Device", "Driver", "Memory for this run (GB)"], rows)


def _label(entry: IterationEntry) -> str:
    return "final" if entry.number == FINAL_ITERATION else str(entry.number)
