"""A picture of one iteration: which kernel the device ran when, and when it had nothing to do."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from clrelion.bench.ledger import IterationRecord, Launch

EXPECTATION_ROWS = ("getImg", "getDiff", "convert", "store", "set-up")
_LANES = (*EXPECTATION_ROWS, "accuracies", "maximization", "others")
_COLOURS = (
    *("#3b6ea5", "#d1793f", "#4f9d69", "#a05195", "#c2a83e"),
    *("#8d6e63", "#6b7a8f", "#b0b0b0"),
)
_WIDTH, _LEFT, _LANE, _TOP = 1200, 110, 26, 46
_TICKS = 10


def busy_seconds(launches: Sequence[Launch]) -> float:
    """Seconds in which at least one of the launches ran."""
    total, end = 0.0, -1.0
    for launch in sorted(launches, key=lambda one: one.start):
        total += max(0.0, launch.end - max(launch.start, end))
        end = max(end, launch.end)
    return total


def busy_share(record: IterationRecord) -> float:
    """Part of the wall time of the expectation step in which the device ran a kernel."""
    wall = sum(record.rows.get(row, 0.0) for row in EXPECTATION_ROWS)
    ran = busy_seconds([one for one in record.timeline if one.row in EXPECTATION_ROWS])
    return ran / wall if wall > 0 else 0.0


def timeline(record: IterationRecord, title: str) -> str:
    """Draw the launches of an iteration as SVG, a lane for each row of the time table.

    Parameters
    ----------
    record
        With the launches of its timeline.
    title
        What was run, and on what.
    """
    launches = record.timeline
    if not launches:
        raise ValueError("no launch was timed: the session needs a profiling queue")
    first = min(one.start for one in launches)
    span = max(one.end for one in launches) - first
    scale = (_WIDTH - _LEFT - 20) / span
    height = _TOP + len(_LANES) * _LANE + 40
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{_WIDTH}" height="{height}" fill="white"/>',
        f'<text x="10" y="18" font-size="14">{escape(title)}</text>',
        f'<text x="10" y="36">device busy {100 * busy_share(record):.0f} % of the expectation '
        f"step; {len(launches)} launches</text>",
    ]
    for lane, row in enumerate(_LANES):
        y = _TOP + lane * _LANE
        fill = "#f4f4f4" if lane % 2 == 0 else "#ffffff"
        parts.append(f'<rect x="0" y="{y}" width="{_WIDTH}" height="{_LANE}" fill="{fill}"/>')
        parts.append(f'<text x="10" y="{y + 17}">{row}</text>')
    for one in launches:
        lane = _LANES.index(one.row) if one.row in _LANES else len(_LANES) - 1
        x = _LEFT + (one.start - first) * scale
        width = max(0.15, (one.end - one.start) * scale)
        parts.append(
            f'<rect x="{x:.2f}" y="{_TOP + lane * _LANE + 4}" width="{width:.2f}" '
            f'height="{_LANE - 8}" fill="{_COLOURS[lane]}"><title>{escape(one.name)} '
            f"{1e3 * (one.end - one.start):.3f} ms</title></rect>"
        )
    bottom = _TOP + len(_LANES) * _LANE
    for tick in range(_TICKS + 1):
        x = _LEFT + tick / _TICKS * span * scale
        parts.append(
            f'<line x1="{x:.1f}" y1="{_TOP}" x2="{x:.1f}" y2="{bottom + 4}" stroke="#d0d0d0"/>'
            f'<text x="{x:.1f}" y="{bottom + 18}" text-anchor="middle">'
            f"{1e3 * tick / _TICKS * span:.0f}</text>"
        )
    parts.append(f'<text x="{_WIDTH - 20}" y="{bottom + 34}" text-anchor="end">ms</text></svg>')
    return "\n".join(parts) + "\n"
