"""Time named workloads and hold each kernel against what the device can do.

python tools/bench.py --device gpu --workloads class3d-256,refine-256 --iterations 5 --out DIR
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import resource
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

# run as a file, not as a module, and clrelion need not be installed
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from clrelion.cli.console import complain, setup_logging
from clrelion.cli.parser import parse_refine
from clrelion.constants import VERSION
from clrelion.device.choice import choose_device
from clrelion.errors import ClrelionError
from clrelion.refinement.run import run_refinement
from tools.bench_ceilings import Ceilings, measure_ceilings
from tools.bench_ledger import IterationRecord, LedgerSession
from tools.bench_page import page
from tools.bench_timeline import timeline
from tools.bench_workloads import WORKLOADS, Workload, find_data

ROOT = Path(__file__).resolve().parents[1]
_SMALL = "class3d-64,refine-64"


def main() -> int:
    """Run the workloads asked for; write bench.json and bench.md, and print the latter."""
    given = _parse()
    names = given.workloads.split(",")
    unknown = [name for name in names if name not in WORKLOADS]
    if unknown:
        complain("bench", f"no workload {unknown[0]!r}; there are {', '.join(WORKLOADS)}")
        return 1
    # data first: its processes must not compete with a measurement
    places: dict[str, Path] = {}
    for name in names:
        place = find_data(WORKLOADS[name], given.data, given.j)
        if place is None:
            complain("bench", f"{name}: its particles are neither in --data nor in ../shared/data")
        else:
            places[name] = place
    if not places:
        return 1
    if given.timeline is not None and given.no_kernel_times:
        complain("bench", "--timeline needs the times of kernels; drop --no_kernel_times")
        return 1
    setup_logging(verbosity=1 if given.verbose else 0)
    try:
        _run_all(given, places)
    except ClrelionError as error:
        complain("bench", str(error))
        return 1
    return 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    add = parser.add_argument
    add("--device", default="cpu", help="as clrelion's [cpu]")
    add("--workloads", default=_SMALL, help=f"of {', '.join(WORKLOADS)} [{_SMALL}]")
    add("--iterations", type=int, help="iterations of each [class3d 5, small forms 3 and 5, "
        "others to convergence]")  # fmt: skip
    add("--data", type=Path, default=ROOT / "bench" / "data", help="simulated sets are kept here")
    add("--out", type=Path, default=ROOT / "bench", help="folder of bench.json and bench.md")
    add("--precision", default="single", choices=("single", "double"))
    add("--options", default="", metavar="'--flag ...'", help="more options for each run")
    add("--no_kernel_times", action="store_true",
        help="no profiling queue: steps only, undisturbed")  # fmt: skip
    add("--timeline", type=int, metavar="N", help="draw iteration N of each workload, "
        "as timeline-WORKLOAD.svg in --out")  # fmt: skip
    add("--j", type=int, default=len(os.sched_getaffinity(0)), help="processes that simulate")
    add("--verbose", action="store_true", help="show what the runs print")
    return parser.parse_args()


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
        session = LedgerSession(device, given.precision, times_kernels=times_kernels)
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
        complain("bench", f"--timeline {given.timeline}: {name} had {len(records) - 1} iterations")
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


if __name__ == "__main__":
    sys.exit(main())
