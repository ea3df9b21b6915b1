"""Figures of post-processing: the FSC curves and the Guinier plot, as PNG files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clrelion.postprocess.job import PostprocessResult
from clrelion.postprocess.sharpen import EMPTY_SHELL, Guinier
from clrelion.report.figure import Axis, Curve, Plot, Rule, Table, padded_range
from clrelion.report.png import write_plot

__all__ = ["draw_postprocess", "fsc_plot", "guinier_plot"]

_NO_TABLE = Table((), ())  # the numbers are in the job's STAR file


def draw_postprocess(root: str, result: PostprocessResult) -> list[str]:
    """Write ``<root>_fsc.png`` and ``<root>_guinier.png``; return their names."""
    plots = (fsc_plot(result), guinier_plot(result.sharpening.guinier))
    names = [f"{root}_{plot.key}.png" for plot in plots]
    for name, plot in zip(names, plots, strict=True):
        write_plot(Path(name), plot)
    return names


def fsc_plot(result: PostprocessResult) -> Plot:
    """Correlation of the half maps: what counts, and what it was made from."""
    fsc = result.fsc
    n = 2 * (len(fsc.unmasked) - 1)
    frequency = np.arange(n // 2 + 1) / (n * result.pixel_size_angst)
    shown: list[tuple[str, NDArray[np.float64] | None]] = [
        ("unmasked", fsc.unmasked),
        ("masked", fsc.masked),
        ("random phases", fsc.randomised),
        ("corrected", None if fsc.masked is None else fsc.corrected),
    ]
    # the curve that counts is drawn last, above the others, in the first colour
    curves = [
        Curve(label, frequency[1:], values[1:], i, 1.0 if i == 0 else 0.8, 2.6 if i == 0 else 1.4)
        for i, (label, values) in enumerate(
            pair for pair in reversed(shown) if pair[1] is not None
        )
        if values is not None
    ]
    lowest = min(-0.05, *(float(c.y.min()) - 0.03 for c in curves))
    return Plot(
        "fsc",
        f"FSC of the half maps: {result.resolution_angst:.2f} Å",
        "",
        Axis("Spatial frequency (1/Å)", 0.0, float(frequency[-1]), "frequency"),
        Axis("FSC", lowest, 1.03),
        _NO_TABLE,
        tuple(reversed(curves)),
        rules=(Rule(0.143, "0.143"),),
    )


def guinier_plot(guinier: Guinier) -> Plot:
    """Logarithm of the mean amplitude against 1/d^2, step by step, and the fitted line."""
    x = guinier.resolution_squared_inv_angst2
    steps = (
        ("averaged", guinier.original),
        ("MTF-corrected", guinier.mtf_corrected),
        ("FSC-weighted", guinier.weighted),
        ("sharpened", guinier.sharpened),
    )
    curves = [
        Curve(label, x, np.where(values > EMPTY_SHELL, values, np.nan), i, width=1.8)
        for i, (label, values) in enumerate(steps)
        if values is not None
    ]
    title = "Guinier plot"
    if guinier.slope is not None and guinier.intercept is not None:
        line = guinier.intercept + guinier.slope * x
        curves.append(Curve("fit", x, line, len(steps), width=1.2, is_dashed=True))
        title += f", B = {4 * guinier.slope:.0f} Å²"
    low, high = padded_range([c.y for c in curves if not c.is_dashed])
    return Plot(
        "guinier",
        title,
        "",
        Axis("1/d² (1/Å²)", 0.0, float(x[-1])),
        Axis("ln of the mean amplitude", low, high),
        _NO_TABLE,
        tuple(curves),
    )
