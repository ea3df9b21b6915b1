"""`clrelion bench` that also knows the sets of `tools.parity`.

Usage: python tools/bench_parity_sets.py --workloads polii64,betagal80 ...
"""

import sys
from pathlib import Path

# run as a file, not as a module, and clrelion need not be installed
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from clrelion.bench.workloads import WORKLOADS, Workload
from clrelion.cli.bench import bench
from tools.parity.whole_sets import PARTICLE_SETS, RELIONS_SEED
from tools.parity.workplace import REPOSITORY, SHARED


def add_sets() -> None:
    """Add the sets of particles to the workloads."""
    for found in PARTICLE_SETS.values():
        places = [SHARED / "data" / found.name]
        if found.name == "betagal80":
            places.append(REPOSITORY / "examples" / "betagal")
        WORKLOADS[found.name] = Workload(
            found.name, found.name, " ".join(found.arguments(RELIONS_SEED)), None, tuple(places)
        )


if __name__ == "__main__":
    add_sets()
    sys.exit(bench(sys.argv[1:], "bench"))
