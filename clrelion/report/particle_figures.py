"""Figures of the particles: Pmax, defocus, intensity scale of each group."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from clrelion.report.figure import Axis, Bars, Cell, Curve, Plot, Rule, Table, padded_range
from clrelion.report.run_record import RunRecord
from clrelion.report.ticks import nice_step

__all__ = ["defocus", "pmax_histogram", "scale"]

_PMAX_BINS = 25
_DEFOCUS_BINS = 24
_ANGST_A_MICRON = 1e4


def pmax_histogram(run: RunRecord) -> Plot | None:
    """Histogram of the largest probability of the particles."""
    if run.particles is None or not run.particles.pmax.any():
        return None
    edges = np.linspace(0.0, 1.0, _PMAX_BINS + 1)
    counts = np.histogram(np.clip(run.particles.pmax, 0, 1), edges)[0]
    return _histogram(
        "pmax", "Certainty of the poses",
        "Particles by the probability of their best pose (Pmax): at 1 a particle has one pose, "
        "near 0 many fit it equally.",
        "Pmax", edges, counts, Axis("Pmax", 0.0, 1.0),
    )  # fmt: skip


def defocus(run: RunRecord) -> Plot | None:
    """Histogram of the mean defocus of the particles."""
    table = run.particles
    if table is None or not table.defocus_u_angst.any():
        return None
    microns = 0.5 * (table.defocus_u_angst + table.defocus_v_angst) / _ANGST_A_MICRON
    low, high = float(microns.min()), float(microns.max())
    step = nice_step(max(high - low, 0.02) / _DEFOCUS_BINS)
    first = np.floor(low / step - 1e-9)
    edges = step * np.arange(first, np.ceil(high / step + 1e-9) + 1.5)
    counts = np.histogram(microns, edges)[0]
    return _histogram(
        "defocus", "Defocus", "Particles by mean defocus, (DefocusU + DefocusV) / 2.",
        "Defocus (µm)", edges, counts,
        Axis("Defocus (µm)", float(edges[0]) - step, float(edges[-1]) + step),
    )  # fmt: skip


def scale(run: RunRecord) -> Plot | None:
    """Intensity scale of each group of particles, by default a micrograph."""
    model = run.last.model
    used = np.flatnonzero(model.group_n_particles > 0)
    if used.size == 0:
        return None
    values = model.scale_correction[used]
    counts = model.group_n_particles[used]
    rows: list[list[Cell]] = [
        [model.group_names[g], int(n), round(float(v), 4)]
        for g, n, v in zip(used.tolist(), counts, values, strict=True)
    ]
    low, high = padded_range([values, np.ones(1)])
    return Plot(
        "scale", "Intensity scale of each group",
        "Groups are micrographs unless the particle file has other groups. 1 is the mean.",
        Axis("Group", 0.0, used.size + 1.0, "count"), Axis("Scale", low, high),
        Table(["Group", "Particles", "Scale"], rows),
        (Curve("scale", np.arange(1.0, used.size + 1), values, 0, width=0, has_dots=True),),
        rules=(Rule(1.0, ""),),
    )  # fmt: skip


def _histogram(
    key: str,
    title: str,
    caption: str,
    quantity: str,
    edges: NDArray[np.float64],
    counts: NDArray[np.int64],
    x: Axis,
) -> Plot:
    gap = 0.04 * float(edges[1] - edges[0])
    bars = Bars("", edges[:-1] + gap, edges[1:] - gap, np.zeros(len(counts)), counts.astype(float))
    rows: list[list[Cell]] = [
        [round(float(a), 4), round(float(b), 4), int(n)]
        for a, b, n in zip(edges[:-1], edges[1:], counts, strict=True)
    ]
    high = 1.06 * max(float(counts.max()), 1.0)
    return Plot(
        key, title, caption, x, Axis("Particles", 0.0, high, "count"),
        Table([f"{quantity} from", "to", "Particles"], rows), bars=(bars,),
    )  # fmt: skip
