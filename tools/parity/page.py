"""Write docs/parity.md from the results; every figure in it is read, none is written by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tools.parity.acceptance import Verdict, had_the_cpus_to_itself, verdicts
from tools.parity.bounds import BOUNDS
from tools.parity.oracle_cases import DIFFERENCES, ORACLE_CASES
from tools.parity.relion_spread import RESULTS_NAME, spread_section
from tools.parity.seeds import seed_section
from tools.parity.step_runs import STEP_RUNS
from tools.parity.tables import table
from tools.parity.whole_sets import PARTICLE_SETS, RELIONS_SEED
from tools.parity.workplace import SHARED

_HEAD = """\
# Parity with RELION 5.0.1

<!-- Made by `python -m tools.parity` from parity/results; do not edit. -->

`make parity` runs clrelion on the test sets and the step-by-step runs whose answers by RELION
5.0.1 are recorded, and beside a RELION that is installed, measures all with the same code, and
writes this page.
"""

_HOW = """\
## How it is measured

- *Angle* between two poses: of the rotation that takes one to the other, smallest over the
  symmetry mates. *Shift*: length of the difference of the origins.
- *FSC* of two maps: both multiplied with a sphere of radius {radius:g} Å with a raised-cosine edge
  of 5 px outside it; shells are the rounded radii. *Mean*: over the shells from 1 to N/2, each
  counting once. *Near Nyquist*: shell N/2-1, the last one that the box holds whole. This is the
  definition with which RELION's figures for the test sets come out to all digits given for them;
  a hard edge, or Nyquist itself, gives others.
- sigma2_noise: |clrelion/RELION - 1| over all shells but the origin; tau2: over the shells up to
  the resolution of the worse map. With one seed both programs have the same half-sets.
- A deviation of one unit in the last digit that the STAR files hold counts as none in the
  step-by-step runs. Relative: norm, log-likelihood, sigma2_noise, tau2, data_vs_prior,
  sigma_offset, accuracy, and maps (L2); absolute: all others.
