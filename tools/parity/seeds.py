"""The same sets with other seeds: how much of a difference is chance."""

from __future__ import annotations

import itertools
from typing import Any

from tools.parity.tables import table
from tools.parity.whole_sets import RELIONS_SEED

_TEXT = f"""\
RELION's figures are those of one run, with seed {RELIONS_SEED}. With the same seed clrelion draws
the same half-sets and, in every iteration, the same perturbation of the grids, so its run with seed
{RELIONS_SEED} is the one that is judged above: what is left between the two is rounding, which
grows from iteration to iteration, and what [differences.md](differences.md) lists. Runs with other
seeds are other draws of the same chance; they are shown and not judged. The last column is the
least FSC, up to the resolution, with the map of clrelion's seed {RELIONS_SEED} on the same device.
"""


def seed_section(results: list[dict[str, Any]], pairs: list[dict[str, Any]]) -> list[str]:
    """Figures of every seed beside RELION's, set by set."""
    if all(result["run"]["seed"] == RELIONS_SEED for result in results):
        return []
    lines = ["## How much is chance", "", _TEXT]
    for name, group in itertools.groupby(results, key=lambda result: str(result["set"])):
        runs = sorted(group, key=_place)
        head = _head(runs[0])
        rows = [(run["label"], *_cells(run, "clrelion"), _between(run, pairs)) for run in runs]
        rows.append(("RELION", *_cells(runs[0], "RELION"), ""))
        lines += [f"### {name}", "", *table(("run", *head, "FSC"), rows)]
    return lines


def _place(result: dict[str, Any]) -> tuple[str, int]:
    """Device by device, RELION's seed first."""
    seed = int(result["run"]["seed"])
    return _device(result["label"]), -1 if seed == RELIONS_SEED else seed


def _device(label: str) -> str:
    return label.split("-seed")[0]


def _head(result: dict[str, Any]) -> list[str]:
    n_maps = len(result["maps"].get("with truth", []))
    head = ["resolution, Å", *(f"mean FSC of map {i + 1} with the truth" for i in range(n_maps))]
    if "poses against truth" in result:
        head += ["error of the angle, deg: median, p90", "error of the shift, Å: median, p90"]
    if "truth" in result.get("classes", {}):
        head.append("particles in the right class")
    return head


def _cells(result: dict[str, Any], who: str) -> list[str]:
    cells = [f"{result['spectra']['resolution'][who]:.2f}"]
    key = "with truth" if who == "clrelion" else "RELION's with truth"
    cells += [f"{one['mean']:.4f}" for one in result["maps"].get(key, [])]
    errors = result.get("poses against truth")
    if errors:
        for name in ("angle_deg", "shift_angst"):
            cells.append(", ".join(f"{x:.2f}" for x in errors[who][name]))
    key = "truth" if who == "clrelion" else "RELION's with truth"
    if key in result.get("classes", {}):
        cells.append(str(result["classes"][key]))
    return cells


def _between(result: dict[str, Any], pairs: list[dict[str, Any]]) -> str:
    wanted = {_device(result["label"]), result["label"]}
    for pair in pairs:
        if pair["set"] == result["set"] and set(pair["labels"]) == wanted and len(wanted) == 2:
            return f"{pair['least FSC to resolution']:.3f}"
    return ""
