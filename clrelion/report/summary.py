"""Makes the report of a run: ``<root>_report.html`` and a folder with each figure."""

from __future__ import annotations

import csv
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from html import escape
from pathlib import Path

from clrelion.io.atomic import replacing
from clrelion.report.direction_figures import angular_distribution
from clrelion.report.figure import Figure, Pictures, Table
from clrelion.report.headline import headline
from clrelion.report.map_figures import maps
from clrelion.report.page import Section, definitions, page, table_html, text_card
from clrelion.report.particle_figures import defocus, pmax_histogram, scale
from clrelion.report.png import write_pictures, write_plot
from clrelion.report.progress_figures import (
    angles,
    class_sizes,
    iterations_table,
    resolution,
    shifts,
)
from clrelion.report.run_record import RunRecord, read_whole_run
from clrelion.report.spectrum_figures import fsc, noise, ssnr
from clrelion.report.time_figures import device_facts, steps_table, time_table

__all__ = ["make_report", "write_page", "write_report"]

logger = logging.getLogger(__name__)

_FILE_WRITERS = 2
_LAST_WARNINGS = 100


def make_report(root: str, page_path: str | None = None) -> Path:
    """Read a run and write its report.

    Parameters
    ----------
    root
        Output root (``--o``) of the run of clrelion or RELION; only its files are read.
    page_path
        Page to write instead of ``<root>_report.html``.

    Returns
    -------
    pathlib.Path
        The page. Its figures are in a folder beside it that has its name without ``.html``.

    Raises
    ------
    StarError
        There is no run with this root, or one of its files cannot be read.
    """
    return write_report(read_whole_run(root), page_path)


def write_report(run: RunRecord, page_path: str | None = None, *, with_files: bool = True) -> Path:
    """Write the report of a run that has been read; `with_files` False leaves out PNG and CSV.

    Raises
    ------
    ClrelionError
        A map cannot be read, or a file cannot be written.
    """
    path = Path(page_path or f"{run.root}_report.html")
    sections = _sections(run)
    folder = path.with_suffix("")
    text = page(headline(run), sections, folder.name if with_files else "")
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    if with_files:
        figures = [c for _, _, cards in sections for c in cards if not isinstance(c, str)]
        _write_files(folder, figures, iterations_table(run))
    return path


def write_page(run: RunRecord) -> float:
    """Write the page without PNG and CSV; give the seconds that it took."""
    begun = time.monotonic()
    write_report(run, with_files=False)
    return time.monotonic() - begun


def _sections(run: RunRecord) -> list[Section]:
    def made(*makers: Callable[[RunRecord], Figure | None]) -> list[Figure]:
        return [figure for make in makers if (figure := make(run)) is not None]

    iterations = text_card("Every iteration", table_html(iterations_table(run)), is_wide=True)
    return [
        ("maps", "Maps", made(lambda r: maps(r.last))),
        (
            "resolution",
            "Resolution and classes" if run.last.model.n_classes > 1 else "Resolution",
            made(fsc, resolution, class_sizes, ssnr, noise),
        ),
        ("poses", "Poses", made(angular_distribution, pmax_histogram, angles, shifts)),
        ("data", "Data", made(defocus, scale)),
        ("time", "Time and device", [*made(time_table), *_device(run)]),
        ("iterations", "Iterations", [iterations]),
        ("warnings", "Warnings", _warnings(run)),
        ("reproduce", "Reproduce", _reproduce(run)),
    ]


def _warnings(run: RunRecord) -> list[str]:
    if not run.warnings:
        return []
    cut = len(run.warnings) - _LAST_WARNINGS
    items = "".join(
        f"<li>{f'<b>{escape(when)}</b>' if when else ''}{escape(text)}</li>"
        for when, text in run.warnings[-_LAST_WARNINGS:]
    )
    more = f'<p class="more">{cut} earlier ones are in the journal.</p>' if cut > 0 else ""
    return [f'<div class="card wide"><ul class="warnings">{items}</ul>{more}</div>']


def _device(run: RunRecord) -> list[str]:
    steps = steps_table(run)
    if steps is None:
        return []
    return [text_card("Steps and device", table_html(steps) + definitions(device_facts(run)))]


def _reproduce(run: RunRecord) -> list[str]:
    optimiser = run.last.optimiser or next(
        (r.optimiser for r in reversed(run.iterations) if r.optimiser), None
    )
    entries: list[tuple[str, str]] = []
    command = ""
    if optimiser is not None:
        command = optimiser.command_line
        entries += [("Program", optimiser.program), ("Random seed", str(optimiser.random_seed))]
    if run.journal is not None:
        entries += list(run.journal.versions.items())
        entries.append(("Started", run.journal.started))
    if not entries:
        return []
    shown = f"<pre>{escape(command)}</pre>" if command else ""
    return [text_card("Command and versions", shown + definitions(entries), is_wide=True)]


def _write_files(folder: Path, figures: list[Figure], iterations: Table) -> None:
    """Write PNG and CSV of each figure; what the folder has of an earlier report goes."""
    folder.mkdir(exist_ok=True)
    wanted = {f"{f.key}.{kind}" for f in figures for kind in ("png", "csv")} | {"iterations.csv"}
    for old in folder.iterdir():
        if old.suffix in (".png", ".csv") and old.name not in wanted:
            old.unlink()
    with ThreadPoolExecutor(_FILE_WRITERS) as pool:  # Pillow works outside of Python's lock
        written = [pool.submit(_write_figure, folder, figure) for figure in figures]
        _write_csv(folder / "iterations.csv", iterations)
        for job in written:
            job.result()


def _write_figure(folder: Path, figure: Figure) -> None:
    if isinstance(figure, Pictures):
        write_pictures(folder / f"{figure.key}.png", figure)
    else:
        write_plot(folder / f"{figure.key}.png", figure)
    _write_csv(folder / f"{figure.key}.csv", figure.table)


def _write_csv(path: Path, table: Table) -> None:
    with replacing(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as out:
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(table.columns)
        writer.writerows(table.rows)
