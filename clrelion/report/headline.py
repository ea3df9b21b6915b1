"""What stands on top of a report: kind and state of the run, and its few important numbers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from clrelion.io.journal import FINAL_ITERATION
from clrelion.report.duration import duration
from clrelion.report.progress_figures import UNKNOWN_FROM, accuracy
from clrelion.report.run_record import RunRecord

__all__ = ["Headline", "headline"]

Tile = tuple[str, str, str]
"""Name, value, note."""


@dataclass(frozen=True)
class Headline:
    """Text on top of the page.

    Attributes
    ----------
    name
        Last part of the output root, for names of files.
    title, kind, facts
        Heading, the line over it and the line under it.
    state
        Chip beside the heading; empty if the files do not tell.
    is_running, is_good
        Whether the run goes on, and whether it reached its end.
    n_warnings
        How many there are.
    tiles
        The important numbers, the most important one first.
    """

    name: str
    title: str
    kind: str
    facts: str
    state: str
    is_running: bool
    is_good: bool
    n_warnings: int
    tiles: tuple[Tile, ...]


def headline(run: RunRecord) -> Headline:
    """Read the headline off a run's files."""
    model, optimiser = run.last.model, run.last.optimiser
    is_auto = _is_auto_refine(run)
    program = optimiser.program.replace(" optimiser; version", "") if optimiser else ""
    kind = "3D auto-refine" if is_auto else "3D classification"
    state, is_good = _state(run)
    sampling = next((r.sampling for r in reversed(run.iterations) if r.sampling), None)
    facts = [
        f"box {model.ori_size} px of {model.pixel_size_angst:.4g} Å",
        f"Nyquist {2 * model.pixel_size_angst:.4g} Å",
    ]
    if sampling is not None:
        facts.append(f"symmetry {sampling.symmetry}")
    facts.append(str(Path(run.root).parent))
    tiles = [_resolution(run, is_auto), _particles(run), _classes(run), _iteration(run)]
    tiles += [tile for tile in (_accuracy(run), _time(run)) if tile is not None]
    return Headline(
        name=Path(run.root).name,
        title=_title(run.root),
        kind=f"{kind} · {program}" if program else kind,
        facts=" · ".join(facts),
        state=state,
        is_running=run.state == "running",
        is_good=is_good,
        n_warnings=len(run.warnings),
        tiles=tuple(tiles),
    )


def _title(root: str) -> str:
    """Job and root: ``Refine3D/job012/run``, at most three parts."""
    return "/".join(Path(root).parts[-3:]).lstrip("/")


def _is_auto_refine(run: RunRecord) -> bool:
    if run.last.optimiser is not None:
        return run.last.optimiser.do_auto_refine
    return any(np.any(r.model.fsc_halves[0][1:] != 0) for r in run.iterations)


def _state(run: RunRecord) -> tuple[str, bool]:
    if run.last.iteration is None:
        return "converged", True
    optimiser = run.last.optimiser
    is_complete = (
        optimiser is not None
        and not optimiser.do_auto_refine
        and run.last.iteration >= optimiser.n_iterations
    )
    if run.state == "running" and not is_complete:
        return "running", False
    if is_complete:
        return "complete", True
    return ("not converged" if _is_auto_refine(run) else "not complete") if run.state else "", False


def _resolution(run: RunRecord, is_auto: bool) -> Tile:
    value = run.last.model.current_resolution_angst
    text = f"{value:.2f} Å" if np.isfinite(value) and value < UNKNOWN_FROM else "–"
    if is_auto:
        return "Resolution", text, "gold-standard FSC 0.143, no mask"
    return "Resolution", text, "signal-to-noise ratio 1, best class"


def _particles(run: RunRecord) -> Tile:
    table = run.particles
    if table is None:
        n = int(run.last.model.group_n_particles.sum())
        split = bool(run.last.maps) and "_half1_" in run.last.maps[0]
        return "Particles", f"{n:,}", "in half-set 1" if split else ""
    halves = [int(np.count_nonzero(table.random_subset == h)) for h in (1, 2)]
    n_done = run.journal.iterations[-1].n_particles if run.journal and run.journal.iterations else 0
    if 0 < n_done < table.n:
        return "Particles", f"{table.n:,}", f"{table.n - n_done:,} left out of the last iteration"
    return "Particles", f"{table.n:,}", f"{halves[0]:,} + {halves[1]:,} in halves" if all(halves) \
        else ""  # fmt: skip


def _classes(run: RunRecord) -> Tile:
    sizes = run.last.model.pdf_class
    note = f"largest {100 * sizes.max():.1f} %" if len(sizes) > 1 else ""
    return "Classes", str(len(sizes)), note


def _iteration(run: RunRecord) -> Tile:
    numbered = [r.iteration for r in run.iterations if r.iteration is not None]
    last = max(numbered, default=0)
    optimiser = run.last.optimiser
    size = run.last.model.current_size
    note = f"image size {size} px" if size else ""
    if run.last.iteration is None:
        return "Iterations", str(last + 1), "the last one with all data"
    if optimiser is not None and not optimiser.do_auto_refine:
        return "Iteration", f"{last} of {optimiser.n_iterations}", note
    return "Iteration", str(last), note


def _accuracy(run: RunRecord) -> Tile | None:
    for record in reversed(run.iterations):
        angle, shift = accuracy(record)
        if np.isfinite(angle) and np.isfinite(shift):
            return "Expected accuracy", f"{angle:.2f}°", f"and {shift:.2f} Å"
    return None


def _time(run: RunRecord) -> Tile | None:
    entries = run.journal.iterations if run.journal else []
    if not entries:
        return None
    seconds = sum(entry.seconds for entry in entries)
    last = "the last" if entries[-1].number != FINAL_ITERATION else "the final one"
    return "Time", duration(seconds), f"{duration(entries[-1].seconds)} for {last}"
