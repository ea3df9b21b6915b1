"""The named workloads: what is refined, with which command."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from clrelion.io.star import read_star
from clrelion.io.star_writer import StarTable, write_star

__all__ = ["WORKLOADS", "Workload", "find_data"]

_log = logging.getLogger(__name__)

_RECIPE = "recipe.txt"

# what both simulated workloads of a size use: one molecule, many micrographs
_MOLECULE = "--molecule seed:42,kda:300,sym:C4 --particles_per_micrograph 100 --ref_angst 40"
_SIMULATED = {
    "c4-256": f"{_MOLECULE} --n 5000 --box 256 --angpix 1.2156 --snr 0.05",
    "c4-64": f"{_MOLECULE} --n 200 --box 64 --angpix 4 --snr 0.1",
}
_COMMON = (
    "--i particles.star --ref ref01.mrc --particle_diameter 190 --ini_high 40 --firstiter_cc "
    "--ctf --flatten_solvent --zero_mask --oversampling 1 --healpix_order 2 --offset_range 5 "
    "--offset_step 2 --norm --scale --pad 2 --random_seed 42"
)
_CLASS3D = f"{_COMMON} --K 3 --sym C1 --tau2_fudge 4"
_REFINE = (
    f"{_COMMON} --auto_refine --split_random_halves --sym C4 --auto_local_healpix_order 4 "
    "--low_resol_join_halves 40"
)


@dataclass(frozen=True)
class Workload:
    """One job.

    Attributes
    ----------
    name
        For ``--workloads``.
    data
        Folder name of its data.
    arguments
        Of ``clrelion_refine``, without --o; run in the data's folder.
    iterations
        How many, or None: to convergence.
    places
        Folders that may hold data which cannot be simulated.
    times
        How often each particle of the data is named, always in the same half-set.
    """

    name: str
    data: str
    arguments: str
    iterations: int | None
    places: tuple[Path, ...] = ()
    times: int = 1

    @property
    def particle_file(self) -> str:
        """Name of the particle file."""
        return "particles.star" if self.times == 1 else f"particles_x{self.times}.star"

    @property
    def is_auto_refine(self) -> bool:
        """Whether it is an auto-refine."""
        return "--auto_refine" in self.arguments

    def limited(self, iterations: int | None) -> Workload:
        """Return it with another number of iterations; None leaves it alone."""
        return self if iterations is None else replace(self, iterations=iterations)

    def command(self, data: Path, output: Path, device: str) -> list[str]:
        """Arguments of a run, with paths that do not depend on the working directory."""
        words = self.arguments.split()
        words[words.index("--i") + 1] = self.particle_file
        for flag in ("--i", "--ref"):
            words[words.index(flag) + 1] = str(data / words[words.index(flag) + 1])
        words += ["--o", str(output / "run"), "--device", device]
        if self.iterations is not None:
            words += ["--auto_iter_max" if self.is_auto_refine else "--iter", str(self.iterations)]
        return words


WORKLOADS = {
    work.name: work
    for work in (
        Workload("class3d-256", "c4-256", _CLASS3D, 5),
        Workload("refine-256", "c4-256", _REFINE, None),
        *(
            Workload(f"{name}-256x{times}", "c4-256", arguments, 7, times=times)
            for times in (4, 8, 16, 32, 64)
            for name, arguments in (("class3d", _CLASS3D), ("refine", _REFINE))
        ),
        Workload("class3d-64", "c4-64", _CLASS3D, 3),
        Workload("refine-64", "c4-64", _REFINE, 5),
    )
}


def find_data(
    work: Workload, folder: Path, n_workers: int, simulate: Callable[[Sequence[str]], int]
) -> Path | None:
    """Find a workload's data, or simulate it.

    Parameters
    ----------
    work
        The workload.
    folder
        Where simulated sets are kept from run to run, and looked for.
    n_workers
        Processes of the simulation.
    simulate
        ``clrelion simulate``: its arguments in, its exit code out.

    Returns
    -------
    pathlib.Path or None
        The data's folder; None for a set that cannot be made here and is nowhere.

    Raises
    ------
    SystemExit
        The simulation failed.
    """
    recipe = _SIMULATED.get(work.data)
    if recipe is None:
        places = (folder / work.data, *work.places)
        return next((place for place in places if (place / "particles.mrcs").is_file()), None)
    place = folder / work.data
    marker = place / _RECIPE
    if not (marker.is_file() and marker.read_text(encoding="utf-8") == recipe):
        shutil.rmtree(place, ignore_errors=True)
        if simulate([*recipe.split(), "--o", str(place), "--j", str(n_workers)]) != 0:
            raise SystemExit(f"bench: {work.data} could not be simulated")
        marker.write_text(recipe, encoding="utf-8")
    if work.times > 1:
        _name_often(place, work)
    return place


def _name_often(place: Path, work: Workload) -> None:
    """Write the particle file that names each particle several times."""
    blocks = read_star(place / "particles.star")
    columns = {name: list(values) for name, values in blocks["particles"].columns.items()}
    n = len(columns["rlnImageName"])
    # what is the same must not be in both half-sets
    columns["rlnRandomSubset"] = [str(1 + i % 2) for i in range(n)]
    often = StarTable("particles", {k: work.times * v for k, v in columns.items()})
    write_star(place / work.particle_file, [blocks["optics"], often])
