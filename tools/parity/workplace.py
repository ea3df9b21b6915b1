"""Where parity runs happen: folders laid out as the recorded commands of RELION expect them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from clrelion.io.star import read_star
from clrelion.io.star_writer import write_star

REPOSITORY = Path(__file__).resolve().parents[2]
SHARED = REPOSITORY.parent / "shared"
FOLDER = REPOSITORY / "parity"
EXAMPLE = REPOSITORY / "examples" / "betagal"


def make_sets(folder: Path) -> Path:
    """Make the simulated sets, unless they are there.

    Parameters
    ----------
    folder
        Parity folder; the sets go into its ``sets``.

    Returns
    -------
    pathlib.Path
        Folder of the sets.

    Raises
    ------
    subprocess.CalledProcessError
        The simulator failed; finufft is missing, for example (``pip install -e .[dev]``).
    """
    sets = folder / "sets"
    if not (sets / "betagal80").is_dir():
        script = SHARED / "data" / "make_sets.sh"
        environment = {**os.environ, "PYTHON": sys.executable}
        # the simulator keeps its answer for a set that is already there, so this can be repeated
        subprocess.run(["bash", str(script), str(sets)], check=True, env=environment)
    return sets


def prepare_step_runs(place: Path, particle_set: str, sets: Path | None) -> Path:
    """Lay out a folder in which RELION's commands of ``data/steps`` run as they are.

    Parameters
    ----------
    place
        Folder to make.
    particle_set
        ``bg`` or ``pol``.
    sets
        Folder of the simulated sets; ``pol`` needs it.

    Returns
    -------
    pathlib.Path
        The folder: particles, references, and RELION's own output under the names its commands
        used (``r19``: the run ``base``; ``os0``, ``auto``, ...).
    """
    recorded = SHARED / "data" / "steps" / particle_set
    source = EXAMPLE if sets is None else sets / "polii64"
    if (particle_set == "pol") != (sets is not None):
        raise ValueError(f"{particle_set}: the simulated sets belong to pol, and only to it")
    place.mkdir(parents=True, exist_ok=True)
    stack = source / "particles.mrcs"
    references = sorted(source.glob("ref*.mrc"))
    for path in (stack, *references, *(p for p in recorded.iterdir() if p.is_file())):
        _link(place / path.name, path)
    for run in sorted(path for path in recorded.iterdir() if path.is_dir()):
        folder = place / {"base": "r19"}.get(run.name, run.name)
        folder.mkdir(exist_ok=True)
        for path in (stack, *run.iterdir()):
            _link(folder / path.name, path)
    if (place / "auto").is_dir():
        _give_noise_of_half_1(place / "auto", iteration=4)
    return place


def _give_noise_of_half_1(folder: Path, iteration: int) -> None:
    """Do what RELION does when it continues under MPI (specification E, Q26).

    Both halves start from half 1's sigma2_noise; clrelion lets each read its own.
    """
    halves = [folder / f"run_it{iteration:03d}_half{half}_model.star" for half in (1, 2)]
    first, second = (read_star(path) for path in halves)
    noise = {name: block for name, block in first.items() if name.startswith("model_optics_group")}
    halves[1].unlink()  # the link, not what it points to
    write_star(halves[1], [*{**second, **noise}.values()])


def _link(link: Path, target: Path) -> None:
    link.unlink(missing_ok=True)
    link.symlink_to(target.resolve())


@contextmanager
def working_in(folder: Path) -> Iterator[None]:
    """Change the working directory for a while: RELION's commands name files relative to it."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)
