"""Run, measure, write: ``python -m tools.parity`` (``make parity``)."""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from clrelion.constants import VERSION
from clrelion.device.choice import choose_device
from tools.parity.oracle import PROGRAM, as_json, relion_version, run_case
from tools.parity.oracle_cases import ORACLE_CASES, OracleCase
from tools.parity.page import write_page
from tools.parity.relion_spread import RESULTS_NAME, measure_spread
from tools.parity.set_measures import compare_runs, measure_set
from tools.parity.step_agreement import compare_step
from tools.parity.step_runs import STEP_RUNS, StepRun, repeat_run
from tools.parity.whole_sets import PARTICLE_SETS, RELIONS_SEED, record_file, run_set, series
from tools.parity.workplace import FOLDER, REPOSITORY, make_sets, prepare_step_runs


def main() -> int:
    """Do what the command line asks for; 1 if any figure is missed."""
    options = _parse()
    folder: Path = options.folder
    results = folder / "results"
    results.mkdir(parents=True, exist_ok=True)
    if not options.only_write:
        names = _chosen(options.sets, list(PARTICLE_SETS), "--sets")
        steps = _chosen(options.steps, [run.label for run in STEP_RUNS], "--steps")
        if names or any(label.startswith("pol") for label in steps):
            make_sets(folder)
        for run in STEP_RUNS:
            for precision in ("double", "single"):
                if run.label in steps:
                    _do_step_run(run, folder, precision, options.device, options.again)
        _do_oracle(options)
        _do_sets(options, names)
    return 0 if write_page(results, REPOSITORY / "docs" / "parity.md") else 1


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tools.parity", description="Measure clrelion against RELION 5.0.1."
    )
    parser.add_argument("--sets", default="all", help="all, none, or names separated by commas")
    parser.add_argument("--steps", default="all", help="all, none, or names separated by commas")
    parser.add_argument(
        "--oracle", default="all", help="cases beside an installed RELION: all, none, or names"
    )
    parser.add_argument(
        "--seeds",
        type=lambda text: [int(word) for word in text.split(",")],
        default=[RELIONS_SEED, 1, 2, 3],
        help="--random_seed of the sets' runs; that of RELION's is judged, the others show the "
        "spread (default: 42,1,2,3)",
    )
    parser.add_argument("--device", default="cpu", help="as clrelion's --device")
    parser.add_argument("--precision", default="single", choices=("single", "double"))
    parser.add_argument("--label", help="name of this series of runs (default: the device)")
    parser.add_argument("--again", action="store_true", help="repeat runs that are finished")
    parser.add_argument(
        "--only-measure", action="store_true", help="measure finished runs, run no whole set"
    )
    parser.add_argument(
        "--only-write", action="store_true", help="only write docs/parity.md from the results"
    )
    parser.add_argument("--folder", type=Path, default=FOLDER, help="default: %(default)s")
    return parser.parse_args()


def _chosen(text: str, known: list[str], option: str) -> list[str]:
    if text in ("all", "none"):
        return known if text == "all" else []
    names = text.split(",")
    unknown = [name for name in names if name not in known]
    if unknown:
        raise SystemExit(f"{option} {unknown[0]}: not one of {', '.join(known)}")
    return names


def _do_sets(options: argparse.Namespace, names: list[str]) -> None:
    folder: Path = options.folder
    label: str = options.label or options.device.replace(":", "-").replace("/", "-")
    for name, seed in itertools.product(names, options.seeds):
        particle_set, run = PARTICLE_SETS[name], series(label, seed)
        if not options.only_measure:
            print(f"{name}: refinement on {options.device}, seed {seed}", flush=True)
            run_set(
                particle_set, folder, run, seed, options.device, options.precision, options.again
            )
        if not record_file(folder, run, name).is_file():
            print(f"{name}: there is no finished run {run}", file=sys.stderr)
            continue
        _save(folder / "results" / f"set_{name}_{run}.json", measure_set(particle_set, folder, run))
    for name in names:
        labels = sorted(p.parent.parent.name for p in folder.glob(f"runs/*/{name}/finished.json"))
        pairs = [
            compare_runs(PARTICLE_SETS[name], folder, *p) for p in itertools.combinations(labels, 2)
        ]
        _save(folder / "results" / f"runs_{name}_{label}.json", {"pairs": pairs})


def _do_step_run(run: StepRun, folder: Path, precision: str, device: str, again: bool) -> None:
    name = run.label.replace("/", "_")
    path = folder / "results" / f"step_{name}_{precision}.json"
    if path.is_file() and not again:
        return
    print(f"{run.label}: {precision} precision on {device}", flush=True)
    sets = folder / "sets" if run.particle_set == "pol" else None
    place = prepare_step_runs(folder / "steps" / run.particle_set, run.particle_set, sets)
    root = folder / "steps" / precision / name / "run"
    started = time.monotonic()
    repeat_run(run, place, root, precision, device)
    seconds = time.monotonic() - started
    iterations = [compare_step(str(root), str(run.recorded / "run"), i) for i in run.iterations]
    bounds = run.bounds(precision)
    content = {
        "run": run.label,
        "precision": precision,
        "reason": run.relaxation.reason if run.relaxation else "",
        "seconds": seconds,
        "device": choose_device(device).name,
        "iterations": [
            {**step.as_json(), "shortcomings": step.shortcomings(bounds)} for step in iterations
        ],
    }
    _save(path, content)


def _do_oracle(options: argparse.Namespace) -> None:
    names = _chosen(options.oracle, [case.name for case in ORACLE_CASES], "--oracle")
    if names and relion_version() is None:
        print(f"{PROGRAM} is not installed: no runs beside it", file=sys.stderr)
        return
    for case in ORACLE_CASES:
        path = options.folder / "results" / f"{case.results_name}.json"
        if case.name in names and (options.again or not path.is_file()):
            print(f"{case.name}: beside RELION {relion_version()}", flush=True)
            _do_oracle_case(case, options, path)
    if names:
        _do_spread(options)


def _do_spread(options: argparse.Namespace) -> None:
    path = options.folder / "results" / f"{RESULTS_NAME}.json"
    if options.again or not path.is_file():
        print(f"seeds of RELION {relion_version()}", flush=True)
        _save(path, measure_spread(options.folder / "oracle", options.device))


def _do_oracle_case(case: OracleCase, options: argparse.Namespace, path: Path) -> None:
    started = time.monotonic()
    result = run_case(case, options.folder / "oracle", options.device)
    content = {
        **as_json(case, result),
        "seconds": time.monotonic() - started,
        "device": choose_device(options.device).name,
    }
    _save(path, content)


def _save(path: Path, content: dict[str, Any]) -> None:
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    ).stdout.strip()
    origin = {
        "version": VERSION,
        "commit": commit,
        "date": time.strftime("%Y-%m-%d"),
        "python": platform.python_version(),
    }
    temporary = path.with_suffix(".part")
    temporary.write_text(json.dumps({**content, "origin": origin}, indent=1) + "\n", "utf-8")
    os.replace(temporary, path)


if __name__ == "__main__":
    raise SystemExit(main())
