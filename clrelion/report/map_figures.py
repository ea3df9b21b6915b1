"""Figure of the maps: central slices and projections."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clrelion.io.mrc import read_map
from clrelion.report.figure import Cell, Panel, PanelRow, Pictures, Table
from clrelion.report.run_record import IterationRecord
from clrelion.report.ticks import nice_step

__all__ = ["maps"]

_MOST_MAPS = 16
_LARGE_PX, _SMALL_PX = 256, 128
_MANY_MAPS = 4
_BLACK, _WHITE = 0.01, 0.998
_BAR_FRACTION = 0.35
_PARTS = re.compile(r"(?:_half(?P<half>[12]))?_class(?P<k>\d{3})\.mrc$")


def maps(record: IterationRecord) -> Pictures | None:
    """Show the maps of an iteration; of many classes the largest ones."""
    names = record.maps
    if not names:
        return None
    left_out = ""
    if len(names) > _MOST_MAPS:
        sizes = record.model.pdf_class
        kept = sorted(np.argsort(-sizes, kind="stable")[:_MOST_MAPS].tolist())
        left_out = f" The {_MOST_MAPS} largest of {len(names)} classes."
        names = [names[k] for k in kept]
    most_px = _LARGE_PX if len(names) <= _MANY_MAPS else _SMALL_PX
    shown = [_views(name, _title(record, name), most_px) for name in names]
    return Pictures(
        "maps", "Slices and projections",
        "Through the centre and along the axes; grey from the darkest to the brightest part. "
        f"Click one to enlarge it.{left_out}",
        tuple(row for row, _ in shown),
        Table(["Map", "Box (px)", "Pixel (Å)", "Minimum", "Maximum", "Mean", "Standard deviation"],
              [cells for _, cells in shown]),
    )  # fmt: skip


def _title(record: IterationRecord, name: str) -> str:
    """Say which class, of what size, or which half map a file is."""
    file = Path(name).name
    found = _PARTS.search(file)
    if found is None:
        return file
    k = int(found["k"]) - 1
    half = f"half map {found['half']}" if found["half"] else ""
    size = f"class {k + 1}, {100 * record.model.pdf_class[k]:.1f} %" \
        if record.model.n_classes > 1 else ""  # fmt: skip
    return " · ".join(part for part in (size, half, file) if part)


def _views(name: str, title: str, most_px: int) -> tuple[PanelRow, list[Cell]]:
    """Slices and projections of one map, and its statistics."""
    volume = read_map(name)
    data, n = volume.data, volume.data.shape[0]
    centre = n // 2
    bar = _scale_bar(n * volume.pixel_size_angst)
    slices = (("xy", data[centre]), ("xz", data[:, centre]), ("yz", data[:, :, centre]))
    sums = (("xy", data.sum(0)), ("xz", data.sum(1)), ("yz", data.sum(2)))
    low, high = np.quantile(np.concatenate([np.ravel(s) for _, s in slices]), [_BLACK, _WHITE])
    panels = [
        Panel(f"slice {plane}", _grey(view, low, high, most_px), bar if i == 0 else None)
        for i, (plane, view) in enumerate(slices)
    ]
    for plane, view in sums:
        darkest, brightest = np.quantile(view, [_BLACK, _WHITE])
        panels.append(Panel(f"projection {plane}", _grey(view, darkest, brightest, most_px)))
    mean, square = float(data.mean(dtype=np.float64)), float(np.square(data).mean(dtype=np.float64))
    statistics = [float(data.min()), float(data.max()), mean, max(square - mean**2, 0.0) ** 0.5]
    cells: list[Cell] = [Path(name).name, n, round(volume.pixel_size_angst, 4)]
    return PanelRow(title, tuple(panels)), cells + [float(f"{s:.4g}") for s in statistics]


def _grey(view: NDArray[np.float32], low: float, high: float, most_px: int) -> NDArray[np.uint8]:
    """Shrink a view by whole factors and stretch it; the second axis upwards, as in plots."""
    factor = -(-view.shape[0] // most_px)
    if factor > 1:
        n = view.shape[0] // factor
        view = view[: n * factor, : n * factor].reshape(n, factor, n, factor).mean((1, 3))
    stretched = np.clip((view - low) / max(high - low, 1e-30), 0, 1)
    return np.ascontiguousarray(np.round(255 * stretched[::-1]).astype(np.uint8))


def _scale_bar(width_angst: float) -> tuple[float, str]:
    length = nice_step(_BAR_FRACTION * width_angst / 2)
    return length / width_angst, f"{length:g} Å"
