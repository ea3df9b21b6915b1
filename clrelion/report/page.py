"""The HTML of a report: one file with style, script and pictures in it."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from datetime import datetime, timezone
from html import escape
from pathlib import Path

from clrelion.constants import PROGRAM_NAME, VERSION
from clrelion.report.figure import N_COLOURS, Cell, Figure, Pictures, Plot, Table
from clrelion.report.headline import Headline
from clrelion.report.png import encode_png
from clrelion.report.svg import plot_svg

__all__ = ["Section", "definitions", "page", "table_html", "text_card"]

Section = tuple[str, str, Sequence[Figure | str]]
"""Anchor, heading, and cards: figures or ready HTML."""

MOST_ROWS = 1500
"""Rows of a table on the page; its CSV file has all."""

_RELOAD_S = 20
_MOST_DECIMALS = 4
_HERE = Path(__file__).parent


def page(headline: Headline, sections: Sequence[Section], folder_name: str) -> str:
    """Put a page together.

    Parameters
    ----------
    headline
        What stands on top.
    sections
        In order; one without cards is left out.
    folder_name
        Folder with the files of the figures, for the footer; empty if there is none.
    """
    shown = [(anchor, title, cards) for anchor, title, cards in sections if cards]
    links = "".join(f'<a href="#{a}">{escape(title)}</a>' for a, title, _ in shown)
    body = "".join(
        f'<section id="{anchor}"><h2>{escape(title)}</h2><div class="cards">'
        + "".join(card if isinstance(card, str) else _card(card) for card in cards)
        + "</div></section>\n"
        for anchor, title, cards in shown
    )
    files = f"Each figure as PNG and CSV: {escape(folder_name)}/. " if folder_name else ""
    now = datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    reload = f' data-reload="{_RELOAD_S}"' if headline.is_running else ""
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(headline.title)}</title>\n<style>{_asset('page.css')}</style></head>\n"
        f'<body data-name="{escape(headline.name)}"{reload}>\n{_top(headline)}\n'
        f"<nav><div>{links}</div></nav>\n<main>\n{body}</main>\n"
        f"<footer>{files}Written {now} by {PROGRAM_NAME} {VERSION}.</footer>\n"
        '<div class="tip" hidden></div>'
        '<dialog><button type="button">Close</button><img alt=""><p></p></dialog>\n'
        f"<script>{_asset('page.js')}</script>\n</body></html>\n"
    )


def text_card(title: str, content: str, *, is_wide: bool = False) -> str:
    """Card around ready HTML."""
    wide = " wide" if is_wide else ""
    return f'<div class="card{wide}"><h3>{escape(title)}</h3>{content}</div>'


def definitions(entries: Sequence[tuple[str, str]]) -> str:
    """List of names and values; both are escaped."""
    rows = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in entries)
    return f"<dl>{rows}</dl>"


def table_html(table: Table) -> str:
    """Table for the page; its cells are escaped."""
    is_text = [
        bool(table.rows) and name != "Iteration" and all(isinstance(r[i], str) for r in table.rows)
        for i, name in enumerate(table.columns)
    ]
    kinds = [' class="text"' if text else "" for text in is_text]
    head = "".join(f"<th{k}>{escape(c)}</th>" for k, c in zip(kinds, table.columns, strict=True))
    shown = table.rows[:MOST_ROWS]
    decimals = [_decimals([row[i] for row in shown]) for i in range(len(table.columns))]
    rows = "".join(
        "<tr>"
        + "".join(
            f"<td{k}>{_cell_text(c, d)}</td>" for k, d, c in zip(kinds, decimals, row, strict=True)
        )
        + "</tr>"
        for row in shown
    )
    cut = len(table.rows) - MOST_ROWS
    more = f'<p class="more">{cut} more rows in the CSV file.</p>' if cut > 0 else ""
    return (
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'
        f"</div>{more}"
    )


def _decimals(cells: list[Cell]) -> int | None:
    """Decimals that all numbers of a column are written with; None: each as it is."""
    texts = [repr(cell) for cell in cells if isinstance(cell, float)]
    if not texts or any("e" in text for text in texts):
        return None
    most = max(len(text.partition(".")[2]) for text in texts)
    return most if most <= _MOST_DECIMALS else None


def _cell_text(cell: Cell, decimals: int | None) -> str:
    if cell is None:
        return "–"
    if isinstance(cell, float) and decimals is not None:
        return f"{cell:.{decimals}f}"
    return escape(str(cell))


def _top(headline: Headline) -> str:
    chip = ""
    if headline.state:
        kind = "running" if headline.is_running else "good" if headline.is_good else ""
        chip = f'<span class="chip {kind}">{escape(headline.state)}</span>'
    if headline.n_warnings:
        many = "" if headline.n_warnings == 1 else "s"
        chip += f'<a class="chip warn" href="#warnings">{headline.n_warnings} warning{many}</a>'
    tiles = "".join(
        f'<div class="tile{" main" if i == 0 else ""}"><span>{escape(name)}</span>'
        f"<b>{escape(value)}</b><span>{escape(note)}</span></div>"
        for i, (name, value, note) in enumerate(headline.tiles)
    )
    return (
        f'<header class="top"><p class="eyebrow">{escape(headline.kind)}</p>'
        f"<h1>{escape(headline.title)}{chip}</h1>"
        f'<p class="facts">{escape(headline.facts)}</p><div class="tiles">{tiles}</div></header>'
    )


def _card(figure: Figure) -> str:
    is_pictures = isinstance(figure, Pictures)
    content = _pictures(figure) if isinstance(figure, Pictures) else _plot(figure)
    svg = "" if is_pictures else '<button type="button" data-save="svg">SVG</button>'
    hint = "" if is_pictures else (
        '<span class="hint">drag to zoom</span>'
        '<button type="button" class="reset" hidden>whole plot</button>'
    )  # fmt: skip
    wide = " wide" if figure.is_wide else ""
    return (
        f'<div class="card{wide}" data-key="{figure.key}"><h3>{escape(figure.title)}</h3>'
        f'<p class="caption">{escape(figure.caption)}</p>{content}'
        f'<div class="foot"><details><summary>Table</summary>{table_html(figure.table)}</details>'
        f'<div class="tools">{hint}<button type="button" data-save="csv">CSV</button>{svg}</div>'
        "</div></div>"
    )


def _plot(plot: Plot) -> str:
    entries = "".join(
        f'<li><i class="c{colour % N_COLOURS}" style="opacity:{strength:.2g}"></i>'
        f"{escape(label)}</li>"
        for label, colour, strength in plot.legend()
    )
    return (f'<ul class="legend">{entries}</ul>' if entries else "") + plot_svg(plot)


def _pictures(figure: Pictures) -> str:
    parts = []
    for row in figure.rows:
        title = f"<h4>{escape(row.title)}</h4>" if row.title else ""
        height, width = row.panels[0].image.shape[:2]
        broad = " broad" if width > 1.5 * height else ""
        cells = []
        for panel in row.panels:
            bar = "" if panel.bar is None else (
                f'<span class="bar" style="--length:{100 * panel.bar[0]:.2f}%">'
                f"{escape(panel.bar[1])}</span>"
            )  # fmt: skip
            data = base64.b64encode(encode_png(panel.image)).decode("ascii")
            name = escape(f"{row.title} {panel.caption}".strip())
            cells.append(
                f'<figure><img alt="{name}" src="data:image/png;base64,{data}">{bar}'
                f"<figcaption>{escape(panel.caption)}</figcaption></figure>"
            )
        parts.append(
            f'<div class="panel-row">{title}<div class="panels{broad}" '
            f'style="--n:{len(row.panels)}">{"".join(cells)}</div></div>'
        )
    if figure.ramp is not None:
        stops = figure.ramp.colours[:: len(figure.ramp.colours) // 8]
        colours = ",".join(f"rgb({r},{g},{b})" for r, g, b in stops.tolist())
        parts.append(
            f'<div class="ramp">{escape(figure.ramp.low)}<i style="background:'
            f'linear-gradient(90deg,{colours})"></i>{escape(figure.ramp.high)}</div>'
        )
    return "".join(parts)


def _asset(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")
