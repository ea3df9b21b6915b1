"""Figures over spatial frequency: FSC, signal-to-noise ratio of the classes, noise."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from clrelion.report.figure import N_COLOURS, Axis, Cell, Curve, Plot, Rule, Table
from clrelion.report.run_record import IterationRecord, RunRecord

__all__ = ["fsc", "noise", "ssnr"]

GOLD_STANDARD = 0.143
HALF = 0.5


def fsc(run: RunRecord) -> Plot | None:
    """Fourier shell correlation of the half maps, earlier iterations pale."""
    shown = [r for r in run.iterations if np.any(r.model.fsc_halves[0][1:] != 0)]
    if not shown:
        return None
    curves, columns = [], []
    for i, record in enumerate(shown):
        values = _measured(record.model.fsc_halves[0])
        is_last = i == len(shown) - 1
        label = f"iteration {record.label}" if record.iteration is not None else "final"
        strength = 1.0 if is_last else 0.12 + 0.38 * i / max(len(shown) - 1, 1)
        width = 2.6 if is_last else 1.3
        curves.append(Curve(label if is_last else "", _frequencies(record), values, 0, strength,
                            width))  # fmt: skip
        columns.append(label.capitalize())
    last = shown[-1].model.fsc_halves[0]
    caption = (
        "Between the two half maps, which were refined apart from each other; not masked. Pale: "
        "earlier iterations."
    )
    below = _first_below(last, GOLD_STANDARD)
    if below is not None and below > 1:
        extent = shown[-1].model.ori_size * shown[-1].model.pixel_size_angst
        caption += f" The last shell above {GOLD_STANDARD} is at {extent / (below - 1):.2f} Å."
    lowest = min(-0.05, *(float(np.nanmin(c.y)) - 0.03 for c in curves))
    return Plot(
        "fsc", "Fourier shell correlation", caption, _frequency_axis(run.last),
        Axis("FSC", lowest, 1.03),
        _table(shown[-1], columns, [c.y for c in curves]), tuple(curves),
        rules=(Rule(HALF, "0.5"), Rule(GOLD_STANDARD, "0.143")),
    )  # fmt: skip


def ssnr(run: RunRecord) -> Plot | None:
    """Spectral signal-to-noise ratio of each class in the last iteration."""
    record = run.last
    spectra = [np.where(s > 0, s, np.nan) for s in record.model.data_vs_prior]
    for spectrum in spectra:
        spectrum[0] = np.nan
    if not any(np.isfinite(s).any() for s in spectra):
        return None
    curves = tuple(
        Curve(f"class {k + 1}", _frequencies(record), s, k, is_dashed=k >= N_COLOURS)
        for k, s in enumerate(spectra)
    )
    names = [f"Class {k + 1}" for k in range(len(spectra))]
    return Plot(
        "ssnr", "Signal-to-noise ratio",
        "Of each shell of the map: power of the data over that of the prior. Above 1 the data "
        "decide.",
        _frequency_axis(record), _log_axis("SSNR", [*spectra, np.ones(1)], lowest=1e-3),
        _table(record, names, spectra), curves, rules=(Rule(1.0, "1"),),
    )  # fmt: skip


def noise(run: RunRecord) -> Plot | None:
    """Noise power of each optics group in the last iteration."""
    record = run.last
    spectra = [np.where(s > 0, s, np.nan) for s in record.model.sigma2_noise]
    if not any(np.isfinite(s[1:]).any() for s in spectra):
        return None
    groups = [f"optics group {g + 1}" for g in range(len(spectra))]
    if run.particles is not None and len(run.particles.optics_names) == len(spectra):
        names = zip(run.particles.optics_names, groups, strict=True)
        groups = [given or name for given, name in names]
    is_half = any("_half1_" in name for name in record.model.class_files)
    curves = tuple(
        Curve(name, _frequencies(record), s, g)
        for g, (name, s) in enumerate(zip(groups, spectra, strict=True))
    )
    return Plot(
        "noise", "Noise spectrum",
        f"Power of the noise in the images of each optics group{', half-set 1' * is_half}.",
        _frequency_axis(record), _log_axis("Noise power σ²", spectra),
        _table(record, groups, spectra), curves,
    )  # fmt: skip


def _measured(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Beyond the image size of an iteration there are zeros, which were not measured."""
    last = int(np.flatnonzero(values)[-1])
    shown = np.array(values, dtype=np.float64)
    shown[last + 1 :] = np.nan
    return shown


def _first_below(values: NDArray[np.float64], threshold: float) -> int | None:
    below = np.flatnonzero(values[1:] < threshold)
    return int(below[0]) + 1 if below.size else None


def _frequencies(record: IterationRecord) -> NDArray[np.float64]:
    """Spatial frequency of each shell, 1/Å."""
    model = record.model
    return np.arange(model.n_shells) / (model.ori_size * model.pixel_size_angst)


def _frequency_axis(record: IterationRecord) -> Axis:
    nyquist = 0.5 / record.model.pixel_size_angst
    return Axis("Spatial frequency (1/Å)", 0.0, nyquist, "frequency")


def _log_axis(label: str, spectra: list[NDArray[np.float64]], lowest: float = 0.0) -> Axis:
    values = np.concatenate(spectra)
    values = values[np.isfinite(values)]
    low, high = max(float(values.min()), lowest), float(values.max())
    return Axis(label, low / 1.5, max(1.5 * high, 3 * low), "log")


def _table(record: IterationRecord, names: list[str], spectra: list[NDArray[np.float64]]) -> Table:
    frequencies = _frequencies(record)
    rows: list[list[Cell]] = []
    for shell in range(1, len(frequencies)):
        row: list[Cell] = [
            shell, round(float(frequencies[shell]), 6), round(1 / float(frequencies[shell]), 2),
        ]  # fmt: skip
        rows.append(row + [_significant(float(s[shell])) if shell < len(s) else None
                           for s in spectra])  # fmt: skip
    return Table(["Shell", "Frequency (1/Å)", "Resolution (Å)", *names], rows)


def _significant(value: float) -> float | None:
    return float(f"{value:.4g}") if np.isfinite(value) else None
