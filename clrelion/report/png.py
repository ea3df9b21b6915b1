"""PNG: plots on a Pillow canvas, sheets of pictures, and pictures for the page."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from clrelion.io.atomic import replacing
from clrelion.report.drawing import HEIGHT, INNER, WIDTH, Anchor, Points, draw_plot
from clrelion.report.figure import Bars, Curve, Pictures, Plot
from clrelion.report.fonts import font, writable
from clrelion.report.palette import GRID, INK, MUTED, RULE, blend

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["encode_png", "write_pictures", "write_plot"]

_SCALE = 3  # of the files, px a unit of the drawing
_SMOOTH = 2  # curves are drawn larger by this and shrunk
_TITLE_UNITS = 30.0
_LEGEND_UNITS = 18.0
_FONT_UNITS = {"axis-label": 12.0, "rule-label": 10.5, "tick x below": 10.0}
_TICK_UNITS = 11.0
_PANEL_PX = 320
_GAP_PX = 16
_LINE_PX = 30
_SHEET_FONT_PX = 17.0
_COMPRESSION = 4
_BACKGROUND = (255, 255, 255)


def encode_png(image: NDArray[np.uint8]) -> bytes:
    """Encode uint8 pixels, (h, w) grey or (h, w, 3 or 4)."""
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(image).save(out, "PNG")
    return out.getvalue()


def write_plot(path: Path, plot: Plot) -> None:
    """Write a plot with title and legend."""
    canvas = _PngCanvas(plot)
    draw_plot(plot, canvas)
    with replacing(path) as temporary:
        canvas.image.save(temporary, "PNG", compress_level=_COMPRESSION)


def write_pictures(path: Path, figure: Pictures) -> None:
    """Write all pictures of a figure on one sheet."""
    from PIL import Image, ImageDraw

    n_columns = max(len(row.panels) for row in figure.rows)
    shape = max(p.image.shape[0] / p.image.shape[1] for row in figure.rows for p in row.panels)
    width_px = _PANEL_PX if shape > 0.75 else 2 * _PANEL_PX
    height_px = round(width_px * shape)
    row_px = height_px + 2 * _LINE_PX + _GAP_PX
    ramp_px = 0 if figure.ramp is None else 2 * _LINE_PX
    size = (n_columns * (width_px + _GAP_PX) + _GAP_PX, len(figure.rows) * row_px + ramp_px)
    sheet = Image.new("RGB", size, _BACKGROUND)
    pen = ImageDraw.Draw(sheet)
    for i, row in enumerate(figure.rows):
        y = i * row_px + _GAP_PX // 2
        _write(pen, (_GAP_PX, y), row.title, INK)
        for j, panel in enumerate(row.panels):
            x = _GAP_PX + j * (width_px + _GAP_PX)
            tall = round(width_px * panel.image.shape[0] / panel.image.shape[1])
            picture = Image.fromarray(panel.image)
            picture = picture.resize((width_px, tall), Image.Resampling.BICUBIC)
            mask = picture if picture.mode == "RGBA" else None
            sheet.paste(picture, (x, y + _LINE_PX), mask)
            _write(pen, (x, y + _LINE_PX + tall + 3), panel.caption, MUTED)
            if panel.bar is not None:
                _scale_bar(pen, panel.bar, x, y + _LINE_PX + tall, width_px)
    if figure.ramp is not None:
        y = size[1] - ramp_px
        strip = Image.fromarray(figure.ramp.colours[None]).resize((width_px, 16))
        sheet.paste(strip, (_GAP_PX, y))
        _write(pen, (_GAP_PX, y + 20), figure.ramp.low, MUTED)
        _write(pen, (_GAP_PX + width_px, y + 20), figure.ramp.high, MUTED, "ra")
    with replacing(path) as temporary:
        sheet.save(temporary, "PNG", compress_level=_COMPRESSION)


def _write(pen: Any, at: tuple[float, float], text: str, colour: Any, anchor: str = "la") -> None:
    pen.text(at, writable(text), colour, font(_SHEET_FONT_PX), anchor=anchor)


def _scale_bar(pen: Any, bar: tuple[float, str], x: int, bottom: int, width_px: int) -> None:
    length = round(bar[0] * width_px)
    pen.rectangle((x + 12, bottom - 16, x + 12 + length, bottom - 12), _BACKGROUND)
    _write(pen, (x + 12, bottom - 40), bar[1], _BACKGROUND)


class _PngCanvas:
    """Draws a plot; its origin is below the title and the legend."""

    def __init__(self, plot: Plot) -> None:
        from PIL import Image, ImageDraw

        self._legend = plot.legend()
        self._head = _TITLE_UNITS + _LEGEND_UNITS * len(self._legend_lines())
        self.image: Image.Image = Image.new(
            "RGB", (round(WIDTH * _SCALE), round((HEIGHT + self._head) * _SCALE)), _BACKGROUND
        )
        self._pen: Any = ImageDraw.Draw(self.image)
        self._data: tuple[Image.Image, Any] | None = None
        self._write(INNER[0], 20.0, plot.title, 14.0, INK, "start")
        for i, line in enumerate(self._legend_lines()):
            x, y = INNER[0], _TITLE_UNITS + 12.0 + i * _LEGEND_UNITS
            for label, colour, strength in line:
                box = [v * _SCALE for v in (x, y - 6, x + 14, y - 3)]
                self._pen.rectangle(box, blend(colour, strength))
                self._write(x + 18, y, label, 11.0, INK, "start")
                x += _legend_width(label)

    def _legend_lines(self) -> list[list[tuple[str, int, float]]]:
        lines: list[list[tuple[str, int, float]]] = []
        room = 0.0
        for entry in self._legend:
            if room < _legend_width(entry[0]):
                lines.append([])
                room = WIDTH - INNER[0]
            lines[-1].append(entry)
            room -= _legend_width(entry[0])
        return lines

    def _write(
        self, x: float, y: float, text: str, units: float, colour: Any, anchor: Anchor
    ) -> None:
        where = {"start": "ls", "middle": "ms", "end": "rs"}[anchor]
        at = (x * _SCALE, y * _SCALE)
        self._pen.text(at, writable(text), colour, font(units * _SCALE), anchor=where)

    def grid_line(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        ends = [(x * _SCALE, (y + self._head) * _SCALE) for x, y in (start, end)]
        self._pen.line(ends, GRID, 2)

    def text(
        self, at: tuple[float, float], text: str, style: str, anchor: Anchor, is_upright: bool
    ) -> None:
        from PIL import Image, ImageDraw

        units = _FONT_UNITS.get(style, _TICK_UNITS)
        colour = RULE if style == "rule-label" else INK if style == "axis-label" else MUTED
        if not is_upright:
            self._write(at[0], at[1] + self._head, text, units, colour, anchor)
            return
        chosen, text = font(units * _SCALE), writable(text)
        length, height = round(chosen.getlength(text)) + 4, round(1.5 * units * _SCALE)
        strip = Image.new("RGB", (length, height), _BACKGROUND)
        ImageDraw.Draw(strip).text((2, round(units * _SCALE)), text, colour, chosen, anchor="ls")
        x, y = at[0] * _SCALE - units * _SCALE, (at[1] + self._head) * _SCALE - length / 2
        self.image.paste(strip.rotate(90, expand=True), (round(x), round(y)))

    def begin_data(self, plot: Plot) -> None:
        from PIL import Image, ImageDraw

        box = self._data_box()
        size = ((box[2] - box[0]) * _SMOOTH, (box[3] - box[1]) * _SMOOTH)
        layer = self.image.crop(box).resize(size, Image.Resampling.NEAREST)
        self._data = (layer, ImageDraw.Draw(layer))

    def end_data(self) -> None:
        assert self._data is not None
        box = self._data_box()
        self.image.paste(self._data[0].reduce(_SMOOTH), box[:2])
        self._pen.rectangle(box, outline=GRID, width=2)

    def _data_box(self) -> tuple[int, int, int, int]:
        left, top, width, height = INNER
        ends = (left, top + self._head, left + width, top + self._head + height)
        x0, y0, x1, y1 = (round(v * _SCALE) for v in ends)
        return x0, y0, x1, y1

    def rule(self, y: float) -> None:
        assert self._data is not None
        layer, pen = self._data
        at, dash = y * _SCALE * _SMOOTH, 8 * _SCALE * _SMOOTH
        for x in range(0, layer.width, dash):
            pen.line([(x, at), (x + 0.6 * dash, at)], RULE, _SCALE * _SMOOTH)

    def bars(self, corners: Points, bars: Bars) -> None:
        assert self._data is not None
        for x, y, w, h in (corners * _SCALE * _SMOOTH).tolist():
            if h > 0:
                self._data[1].rectangle((x, y, x + w, y + h), blend(bars.colour, 0.85))

    def curve(self, runs: list[Points], curve: Curve) -> None:
        assert self._data is not None
        factor = _SCALE * _SMOOTH
        colour, thick = blend(curve.colour, curve.strength), round(0.8 * curve.width * factor)
        for run in runs:
            points = run * factor
            if curve.is_dashed:
                for a, b in _dashes(points, 6.0 * factor):
                    self._data[1].line([tuple(a), tuple(b)], colour, thick)
            elif curve.width > 0:
                self._data[1].line([tuple(p) for p in points.tolist()], colour, thick, "curve")
            if curve.has_dots or len(run) == 1:
                radius = 2.6 * factor
                for x, y in points.tolist():
                    self._data[1].ellipse((x - radius, y - radius, x + radius, y + radius), colour)


def _legend_width(label: str) -> float:
    return 34.0 + 6.6 * len(label)


def _dashes(points: Points, length: float) -> list[tuple[Points, Points]]:
    """Cut a curve into pieces of equal length and give every other one."""
    steps = np.hypot(*np.diff(points, axis=0).T)
    along = np.concatenate([[0.0], np.cumsum(steps)])
    marks = np.arange(0.0, along[-1], length)
    at = np.stack([np.interp(marks, along, points[:, i]) for i in (0, 1)], axis=-1)
    return list(zip(at[0:-1:2], at[1::2], strict=True))