"""


def write_page(results: Path, page: Path) -> bool:
    """Write the page.

    Parameters
    ----------
    results
        Folder with the results, one JSON file each.
    page
        File to write.

    Returns
    -------
    bool
        Every figure is met.
    """
    sets = [result for name in PARTICLE_SETS for result in _read(results, f"set_{name}_*.json")]
    steps = [
        result
        for precision in ("double", "single")
        for run in STEP_RUNS
        for result in _read(results, f"step_{run.label.replace('/', '_')}_{precision}.json")
    ]
    oracle = [
        result for case in ORACLE_CASES for result in _read(results, f"{case.results_name}.json")
    ]
    pairs = [p for name in PARTICLE_SETS for r in _read(results, f"runs_{name}_*.json")
             for p in r["pairs"]]  # fmt: skip
    all_seeds = sets
    sets = [result for result in sets if result["run"]["seed"] == RELIONS_SEED]
    judged = [(result, verdicts(result)) for result in sets]
    lines = [_HEAD, *_acceptance(judged), *seed_section(all_seeds, pairs)]
    spread = _read(results, f"{RESULTS_NAME}.json")
    lines += [*spread_section(spread), *_step_section(steps), *_oracle_section(oracle)]
    for result in sets:
        lines += _set_section(result)
    lines += _device_section(pairs)
    if sets:
        lines.append(_HOW.format(radius=sets[0]["maps"]["radius"]))
    lines += _origin([*all_seeds, *spread, *steps, *oracle])
    page.write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")
    missed = [v for _, found in judged for v in found if not v.passes]
    return not missed and not any(_shortcomings(step) for step in [*steps, *oracle])


def _read(results: Path, pattern: str) -> list[dict[str, Any]]:
    return [json.loads(path.read_text("utf-8")) for path in sorted(results.glob(pattern))]


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.3f}"


def _acceptance(judged: list[tuple[dict[str, Any], list[Verdict]]]) -> list[str]:
    rows = [
        (
            result["set"],
            result["label"],
            verdict.issue,
            verdict.what,
            _number(verdict.found),
            _number(verdict.limit),
            "met" if verdict.passes else "**missed**",
        )
        for result, found in judged
        for verdict in found
    ]
    head = ("set", "run", "issue", "asked for", "found", "bound", "")
    return ["## What was asked for", "", *table(head, rows)]


def _shortcomings(step: dict[str, Any]) -> list[str]:
    if "shortcomings" in step:
        return list(step["shortcomings"])
    return [text for iteration in step["iterations"] for text in iteration["shortcomings"]]


def _judgement(step: dict[str, Any]) -> str:
    missed = _shortcomings(step)
    if missed:
        return "**missed**: " + "; ".join(missed)
    return "met, as explained below" if step["reason"] else "met"


def _step_section(steps: list[dict[str, Any]]) -> list[str]:
    if not steps:
        return []
    reasons = {step["run"]: step["reason"] for step in steps if step["reason"]}
    return [
        "## Iteration by iteration",
        "",
        "RELION's recorded runs, repeated from the start with its own commands; `@1`: iteration 2",
        "alone, from RELION's own files of iteration 1 (and, where its map was not recorded,",
        "clrelion's own in its place). Largest deviations. Asked for in double precision, then in",
        "single: "
        + "; ".join(
            f"{100 * b.poses:.0f} % of the poses, Pmax {b.pmax:.0e}, maps {b.maps:.0e}, "
            f"all else {b.numbers:.0e}"
            for b in (BOUNDS["double"], BOUNDS["single"])
        )
        + ".",
        "",
        *_step_table(steps),
        *(f"- `{run}`: {reason}." for run, reason in reasons.items()),
        "",
    ]


def _step_table(steps: list[dict[str, Any]], with_options: bool = False) -> list[str]:
    rows = []
    for step in steps:
        iterations = step["iterations"]
        rows.append(
            (
                step["run"],
                step["precision"],
                ", ".join(str(i["iteration"] or "converged") for i in iterations),
                f"{100 * min(i['poses_equal'] for i in iterations):.2f} %",
                *(_largest(iterations, kind, name) for kind, name in _STEP_COLUMNS),
                *([_without(step)] if with_options else []),
                f"{step['seconds']:.1f}",
                _judgement(step),
            )
        )
    names = [name or kind for kind, name in _STEP_COLUMNS]
    if with_options:
        names.append("without")
    return table(("run", "precision", "iterations", "poses equal", *names, "s", ""), rows)


def _without(case: dict[str, Any]) -> str:
    """How clrelion compares with RELION if it is not given the option of the case."""
    steps = case["without"]
    if not steps:
        return ""
    maps = max((x for step in steps for x in step["maps"].values()), default=0.0)
    poses = 100 * min(step["poses_equal"] for step in steps)
    return f"{poses:.0f} %, " + ("other maps" if maps == float("inf") else f"{maps:.0e}")


def _oracle_section(cases: list[dict[str, Any]]) -> list[str]:
    if not cases:
        return []
    versions = " and ".join(sorted({case["relion"] for case in cases}))
    notes = []
    for case in cases:
        if case["reason"]:
            left_out = {name for i in case["iterations"] for name in i["left out"]}
            figures = ", ".join(
                f"{name} {max(i['left out'].get(name, 0.0) for i in case['iterations']):.0e}"
                for name in sorted(left_out)
            )
            notes.append(f"- `{case['run']}`: {case['reason']}. Largest deviations of what was "
                         f"left out: {figures}.")  # fmt: skip
    return [
        f"## Beside RELION {versions}, run here",
        "",
        "Sets made by `clrelion simulate`, refined by both programs in double precision: as a rule",
        "a cross-correlation iteration, then expectation-maximization, without perturbation of the",
        "grids. The bounds are those of the recorded runs. A pose counts as equal if a symmetry",
        "mate is. A run named after an option is judged twice: with it clrelion must agree with",
        "RELION, and without it (for RELION has it still) clrelion must not: the column *without*",
        "says how many particles have RELION's pose then, and how far the maps are.",
        f"Where {versions} and 5.0.1 differ, nothing is judged:",
        "",
        *(f"- {text}" for text in DIFFERENCES),
        "",
        *_step_table(cases, with_options=True),
        *notes,
        "",
    ]


_STEP_COLUMNS = (
    ("model", "sigma2_noise"),
    ("model", "tau2"),
    ("model", "data_vs_prior"),
    ("particles", "norm"),
    ("model", "scale"),
    ("particles", "pmax"),
    ("particles", "log-likelihood"),
    ("maps", ""),
)


def _largest(iterations: list[dict[str, Any]], kind: str, name: str) -> str:
    values = [
        value for i in iterations for key, value in i[kind].items() if not name or key == name
    ]
    return f"{max(values):.0e}" if values else "-"


def _set_section(result: dict[str, Any]) -> list[str]:
    run = result["run"]
    lines = [
        f"## {result['set']}, run {result['label']}",
        "",
        f"{result['n_particles']} particles; {run['precision']} precision on {run['device']} "
        f"({run['driver']}, {run['n_cpus']} CPU cores): {_run_time(run)}. "
        f"`clrelion refine {run['arguments']}`",
        "",
    ]
    own, relion = (result["iterations"][name] for name in ("clrelion", "RELION"))
    n = max(len(own), len(relion))
    rows = [(i, *_course_cells(own, i), *_course_cells(relion, i)) for i in range(n)]
    columns = ("resolution, Å", "size, px", "HEALPix order", "offset range, step, Å")
    lines += table(("iteration", *columns, *(f"RELION's {c}" for c in columns)), rows)
    lines += table(("", "clrelion", "RELION"), _figure_rows(result))
    return [*lines, *_spread(result["set"])]


def _run_time(run: dict[str, Any]) -> str:
    text = f"{run['seconds']:.0f} s"
    if run["device_kind"] == "cpu" and not had_the_cpus_to_itself(run):
        text += f", {run['cpu_seconds']:.0f} s of CPU time: other work ran, so it is not judged"
    return text


def _course_cells(course: list[dict[str, Any]], i: int) -> tuple[str, str, str, str]:
    if i >= len(course):
        return ("", "", "", "")
    line = course[i]
    resolution = "-" if line["resolution"] is None else f"{line['resolution']:.2f}"
    sampling = line.get("sampling")
    order = offsets = "-"
    if sampling:
        order = str(sampling["healpix_order"])
        offsets = f"{sampling['offset_range']:.2f}, {sampling['offset_step']:.2f}"
    return (resolution, str(line["current_size"]), order, offsets)


def _figure_rows(result: dict[str, Any]) -> list[tuple[str, str, str]]:
    spectra, maps = result["spectra"], result["maps"]
    resolutions = (f"{spectra['resolution'][name]:.2f}" for name in ("clrelion", "RELION"))
    rows = [_row("resolution, Å", *resolutions)]
    errors = result.get("poses against truth")
    if errors:
        for key, name in (("angle_deg", "angle, deg"), ("shift_angst", "shift, Å")):
            cells = [", ".join(f"{x:.2f}" for x in errors[who][key]) for who in errors]
            rows.append(_row(f"error of the {name}: median, p90", *cells))
    for i, own in enumerate(maps.get("with truth", [])):
        other = maps["RELION's with truth"][i]
        for key in ("mean", "near Nyquist"):
            name = f"FSC of map {i + 1} with the truth, {key}"
            rows.append(_row(name, f"{own[key]:.4f}", f"{other[key]:.4f}"))
    classes = result.get("classes", {})
    if "truth" in classes:
        right = (str(classes[key]) for key in ("truth", "RELION's with truth"))
        rows.append(_row("particles in the right class", *right))
    return [*rows, *_between_rows(result)]


def _row(name: str, own: str, relion: str = "") -> tuple[str, str, str]:
    return (name, own, relion)


def _between_rows(result: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Figures between the two programs; they stand in clrelion's column."""
    rows = []
    for i, own in enumerate(result["maps"]["with RELION"]):
        shell = result["spectra"]["shell"]["clrelion"]
        name = f"FSC of map {i + 1} with RELION's"
        least = min(own["curve"][1 : shell + 1])
        rows += [
            _row(f"{name}, mean", f"{own['mean']:.4f}"),
            _row(f"{name}, at the resolution found", f"{own['curve'][shell]:.4f}"),
            _row(f"{name}, least up to the resolution found", f"{least:.4f}"),
        ]
    between = result["poses against RELION"]
    for key, name in (("angle_deg", "angle, deg"), ("shift_angst", "shift, Å")):
        cell = ", ".join(f"{x:.2f}" for x in between[key])
        rows.append(_row(f"difference of the {name} to RELION's: median, p99", cell))
    if "classes" in result:
        rows.append(_row("particles in RELION's class", str(result["classes"]["RELION"])))
    for name in ("sigma2_noise", "tau2"):
        figures = result["spectra"][name]
        cell = f"{100 * figures['median']:.2f} %, {100 * figures['largest']:.2f} %"
        rows.append(_row(f"deviation of {name} from RELION's: median, largest", cell))
    return rows


