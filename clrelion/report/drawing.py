"""Draws a plot on a canvas; the same for the page (SVG) and for a file (PNG)."""

from __future__ import annotations

from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from clrelion.report.figure import Axis, Bars, Curve, Plot
from clrelion.report.ticks import ticks

__all__ = ["HEIGHT", "INNER", "WIDTH", "Anchor", "Canvas", "draw_plot"]

Anchor = Literal["start", "middle", "end"]
Points = NDArray[np.float64]

WIDTH, HEIGHT = 460.0, 300.0
INNER = (56.0, 12.0, 382.0, 238.0)
"""Left, top, width and height of the area of the data."""


class Canvas(Protocol):
    """What a plot needs to be drawn; lengths in px, origin at the upper left."""

    def grid_line(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Draw a faint line of the grid."""

    def text(
        self, at: tuple[float, float], text: str, style: str, anchor: Anchor, is_upright: bool
    ) -> None:
        """Write text with its base line at ``at``; upright text runs from bottom to top."""

    def begin_data(self, plot: Plot) -> None:
        """Clip what follows to the area of the data, which becomes the origin."""

    def end_data(self) -> None:
        """Go back to the whole plot."""

    def rule(self, y: float) -> None:
        """Draw a level line across the data."""

    def bars(self, corners: Points, bars: Bars) -> None:
        """Draw bars: float64 (n, 4), left, top, width, height."""

    def curve(self, runs: list[Points], curve: Curve) -> None:
        """Draw the unbroken runs of a curve: float64 (n, 2) each."""


def draw_plot(plot: Plot, canvas: Canvas) -> None:
    """Draw everything but the legend."""
    left, top, width, height = INNER
    for value, label, below in ticks(plot.x):
        x = left + width * _place(plot.x, value)
        canvas.grid_line((x, top), (x, top + height))
        canvas.text((x, top + height + 16), label, "tick x", "middle", False)
        if below:
            canvas.text((x, top + height + 29), below, "tick x below", "middle", False)
    for value, label, _ in ticks(plot.y):
        y = top + height * (1 - _place(plot.y, value))
        canvas.grid_line((left, y), (left + width, y))
        canvas.text((left - 6, y + 4), label, "tick y", "end", False)
    canvas.begin_data(plot)
    for bars in plot.bars:
        canvas.bars(_corners(plot, bars), bars)
    rules = [rule for rule in plot.rules if plot.y.low <= rule.value <= plot.y.high]
    for rule in rules:
        canvas.rule(height * (1 - _place(plot.y, rule.value)))
    for curve in plot.curves:
        canvas.curve(_runs(plot, curve), curve)
    canvas.end_data()
    for rule in rules:
        y = top + height * (1 - _place(plot.y, rule.value)) - 5
        canvas.text((left + width - 4, y), rule.label, "rule-label", "end", False)
    depth = 46 if plot.x.scale == "frequency" else 36
    canvas.text(
        (left + width / 2, top + height + depth), plot.x.label, "axis-label", "middle", False
    )
    canvas.text((14.0, top + height / 2), plot.y.label, "axis-label", "middle", True)


def _place(axis: Axis, value: float) -> float:
    return float(axis.place(np.array([value]))[0])


def _corners(plot: Plot, bars: Bars) -> Points:
    _, _, width, height = INNER
    left, right = width * plot.x.place(bars.left), width * plot.x.place(bars.right)
    bottom = height * (1 - plot.y.place(bars.low))
    top = height * (1 - plot.y.place(bars.high))
    return np.stack([left, top, np.maximum(right - left, 0.5), bottom - top], axis=-1)


def _runs(plot: Plot, curve: Curve) -> list[Points]:
    """Split a curve where it has no value, and bring it to px."""
    _, _, width, height = INNER
    ok = np.isfinite(curve.x) & np.isfinite(curve.y)
    if plot.y.scale == "log":
        ok &= np.nan_to_num(curve.y) > 0
    points = np.stack(
        [width * plot.x.place(curve.x), height * (1 - plot.y.place(np.where(ok, curve.y, 1.0)))],
        axis=-1,
    )
    edges = np.flatnonzero(np.diff(np.concatenate([[0], ok.astype(np.int8), [0]])))
    return [points[a:b] for a, b in edges.reshape(-1, 2)]
