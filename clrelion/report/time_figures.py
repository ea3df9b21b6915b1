"""Figure of the time table: seconds of each step, iteration by iteration."""

from __future__ import annotations

import numpy as np

from clrelion.device.memory import format_bytes
from clrelion.io.journal import FINAL_ITERATION, IterationEntry
from clrelion.report.figure import Axis, Bars, Cell, Plot, Table, iteration_axis
from clrelion.report.run_record import RunRecord

__all__ = ["device_facts", "steps_table", "time_table"]

_REST = "others"
_HALF_BAR = 0.36
_SHORTEST_S = 0.005


def time_table(run: RunRecord) -> Plot | None:
    """Seconds of each step, stacked; only runs with a journal have them."""
    entries = run.journal.iterations if run.journal else []
    if not entries:
        return None
    names = _step_names(entries)
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
         round(entry.peak_bytes / 1e6, 1)]
        for label, entry, row in zip(labels, entries, seconds, strict=True)
    ]  # fmt: skip
    axis = iteration_axis(labels)
    x = Axis(axis.label, -0.6, len(entries) - 0.4, axis.scale, axis.names)
    return Plot(
        "time", "Time table", "Wall time of each step; writing of files goes on beside them.",
        x, Axis("Seconds", 0.0, 1.05 * max(float(wall.max()), 1e-3)),
        Table(["Iteration", "Seconds", *(f"{name} (s)" for name in names), "Particles per second",
               "Device memory at most so far (MB)"], rows),
        bars=bars,
    )  # fmt: skip


def steps_table(run: RunRecord) -> Table | None:
    """Seconds and share of each step over all iterations."""
    entries = run.journal.iterations if run.journal else []
    total = sum(entry.seconds for entry in entries)
    if total <= 0:
        return None
    sums = {
        name: sum(entry.steps.get(name, 0.0) for entry in entries) for name in _step_names(entries)
    }
    sums[_REST] = max(total - sum(sums.values()), 0.0)
    rows: list[list[Cell]] = [
        [name, round(seconds, 2), round(100 * seconds / total, 1)] for name, seconds in sums.items()
    ]
    return Table(["Step", "Seconds", "Share (%)"], [*rows, ["all", round(total, 2), 100.0]])


def device_facts(run: RunRecord) -> list[tuple[str, str]]:
    """Devices that computed, their memory, and how fast they went."""
    if run.journal is None or not run.journal.iterations:
        return []
    facts = []
    for device in run.journal.devices:
        facts.append(("Device", f"{device.name}, driver {device.driver}"))
        facts.append(("Its memory for this run", format_bytes(device.budget_bytes)))
    entries = run.journal.iterations
    most = max(entry.peak_bytes for entry in entries)
    speeds = [entry.n_particles / entry.seconds for entry in entries if entry.seconds > 0]
    facts.append(("Device memory used at most", format_bytes(most)))
    if speeds:
        facts.append(
            ("Particles per second", f"{min(speeds):,.0f} to {max(speeds):,.0f}, by iteration")
        )
    return facts


def _step_names(entries: list[IterationEntry]) -> list[str]:
    """Steps in their order, without those that took no time to speak of."""
    names = dict.fromkeys(name for entry in entries for name in entry.steps)
    return [name for name in names if sum(e.steps.get(name, 0.0) for e in entries) >= _SHORTEST_S]


def _label(entry: IterationEntry) -> str:
    return "final" if entry.number == FINAL_ITERATION else str(entry.number)