def _spread(name: str) -> list[str]:
    """Quote what the README of the test sets says on RELION's own spread, if it does."""
    text = (SHARED / "data" / "README.md").read_text(encoding="utf-8")
    for paragraph in text.split("\n\n"):
        if f"seeds of {name}" in paragraph:
            return ["RELION's own spread, from the README of the test sets:", "",
                    *(f"> {line}" for line in paragraph.splitlines()), ""]  # fmt: skip
    return []


def _device_section(pairs: list[dict[str, Any]]) -> list[str]:
    same_seed = [
        pair for pair in pairs if len({name.partition("-seed")[2] for name in pair["labels"]}) == 1
    ]
    if not same_seed:
        return []
    rows = [
        (
            pair["set"],
            " and ".join(pair["labels"]),
            f"{pair['resolution']:.2f}",
            f"{pair['least FSC to resolution']:.4f}",
        )
        for pair in same_seed
    ]
    head = ("set", "runs", "resolution, Å", "least FSC up to it")
    return ["## Runs against each other", "", *table(head, rows)]


def _origin(results: list[dict[str, Any]]) -> list[str]:
    found = {
        (o["version"], o["commit"], o["date"], o["python"]) for r in results for o in [r["origin"]]
    }
    head = ("clrelion", "commit", "measured on", "Python")
    return ["## Where the figures come from", "", *table(head, sorted(found))]
