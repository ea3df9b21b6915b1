"""What a figure shows, before anything is drawn: axes, curves, bars, pictures, and its table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Axis", "Bars", "Curve", "Figure", "Panel", "PanelRow", "Pictures", "Plot", "Ramp", "Rule",
    "Table", "iteration_axis", "padded_range",
]  # fmt: skip

Cell = str | int | float | None
Scale = Literal["linear", "log", "count", "frequency"]

N_COLOURS = 8
"""Colours of the palette; a ninth curve begins again with the first."""


@dataclass(frozen=True)
class Axis:
    """One axis.

    Attributes
    ----------
    label
        Quantity with its unit.
    low, high
        Its ends.
    scale
        ``frequency``: 1/Å, with Å under each tick; ``count``: whole numbers.
    names
        Names at given places instead of numbers.
    """

    label: str
    low: float
    high: float
    scale: Scale = "linear"
    names: tuple[tuple[float, str], ...] = ()

    def place(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Give float64 places along the axis, 0 at its low end and 1 at its high end."""
        low, high, at = self.low, self.high, np.asarray(values, dtype=np.float64)
        if self.scale == "log":
            low, high = np.log10(low), np.log10(high)
            at = np.log10(np.maximum(at, 1e-300))
        return np.asarray((at - low) / (high - low), dtype=np.float64)


@dataclass(frozen=True)
class Curve:
    """Points joined by a line; NaN interrupts it.

    Attributes
    ----------
    label
        Name in the legend; an empty one is left out there.
    x, y
        float64, (n,).
    colour
        Number in the palette.
    strength
        Opacity, 0 to 1.
    width
        Of the line, px; 0: dots only.
    has_dots, is_dashed
        How it looks.
    """

    label: str
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    colour: int = 0
    strength: float = 1.0
    width: float = 2.0
    has_dots: bool = False
    is_dashed: bool = False


@dataclass(frozen=True)
class Bars:
    """Upright bars of one colour: float64 (n,) left and right ends, low and high ends."""

    label: str
    left: NDArray[np.float64]
    right: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    colour: int = 0


@dataclass(frozen=True)
class Rule:
    """A level line across the plot."""

    value: float
    label: str


@dataclass(frozen=True)
class Table:
    """The numbers behind a figure: column heads with units, and rows of cells."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]


@dataclass(frozen=True)
class Plot:
    """Curves, bars and level lines on two axes.

    Attributes
    ----------
    key
        Name of its files.
    title, caption
        Heading, and a sentence on what is seen.
    is_wide
        Over the whole width of the page.
    """

    key: str
    title: str
    caption: str
    x: Axis
    y: Axis
    table: Table
    curves: tuple[Curve, ...] = ()
    bars: tuple[Bars, ...] = ()
    rules: tuple[Rule, ...] = ()
    is_wide: bool = False

    def legend(self) -> list[tuple[str, int, float]]:
        """Label, colour and strength of what needs a name; nothing if one thing is shown."""
        shown: list[Curve | Bars] = [*self.bars, *self.curves]
        named = [s for s in shown if s.label]
        if len(named) < 2:
            return []
        return [(s.label, s.colour, s.strength if isinstance(s, Curve) else 1.0) for s in named]


@dataclass(frozen=True)
class Panel:
    """One picture.

    Attributes
    ----------
    caption
        What it shows.
    image
        uint8, (height, width) grey or (height, width, 4) with opacity; row 0 on top.
    bar
        Length of a scale bar as a fraction of the width, and its text; or None.
    """

    caption: str
    image: NDArray[np.uint8]
    bar: tuple[float, str] | None = None


@dataclass(frozen=True)
class PanelRow:
    """Pictures that belong together."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True)
class Ramp:
    """Colours of a heat map: uint8 (n, 3), low to high, with the text of its ends."""

    colours: NDArray[np.uint8]
    low: str
    high: str


@dataclass(frozen=True)
class Pictures:
    """Rows of pictures; attributes as of `Plot`."""

    key: str
    title: str
    caption: str
    rows: tuple[PanelRow, ...]
    table: Table
    ramp: Ramp | None = None
    is_wide: bool = True


Figure = Plot | Pictures


def iteration_axis(labels: Sequence[str]) -> Axis:
    """Axis of the iterations of a run, by their order in it."""
    last = max(len(labels) - 1, 1)
    margin = 0.03 * last
    names = tuple((float(i), label) for i, label in enumerate(labels))
    return Axis("Iteration", -margin, last + margin, "count", names)


def padded_range(
    values: Sequence[NDArray[np.float64]], *, with_zero: bool = False
) -> tuple[float, float]:
    """Range of all finite values with a little room around them."""
    flat = np.concatenate([np.ravel(v) for v in values] or [np.zeros(0)])
    finite = flat[np.isfinite(flat)]
    if finite.size == 0:
        return 0.0, 1.0
    low, high = float(finite.min()), float(finite.max())
    if with_zero:
        low, high = min(low, 0.0), max(high, 0.0)
    room = 0.06 * (high - low) or 0.1 * abs(high) or 1.0
    return (low if with_zero and low == 0 else low - room), high + room
