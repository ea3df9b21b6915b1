"""The whole sets of particles (``data/README.md``) and their commands; running one of them."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from clrelion.constants import VERSION
from clrelion.device.choice import choose_device
from tools.parity.workplace import REPOSITORY, SHARED

_COMMON = (
    "--ctf --flatten_solvent --zero_mask --oversampling 1 --healpix_order 2 --offset_range 5 "
    "--offset_step 2 --norm --scale --pad 2 --firstiter_cc "
    "--dont_combine_weights_via_disc --pool 30"
)
RELIONS_SEED = 42
"""Of the recorded runs. With it clrelion draws the same half-sets and the same grids."""
_AUTO = (
    "--auto_refine --split_random_halves --auto_local_healpix_order 4 --low_resol_join_halves 40"
)


@dataclass(frozen=True)
class ParticleSet:
    """One set of particles and how RELION refined it.

    Attributes
    ----------
    name
        Its folder.
    symmetry
        Point group.
    own_arguments
        What its command has beside the common part.
    n_classes
        K.
    last_iteration
        Of a classification; None for auto-refine, which ends by itself.
    """

    name: str
    symmetry: str
    own_arguments: str
    n_classes: int = 1
    last_iteration: int | None = None

    def arguments(self, seed: int) -> list[str]:
        """The command without ``--o``; run it in the set's folder."""
        own = f"--i particles.star {self.own_arguments} --sym {self.symmetry}"
        return f"{own} {_COMMON} --random_seed {seed}".split()

    @property
    def relion_root(self) -> str:
        """Root of RELION's output files."""
        return str(SHARED / "data" / self.name / "relion5" / "run")


PARTICLE_SETS = {
    found.name: found
    for found in (
        ParticleSet(
            "betagal80", "D2", f"--ref ref.mrc --particle_diameter 200 --ini_high 40 {_AUTO}"
        ),
        ParticleSet(
            "polii64", "C1", f"--ref ref01_40A.mrc --particle_diameter 200 --ini_high 50 {_AUTO}"
        ),
        ParticleSet(
            "trpv1_96", "C4", f"--ref ref01_40A.mrc --particle_diameter 170 --ini_high 40 {_AUTO}"
        ),
        ParticleSet(
            "polii_k2_64",
            "C1",
            "--ref refs.star --particle_diameter 200 --ini_high 50 --iter 25 --tau2_fudge 4 --K 2",
            n_classes=2,
            last_iteration=25,
        ),
    )
}


def output_root(folder: Path, label: str, name: str) -> Path:
    """Root of clrelion's output files for a set."""
    return folder / "runs" / label / name / "run"


def record_file(folder: Path, label: str, name: str) -> Path:
    """File that a finished run leaves behind."""
    return output_root(folder, label, name).with_name("finished.json")


def series(label: str, seed: int) -> str:
    """Name of the series of runs with a seed."""
    return label if seed == RELIONS_SEED else f"{label}-seed{seed}"


def _cpu_seconds() -> float:
    """Processor time of the programs that have been started and have ended."""
    found = resource.getrusage(resource.RUSAGE_CHILDREN)
    return found.ru_utime + found.ru_stime


def run_set(
    particle_set: ParticleSet,
    folder: Path,
    label: str,
    seed: int,
    device: str,
    precision: str,
    again: bool,
) -> None:
    """Refine a set, unless that has been done.

    Parameters
    ----------
    particle_set
        The set.
    folder
        Parity folder; the sets are in its ``sets``.
    label
        Name of this series of runs (``series``).
    seed
        ``--random_seed``.
    device, precision
        Of clrelion.
    again
        Also if it has been done.

    Raises
    ------
    RuntimeError
        The refinement failed; the message names its log.
    """
    record = record_file(folder, label, particle_set.name)
    if record.is_file() and not again:
        return
    root = output_root(folder, label, particle_set.name).resolve()
    root.parent.mkdir(parents=True, exist_ok=True)
    record.unlink(missing_ok=True)
    chosen = choose_device(device)
    arguments = [*particle_set.arguments(seed), "--precision", precision, "--device", device]
    command = [sys.executable, "-m", "clrelion", "refine", "--o", str(root), *arguments]
    log = root.with_name("log")
    path = os.pathsep.join(p for p in (str(REPOSITORY), os.environ.get("PYTHONPATH")) if p)
    used = _cpu_seconds()
    started = time.monotonic()
    with open(log, "w", encoding="utf-8") as out:
        ended = subprocess.run(
            command,
            cwd=folder / "sets" / particle_set.name,
            env={**os.environ, "PYTHONPATH": path},
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    seconds = time.monotonic() - started
    if ended.returncode:
        raise RuntimeError(f"{particle_set.name}: the refinement failed; see {log}")
    content = {
        "seconds": seconds,
        "cpu_seconds": _cpu_seconds() - used,
        "device": chosen.name,
        "device_kind": chosen.kind,
        "driver": chosen.driver,
        "n_cpus": os.cpu_count(),
        "precision": precision,
        "seed": seed,
        "version": VERSION,
        "arguments": " ".join(arguments),
        "finished": time.strftime("%Y-%m-%d"),
    }
    record.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
