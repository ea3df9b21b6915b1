"""SVG canvas: a plot as text for the page, which its script can zoom."""

from __future__ import annotations

from html import escape

import numpy as np

from clrelion.report.drawing import HEIGHT, INNER, WIDTH, Anchor, Points, draw_plot
from clrelion.report.figure import N_COLOURS, Axis, Bars, Curve, Plot

__all__ = ["plot_svg"]


def plot_svg(plot: Plot) -> str:
    """Draw a plot as an SVG element; colours and fonts are those of the page's style sheet."""
    canvas = _SvgCanvas()
    draw_plot(plot, canvas)
    return (
        f'<svg class="plot" viewBox="0 0 {WIDTH:g} {HEIGHT:g}" role="img" tabindex="0" '
        f'aria-label="{escape(plot.title)}" {_axis("x", plot.x)} {_axis("y", plot.y)}>'
        + "".join(canvas.parts)
        + "</svg>"
    )


def _axis(name: str, axis: Axis) -> str:
    """What the script needs to make new ticks."""
    names = ";".join(f"{value:g}:{text}" for value, text in axis.names)
    return (
        f'data-{name}="{axis.scale} {axis.low:.9g} {axis.high:.9g}" '
        f'data-{name}-label="{escape(axis.label)}" data-{name}-names="{escape(names)}"'
    )


class _SvgCanvas:
    """Collects the elements of a plot."""

    def __init__(self) -> None:
        self.parts: list[str] = []

    def grid_line(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        self.parts.append(
            f'<path class="grid" d="M{start[0]:.1f} {start[1]:.1f}L{end[0]:.1f} {end[1]:.1f}"/>'
        )

    def text(
        self, at: tuple[float, float], text: str, style: str, anchor: Anchor, is_upright: bool
    ) -> None:
        x, y = f"{at[0]:.1f}", f"{at[1]:.1f}"
        turn = f' transform="rotate(-90 {x} {y})"' if is_upright else ""
        self.parts.append(
            f'<text class="{style}" x="{x}" y="{y}" text-anchor="{anchor}"{turn}>'
            f"{escape(text)}</text>"
        )

    def begin_data(self, plot: Plot) -> None:
        left, top, width, height = INNER
        box = f'x="{left:g}" y="{top:g}" width="{width:g}" height="{height:g}"'
        self.parts.append(
            f'<rect class="frame" {box}/><svg class="data" {box} '
            f'viewBox="0 0 {width:g} {height:g}" preserveAspectRatio="none">'
        )

    def end_data(self) -> None:
        self.parts.append("</svg>")

    def rule(self, y: float) -> None:
        self.parts.append(f'<path class="rule" d="M-9999 {y:.1f}H9999"/>')

    def bars(self, corners: Points, bars: Bars) -> None:
        boxes = "".join(
            f'<rect x="{x:.2f}" y="{y:.2f}" width="{w:.2f}" height="{h:.2f}"/>'
            for x, y, w, h in corners.tolist()
            if h > 0
        )
        self.parts.append(f'<g class="bars {_colour(bars.colour)}">{boxes}</g>')

    def curve(self, runs: list[Points], curve: Curve) -> None:
        dashes = ' stroke-dasharray="6 4"' if curve.is_dashed else ""
        is_line = curve.width > 0
        path = "".join("M" + _points(run) for run in runs if len(run) > 1 and is_line)
        self.parts.append(
            f'<path class="curve {_colour(curve.colour)}" data-label="{escape(curve.label)}" '
            f'stroke-width="{curve.width:g}" stroke-opacity="{curve.strength:.2g}"{dashes} '
            f'd="{path}"/>'
        )
        dots = "" if not curve.has_dots else "".join(
            f"M{x:.1f} {y:.1f}h0" for run in runs for x, y in run.tolist()
        )  # fmt: skip
        lonely = "".join(f"M{_points(run)}h0" for run in runs if len(run) == 1)
        if dots or lonely:
            self.parts.append(
                f'<path class="dots {_colour(curve.colour)}" stroke-opacity="{curve.strength:.2g}" '
                f'd="{dots or lonely}"/>'
            )


def _points(run: Points) -> str:
    return " ".join(f"{x:.1f} {y:.1f}" for x, y in np.round(run, 2).tolist())


def _colour(number: int) -> str:
    return f"c{number % N_COLOURS}"
