"""Figures of a run: central slices, spectra, progress. Needs matplotlib (extra ``report``)."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from clrelion.io.mrc import read_map
from clrelion.report.run_record import IterationRecord

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_GOLD_STANDARD = 0.143
_MAX_MAPS = 12
_DPI = 110


def draw_all(root: str, records: Sequence[IterationRecord]) -> list[tuple[str, Path]]:
    """Draw every figure that the run has data for, as PNG files beside its other files.

    Parameters
    ----------
    root
        Output root of the run.
    records
        Its iterations, in order.

    Returns
    -------
    list of (title, path)

    Raises
    ------
    ImportError
        matplotlib is not installed.
    """
    drawings = []
    if records[-1].maps:
        drawings.append(("Central slices", "slices", _slices(records[-1])))
    if any(np.any(r.model.fsc_halves[0][1:] != 0) for r in records):
        drawings.append(("Fourier shell correlation of the half maps", "fsc", _fsc(records)))
    drawings.append(("Signal-to-noise ratio of each class", "ssnr", _ssnr(records[-1])))
    drawings.append(("Progress", "progress", _progress(records)))
    result = []
    for title, kind, figure in drawings:
        path = Path(f"{root}_report_{kind}.png")
        figure.savefig(path, dpi=_DPI, bbox_inches="tight")
        result.append((title, path))
    return result


def _new_figure(width_inch: float, height_inch: float) -> "Figure":
    """Make a figure without pyplot, whose global state and windows a batch job must not touch."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width_inch, height_inch), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _slices(record: IterationRecord) -> "Figure":
    """Show the three central slices of each map, in grey from its 1 % to its 99.8 % quantile."""
    names = record.maps[:_MAX_MAPS]
    figure = _new_figure(7.5, 2.6 * len(names))
    axes = figure.subplots(len(names), 3, squeeze=False)
    for row, name in zip(axes, names, strict=True):
        volume = read_map(name)
        centre = volume.data.shape[0] // 2
        width_angst = volume.data.shape[0] * volume.pixel_size_angst
        views = (
            ("xy", volume.data[centre]),
            ("xz", volume.data[:, centre]),
            ("yz", volume.data[:, :, centre]),
        )
        low, high = np.quantile(volume.data, [0.01, 0.998])
        for axis, (plane, image) in zip(row, views, strict=True):
            axis.imshow(
                image, cmap="gray", vmin=low, vmax=high, origin="lower",
                extent=(0, width_angst, 0, width_angst),
            )  # fmt: skip
            axis.set_title(f"{Path(name).name}, {plane}", fontsize=8)
            axis.set_xlabel(f"{plane[0]} (Å)", fontsize=8)
            axis.set_ylabel(f"{plane[1]} (Å)", fontsize=8)
            axis.tick_params(labelsize=7)
    return figure


def _resolution_axis(axis: "Axes", record: IterationRecord) -> None:
    nyquist = 0.5 / record.model.pixel_size_angst
    ticks = np.linspace(0, nyquist, 7)[1:]
    axis.set_xticks(ticks, [f"{1 / tick:.3g}" for tick in ticks])
    axis.set_xlim(0, nyquist)
    axis.set_xlabel("resolution (Å)")
    axis.grid(alpha=0.3)


def _frequencies(record: IterationRecord) -> np.ndarray:
    """Spatial frequency of each shell, 1/Å."""
    model = record.model
    return np.arange(model.n_shells) / (model.ori_size * model.pixel_size_angst)


def _fsc(records: Sequence[IterationRecord]) -> "Figure":
    from matplotlib import colormaps

    figure = _new_figure(7.5, 4.2)
    axis = figure.subplots()
    shown = [r for r in records if np.any(r.model.fsc_halves[0][1:] != 0)]
    for i, record in enumerate(shown):
        is_last = i == len(shown) - 1
        # beyond the image size of an iteration there are zeros, which were not measured
        measured = slice(1, np.flatnonzero(record.model.fsc_halves[0])[-1] + 1)
        axis.plot(
            _frequencies(record)[measured],
            record.model.fsc_halves[0][measured],
            color="black" if is_last else colormaps["viridis"](i / max(len(shown) - 1, 1)),
            linewidth=2.0 if is_last else 1.0,
            label=record.label,
        )
    axis.axhline(_GOLD_STANDARD, color="firebrick", linestyle="--", linewidth=1)
    axis.annotate(
        f"{_GOLD_STANDARD}", (1, _GOLD_STANDARD), xycoords=("axes fraction", "data"),
        xytext=(-4, 4), textcoords="offset points", ha="right", fontsize=8, color="firebrick",
    )  # fmt: skip
    _resolution_axis(axis, records[-1])
    axis.set_ylim(-0.15, 1.05)
    axis.set_ylabel("FSC")
    axis.legend(title="iteration", fontsize=7, title_fontsize=7, ncols=2)
    return figure


def _ssnr(record: IterationRecord) -> "Figure":
    figure = _new_figure(7.5, 3.6)
    axis = figure.subplots()
    for i_class, ssnr in enumerate(record.model.data_vs_prior):
        shells = np.flatnonzero(ssnr > 0)
        axis.plot(_frequencies(record)[shells], ssnr[shells], label=f"class {i_class + 1}")
    axis.axhline(1.0, color="firebrick", linestyle="--", linewidth=1)
    axis.set_yscale("log")
    axis.set_ylim(bottom=1e-3)
    _resolution_axis(axis, record)
    axis.set_ylabel("SSNR (data over prior)")
    if record.model.n_classes > 1:
        axis.legend(fontsize=7)
    return figure


def _progress(records: Sequence[IterationRecord]) -> "Figure":
    """Show resolution, mean of the largest probability and, for several, class sizes."""
    n_classes = records[-1].model.n_classes
    figure = _new_figure(7.5, 3.0)
    axes = figure.subplots(1, 3 if n_classes > 1 else 2)
    left, middle = axes[:2]
    x = np.arange(len(records))
    compared = [i for i, r in enumerate(records) if r.model.ave_pmax > 0]  # not the start
    left.plot(x, [r.model.current_resolution_angst for r in records], marker=".")
    left.set_title("resolution (Å)", fontsize=9)
    middle.plot(compared, [records[i].model.ave_pmax for i in compared], marker=".")
    middle.set_title("mean of the largest probability", fontsize=9)
    if n_classes > 1:
        for i_class in range(n_classes):
            axes[2].plot(x, [r.model.pdf_class[i_class] for r in records], marker=".")
        axes[2].set_title("part of each class", fontsize=9)
        axes[2].set_ylim(0, 1)
    every = max(len(records) // 6, 1)
    for axis in axes:
        axis.set_xlim(-0.5, len(records) - 0.5)
        axis.set_xticks(x[::every], [r.label for r in records[::every]], fontsize=7)
        axis.set_xlabel("iteration", fontsize=8)
        axis.grid(alpha=0.3)
    return figure
