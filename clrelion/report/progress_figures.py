"""Figures of how a run went on: resolution, class sizes, changes of angles and shifts."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from clrelion.orientations.sampling import angular_step_deg
from clrelion.report.figure import (
    N_COLOURS,
    Axis,
    Cell,
    Curve,
    Plot,
    Table,
    iteration_axis,
    padded_range,
)
from clrelion.report.run_record import IterationRecord, RunRecord

__all__ = ["accuracy", "angles", "class_sizes", "iterations_table", "resolution", "shifts"]

Values = NDArray[np.float64]

UNKNOWN_FROM = 998.0
"""Å, degrees: RELION's files have 999 for what was not estimated."""


def resolution(run: RunRecord) -> Plot:
    """Resolution by iteration, and that of each class."""
    records = run.iterations
    overall = np.array([_known(r.model.current_resolution_angst) for r in records])
    n_classes = run.last.model.n_classes
    curves = [_curve("overall", overall, 0)]
    columns = ["Iteration", "Resolution (Å)", "Image size (px)"]
    per_class = np.full((len(records), n_classes), np.nan)
    for i, record in enumerate(records):
        found = record.model.estimated_resolution_angst
        per_class[i, : len(found)] = [_known(value) for value in found]
    if n_classes > 1:
        # grey, since each class has its colour in all figures
        curves = [_curve(f"class {k + 1}", per_class[:, k], k) for k in range(n_classes)]
        curves.insert(0, _curve("best", overall, N_COLOURS - 1, width=4.0))
        columns += [f"Class {k + 1} (Å)" for k in range(n_classes)]
    rows = [
        [r.label, _cell(overall[i]), r.model.current_size or None]
        + ([_cell(v) for v in per_class[i]] if n_classes > 1 else [])
        for i, r in enumerate(records)
    ]
    low, high = padded_range([c.y for c in curves])
    return Plot(
        "resolution", "Resolution by iteration",
        "Where the correlation of the half maps falls below 0.143, without a mask."
        if _is_split(run) else
        "Where the signal-to-noise ratio of the map falls below 1.",
        iteration_axis(run.labels), Axis("Resolution (Å)", max(low, 0.0), high),
        Table(columns, rows), tuple(curves),
    )  # fmt: skip


def class_sizes(run: RunRecord) -> Plot | None:
    """Part of the particles in each class."""
    records, n_classes = run.iterations, run.last.model.n_classes
    if n_classes == 1:
        return None
    sizes = np.array([100 * r.model.pdf_class for r in records])
    curves = tuple(_curve(f"class {k + 1}", sizes[:, k], k) for k in range(n_classes))
    rows: list[list[Cell]] = [
        [r.label, *(round(float(v), 2) for v in sizes[i])] for i, r in enumerate(records)
    ]
    columns = ["Iteration", *(f"Class {k + 1} (%)" for k in range(n_classes))]
    high = min(100.0, 1.1 * float(sizes.max()))
    return Plot(
        "classes", "Class sizes", "Part of all particles in each class, by probability.",
        iteration_axis(run.labels), Axis("Particles (%)", 0.0, high), Table(columns, rows), curves,
    )  # fmt: skip


def angles(run: RunRecord) -> Plot | None:
    """Changes of the angles, their expected accuracy and the angular step."""
    return _against_step(
        run, "angles", "Angles", "°",
        ([r.optimiser.changes_orientations_deg if r.optimiser else np.nan for r in run.iterations],
         [accuracy(r)[0] for r in run.iterations],
         [_angular_step(r) for r in run.iterations]),
    )  # fmt: skip


def shifts(run: RunRecord) -> Plot | None:
    """Changes of the shifts, their expected accuracy and the step."""
    return _against_step(
        run, "shifts", "Shifts", "Å",
        ([r.optimiser.changes_offsets_angst if r.optimiser else np.nan for r in run.iterations],
         [accuracy(r)[1] for r in run.iterations],
         [_offset_step(r) for r in run.iterations]),
    )  # fmt: skip


_STEERING = (
    ("change", "their mean change since the iteration before"),
    ("expected accuracy", "the accuracy expected from map and noise"),
    ("step", "the finest step searched"),
)


