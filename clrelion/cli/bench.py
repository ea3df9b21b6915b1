"""``clrelion bench``: time named workloads, hold each kernel against what the device can do."""

from __future__ import annotations

import argparse
import datetime
import json
import os
import resource
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from clrelion.bench.ceilings import Ceilings, measure_ceilings
from clrelion.bench.ledger import IterationRecord, LedgerSession
from clrelion.bench.page import page
from clrelion.bench.timeline import timeline
from clrelion.bench.workloads import WORKLOADS, Workload, find_data
from clrelion.cli.arguments import CommandParser
from clrelion.cli.console import complain, setup_logging
from clrelion.cli.parser import parse_refine
from clrelion.cli.simulate import simulate
from clrelion.constants import VERSION
from clrelion.device.choice import choose_device
from clrelion.errors import ClrelionError
from clrelion.refinement.run import run_refinement

_SMALL = "class3d-64,refine-64"


_DESCRIPTION = (
    "Times named workloads step by step and kernel by kernel, beside what the device reaches in "
    "plain loops. Their particles are simulated once and kept in --data."
)
_EXAMPLES = """\
examples:
  # half a minute on a CPU
  clrelion bench --device cpu

  # 5000 particles of 256 px on a GPU, with a timeline of the second iteration
  clrelion bench --device gpu --workloads class3d-256,refine-256 --iterations 5 --timeline 2
"""


def bench(arguments: Sequence[str], program: str = "clrelion bench") -> int:
    """Run the workloads asked for; write bench.json and bench.md, and print the latter.

    Parameters
    ----------
    arguments
        Without the program's name.
    program
        Name for messages.

    Returns
    -------
    int
        0, or 1 with one line on standard error.
    """
    try:
        given = build_parser(program).parse(arguments)
    except ClrelionError as error:
        complain(program, str(error))
        return 1
    names = given.workloads.split(",")
    unknown = [name for name in names if name not in WORKLOADS]
    if unknown:
        complain(program, f"no workload {unknown[0]!r}; there are {', '.join(WORKLOADS)}")
        return 1
    # data first: its processes must not compete with a measurement
    places: dict[str, Path] = {}
    for name in names:
        place = find_data(WORKLOADS[name], given.data, given.j, simulate)
        if place is None:
            expected = given.data / WORKLOADS[name].data
            complain(program, f"{name}: its particles are not in {expected}")
        else:
            places[name] = place
    if not places:
        return 1
    if given.timeline is not None and given.no_kernel_times:
        complain(program, "--timeline needs the times of kernels; drop --no_kernel_times")
        return 1
    setup_logging(verbosity=1 if given.verbose else 0)
    try:
        _run_all(given, places)
    except ClrelionError as error:
        complain(program, str(error))
        return 1
    return 0


def build_parser(program: str = "clrelion bench") -> CommandParser:
    """Make the argument parser."""
    parser = CommandParser(
        prog=program,
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--device", default="cpu", help="as clrelion's [cpu]")
    add("--workloads", default=_SMALL, help=f"of {', '.join(WORKLOADS)} [{_SMALL}]")
    add("--iterations", type=int, help="iterations of each [class3d 5, small forms 3 and 5, "
        "others to convergence]")  # fmt: skip
    add("--data", type=Path, default=Path("bench/data"),
        help="simulated sets are kept here [bench/data]")  # fmt: skip
    add("--out", type=Path, default=Path("bench"),
        help="folder of bench.json and bench.md [bench]")  # fmt: skip
    add("--precision", default="single", choices=("single", "double"))
    add("--options", default="", metavar="'--flag ...'", help="more options for each run")
    add("--no_kernel_times", action="store_true",
        help="times of steps only, not of kernels")  # fmt: skip
    add("--timeline", type=int, metavar="N", help="draw iteration N of each workload, "
        "as timeline-WORKLOAD.svg in --out")  # fmt: skip
    add("--j", type=int, default=len(os.sched_getaffinity(0)), help="processes that simulate")
    add("--verbose", action="store_true", help="show what the runs print")
    return parser


def _run_all(given: argparse.Namespace, places: dict[str, Path]) -> None:
    device = choose_device(given.device)
    times_kernels = not given.no_kernel_times
    ceilings = measure_ceilings(LedgerSession(device, given.precision, times_kernels=False))
    results: dict[str, Any] = {
        "version": VERSION,
        "date": datetime.datetime.now(tz=datetime.timezone.utc).isoformat(timespec="seconds"),
        "device": device.label,
        "driver": device.driver,
        "precision": given.precision,
        "host_cores": len(os.sched_getaffinity(0)),
        "ceilings": asdict(ceilings),
        "workloads": {},
    }
    records: dict[str, list[IterationRecord]] = {}
    given.out.mkdir(parents=True, exist_ok=True)
    for name, place in places.items():
        work = WORKLOADS[name].limited(given.iterations)
        session = LedgerSession(
            device,
            given.precision,
            times_kernels=times_kernels,
            deterministic="--deterministic" in given.options.split(),
        )
        results["workloads"][name], records[name] = _run(work, place, session, given)
        if given.timeline is not None:
            _draw(given, name, records[name], device.label)
        # written after each: a later failure must not take the figures of an earlier one away
        _write(given.out, results, ceilings, records)
    print((given.out / "bench.md").read_text(encoding="utf-8"), end="")


def _draw(
    given: argparse.Namespace, name: str, records: list[IterationRecord], device: str
) -> None:
    if not 0 < given.timeline < len(records):
        n = len(records) - 1
        complain("clrelion bench", f"--timeline {given.timeline}: {name} had {n} iterations")
        return
    text = timeline(
        records[given.timeline], f"{name}, iteration {given.timeline}, {device.split(' (')[0]}"
    )
    (given.out / f"timeline-{name}.svg").write_text(text, encoding="utf-8")


def _run(
    work: Workload, place: Path, session: LedgerSession, given: argparse.Namespace
) -> tuple[dict[str, Any], list[IterationRecord]]:
    output = given.out / work.name
    output.mkdir(parents=True, exist_ok=True)
    words = [*work.command(place, output, given.device), "--precision", given.precision]
    words += given.options.split()
    _forget_peak_memory()
    options = parse_refine(words).options
    session.restart()
    summary = run_refinement(options, " ".join(words), session=session)
    session.ledger.close()
    found = session.ledger.records
    return {
        "command": words,
        "summary": {
            "iterations": summary.iterations,
            "has_converged": summary.has_converged,
            "seconds": summary.seconds,
            "resolution_angst": float(summary.resolution_angst),
            "device_bytes": max(record.device_bytes for record in found),
            "host_bytes": _peak_memory_bytes(),
        },
        "iterations": [record.as_dict() for record in found],
    }, found


def _write(
    folder: Path,
    results: dict[str, Any],
    ceilings: Ceilings,
    records: dict[str, list[IterationRecord]],
) -> None:
    (folder / "bench.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    (folder / "bench.md").write_text(page(results, ceilings, records), encoding="utf-8")


def _forget_peak_memory() -> None:
    """Begin the peak of the resident memory anew, where the kernel lets a process do so."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return


def _peak_memory_bytes() -> int:
    """Peak resident memory of this process."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

