"""Time the demo's refinement on one or more devices: ``make bench ARGUMENTS="--device gpu"``.

Each device does one run more than it is asked for: the first one compiles the kernels and is shown
by itself. The others are summed up by the rows of the time tables.
"""

from __future__ import annotations

import argparse
import re
import shlex
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
OUTPUT = ROOT / "bench"
_ROW = re.compile(r"^(\S.*?) +(\d+\.\d{3})(?: +\d+\.\d%.*)?$", re.MULTILINE)
_RESOLUTION = re.compile(r"^Final resolution: (\S+) A$", re.MULTILINE)
ROWS = ("getImg", "getDiff", "convert", "store", "accuracies", "maximization", "others")


@dataclass(frozen=True)
class Timing:
    """One run.

    Attributes
    ----------
    seconds
        Wall time of the process.
    rows
        Seconds of each row of the time tables, summed over iterations.
    resolution
        Å, as printed.
    """

    seconds: float
    rows: dict[str, float]
    resolution: str


def demo_command() -> list[str]:
    """Options of the refinement in the Makefile's rule ``demo``, but --o and --device."""
    rule = (ROOT / "Makefile").read_text(encoding="utf-8").replace("\\\n", " ")
    line = next(line for line in rule.splitlines() if "clrelion_refine --o" in line)
    words = shlex.split(line.split("clrelion_refine", 1)[1])
    return words[words.index("--i") :]


def rows_of(log: str) -> dict[str, float]:
    """Sum the rows of all time tables of a run's log."""
    seconds = dict.fromkeys(ROWS, 0.0)
    for name, value in _ROW.findall(log):
        if name in seconds:
            seconds[name] += float(value)
    return seconds


def run_once(device: str, command: list[str]) -> Timing:
    """Refine once; the files of the run before are overwritten.

    Raises
    ------
    SystemExit
        The run failed.
    """
    full = [sys.executable, "-m", "clrelion", "refine", "--o", str(OUTPUT / "run"), *command]
    started = time.perf_counter()
    ended = subprocess.run(
        [*full, "--device", device], cwd=ROOT, capture_output=True, text=True, check=False
    )
    seconds = time.perf_counter() - started
    if ended.returncode != 0:
        raise SystemExit(ended.stderr or f"{shlex.join(full)}: exit code {ended.returncode}")
    found = _RESOLUTION.search(ended.stdout)
    return Timing(seconds, rows_of(ended.stdout), found[1] if found else "-")


def main() -> int:
    """Time the devices asked for and print one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", action="append", help="as clrelion's; may be repeated")
    parser.add_argument("--repeats", type=int, default=3, help="runs after the first (default: 3)")
    options = parser.parse_args()
    if options.repeats < 1:
        parser.error("--repeats must be at least 1")
    OUTPUT.mkdir(exist_ok=True)
    print("| device | first run (s) | then (s) | " + " | ".join(ROWS) + " | resolution (Å) |")
    print("|---" * (len(ROWS) + 4) + "|")
    for device in options.device or ["cpu"]:
        first, *others = (run_once(device, demo_command()) for _ in range(options.repeats + 1))
        means = [statistics.mean(other.rows[row] for other in others) for row in ROWS]
        cells = [
            device,
            f"{first.seconds:.1f}",
            f"{statistics.mean(other.seconds for other in others):.1f}",
            *(f"{mean:.2f}" for mean in means),
            ", ".join(sorted({other.resolution for other in others})),
        ]
        print("| " + " | ".join(cells) + " |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