def _against_step(
    run: RunRecord, key: str, title: str, unit: str, series: tuple[list[float], ...]
) -> Plot | None:
    """Plot changes, accuracies and steps, as far as the files have them."""
    known = [
        (i, name, what, values)
        for i, ((name, what), found) in enumerate(zip(_STEERING, series, strict=True))
        if np.isfinite(values := np.array([_known(v) for v in found])).any()
    ]
    if not known:
        return None
    what = [text for _, _, text, _ in known]
    sentence = ", ".join(what[:-1]) + (" and " if len(what) > 1 else "") + what[-1]
    rows: list[list[Cell]] = [
        [label, *(_cell(v[i], 3) for _, _, _, v in known)] for i, label in enumerate(run.labels)
    ]
    low, high = padded_range([v for *_, v in known], with_zero=True)
    return Plot(
        key, title, f"{sentence[0].upper()}{sentence[1:]}.", iteration_axis(run.labels),
        Axis(f"{title} ({unit})", low, high),
        Table(["Iteration", *(f"{name.capitalize()} ({unit})" for _, name, _, _ in known)], rows),
        tuple(_curve(name, values, i) for i, name, _, values in known),
    )  # fmt: skip


def accuracy(record: IterationRecord) -> tuple[float, float]:
    """Give the best expected accuracy of the classes, degrees and Å; NaN if not estimated."""
    found = [np.asarray(v) for v in (record.model.acc_rot_deg, record.model.acc_trans_angst)]
    # some versions of RELION write 0 where nothing was estimated, others 999
    angle, shift = (float(np.min(v[v > 0], initial=np.inf)) for v in found)
    return _known(angle), _known(shift)


def iterations_table(run: RunRecord) -> Table:
    """Everything that steers the run, one row an iteration."""
    columns = [
        "Iteration", "Resolution (Å)", "Image size (px)", "HEALPix order", "Angular step (°)",
        "Shift step (Å)", "Shift range (Å)", "Accuracy (°)", "Accuracy (Å)", "Change (°)",
        "Change (Å)", "Classes changed (%)", "Shift sigma (Å)", "Mean Pmax", "Searches",
    ]  # fmt: skip
    rows = [_iteration_row(record) for record in run.iterations]
    known = [i for i in range(len(columns)) if any(row[i] is not None for row in rows)]
    return Table([columns[i] for i in known], [[row[i] for i in known] for row in rows])


def _iteration_row(record: IterationRecord) -> list[Cell]:
    model, sampling, optimiser = record.model, record.sampling, record.optimiser
    has_changes = optimiser is not None and optimiser.changes_orientations_deg < UNKNOWN_FROM
    return [
        record.label,
        _cell(_known(model.current_resolution_angst)),
        model.current_size or None,
        sampling.healpix_order if sampling else None,
        _cell(_angular_step(record)),
        _cell(_offset_step(record)),
        _cell(sampling.offset_range_angst) if sampling else None,
        *(_cell(value) for value in accuracy(record)),
        _cell(optimiser.changes_orientations_deg) if optimiser and has_changes else None,
        _cell(optimiser.changes_offsets_angst) if optimiser and has_changes else None,
        _cell(100 * optimiser.changes_classes) if optimiser and has_changes else None,
        _cell(model.sigma_offset_angst),
        _cell(model.ave_pmax, 3) if model.ave_pmax > 0 else None,
        "local" if model.orientational_prior_mode else "global",
    ]


def _oversampling(record: IterationRecord) -> int:
    return record.optimiser.adaptive_oversampling if record.optimiser else 0


def _angular_step(record: IterationRecord) -> float:
    if record.sampling is None:
        return np.nan
    return float(angular_step_deg(record.sampling.healpix_order, _oversampling(record)))


def _offset_step(record: IterationRecord) -> float:
    if record.sampling is None:
        return np.nan
    return float(record.sampling.offset_step_angst / 2 ** _oversampling(record))


def _is_split(run: RunRecord) -> bool:
    return any(np.any(r.model.fsc_halves[0][1:] != 0) for r in run.iterations)


def _known(value: float) -> float:
    return float(value) if np.isfinite(value) and value < UNKNOWN_FROM else np.nan


def _cell(value: float, decimals: int = 2) -> float | None:
    return round(float(value), decimals) if np.isfinite(value) else None


def _curve(label: str, values: Values, colour: int, width: float = 2.0) -> Curve:
    x = np.arange(len(values), dtype=np.float64)
    # with more classes than colours, the next round is dashed
    is_dashed = colour >= N_COLOURS
    return Curve(label, x, values, colour, width=width, has_dots=True, is_dashed=is_dashed)
