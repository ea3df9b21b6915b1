"""What the files of a run say about it, iteration by iteration."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clrelion.errors import ClrelionError, StarError
from clrelion.io.journal import FINAL_ITERATION, Journal, journal_file, read_journal
from clrelion.io.particle_table import ParticleTable, read_particles
from clrelion.io.run_files import (
    ModelFile,
    OptimiserFile,
    SamplingFile,
    class_map_file,
    data_file,
    model_file,
    optimiser_file,
    read_model,
    read_optimiser,
    read_sampling,
    sampling_file,
)

__all__ = [
    "IterationRecord", "RunRecord", "ShownParticles", "find_root", "read_run", "read_whole_run",
]  # fmt: skip

_ITERATION_FILE = re.compile(
    r"(?P<root>.+?)(?:_it\d{3,})?(?:_half[12])?(?:_(?:ct\d+_)?(?:model|optimiser|data|sampling)\.star"
    r"|_class\d{3}\.mrc|_report\.html|_journal\.star)"
)
_MOST_COMPLAINTS = 50


@dataclass(frozen=True)
class IterationRecord:
    """One iteration on disk.

    Attributes
    ----------
    iteration
        Its number; None for the last, converged one of auto-refine.
    model
        The model file; that of half 1 while halves are apart.
    sampling
        The sampling file, None if there is none.
    maps
        Existing map files of the classes (both halves of auto-refine).
    optimiser
        The optimiser file, None if there is none.
    """

    iteration: int | None
    model: ModelFile
    sampling: SamplingFile | None
    maps: list[str]
    optimiser: OptimiserFile | None = None

    @property
    def label(self) -> str:
        """Number of the iteration, or ``final``."""
        return "final" if self.iteration is None else str(self.iteration)


@dataclass(frozen=True)
class ShownParticles:
    """Columns of a particle file that the page shows.

    Attributes
    ----------
    optics_names
        One an optics group; empty if it has none.
    class_number, random_subset
        int64, (n,): 0-based class; half-set 1 or 2, 0 unassigned.
    rot_deg, tilt_deg, pmax, defocus_u_angst, defocus_v_angst
        float64, (n,).
    """

    optics_names: list[str]
    class_number: NDArray[np.int64]
    random_subset: NDArray[np.int64]
    rot_deg: NDArray[np.float64]
    tilt_deg: NDArray[np.float64]
    pmax: NDArray[np.float64]
    defocus_u_angst: NDArray[np.float64]
    defocus_v_angst: NDArray[np.float64]

    @classmethod
    def of(cls, table: ParticleTable) -> ShownParticles:
        """Take them from a table; its arrays are shared."""
        return cls(
            [group.name for group in table.optics], table.class_number, table.random_subset,
            table.rot_deg, table.tilt_deg, table.pmax, table.defocus_u_angst, table.defocus_v_angst,
        )  # fmt: skip

    @property
    def n(self) -> int:
        """Number of particles."""
        return len(self.pmax)


@dataclass
class RunRecord:
    """A whole run.

    Attributes
    ----------
    root
        Output root.
    iterations
        In order; the converged one last.
    particles
        Those of the last iteration that has a particle file.
    journal
        Times, device and warnings; None for runs of RELION.
    complaints
        Lines of ``run.err`` of a run without a journal; files that could not be read.
    state
        ``running`` or ``ended``, or empty if the files do not tell.
    """

    root: str
    iterations: list[IterationRecord] = field(default_factory=list)
    particles: ShownParticles | None = None
    journal: Journal | None = None
    complaints: list[str] = field(default_factory=list)
    state: str = ""

    @property
    def last(self) -> IterationRecord:
        """The last iteration."""
        return self.iterations[-1]

    @property
    def warnings(self) -> list[tuple[str, str]]:
        """When and what; each once."""
        journal = self.journal.warnings if self.journal else []
        found = [(f"Iteration {n}" if n else "Start", text) for n, text in journal]
        return list(dict.fromkeys(found + [("", text) for text in self.complaints]))

    @property
    def labels(self) -> list[str]:
        """Labels of all iterations."""
        return [record.label for record in self.iterations]


def find_root(name: str) -> str:
    """Find the output root that a user means.

    Parameters
    ----------
    name
        An output root, any file of a run, or its folder.

    Raises
    ------
    StarError
        A folder with no run, or with several.
    """
    path = Path(name)
    if path.is_dir():
        roots = sorted(
            {
                m["root"]
                for file in path.glob("*_model.star")
                if (m := _ITERATION_FILE.fullmatch(file.name))
            }
        )
        if not roots:
            raise StarError(f"{name}: no *_model.star in this folder; give the --o of a run")
        if len(roots) > 1:
            several = ", ".join(str(path / root) for root in roots)
            raise StarError(f"{name}: several runs in this folder; give one of {several}")
        return str(path / roots[0])
    match = _ITERATION_FILE.fullmatch(path.name)
    return str(path.with_name(match["root"])) if match else name


def read_run(root: str) -> list[IterationRecord]:
    """Read the model, sampling and optimiser files of a run.

    Parameters
    ----------
    root
        Output root (``--o``) of the run.

    Returns
    -------
    list of IterationRecord
        In order; the converged iteration last.

    Raises
    ------
    StarError
        There is no model file with this root, or one cannot be read.
    """
    folder, name = Path(root).parent, re.escape(Path(root).name)
    pattern = re.compile(rf"{name}_it(\d{{3,}})(_half1)?_model\.star")
    found = [m for path in folder.glob("*_model.star") if (m := pattern.fullmatch(path.name))]
    records = [
        _read_iteration(root, int(m[1]), 1 if m[2] else 0)
        for m in sorted(found, key=lambda m: int(m[1]))
    ]
    if Path(model_file(root, None)).is_file():
        records.append(_read_iteration(root, None, 0))
    if not records:
        raise StarError(f"{root}_it*_model.star: there is no model file of a run with this root")
    return records


def read_whole_run(root: str) -> RunRecord:
    """Read everything that a report shows.

    Raises
    ------
    StarError
        There is no run with this root, or one of its files cannot be read.
    """
    journal = read_journal(journal_file(root))
    records = read_run(root)
    if journal is not None:
        records = _of_this_run(records, journal)
    run = RunRecord(root, records, journal=journal)
    if journal is None:
        run.complaints = _complaints(root)
    path = next((p for r in reversed(records) if (p := _data_file(root, r)).is_file()), None)
    if path is not None:
        try:
            run.particles = ShownParticles.of(read_particles(path))
        except ClrelionError as error:  # no reason to show nothing
            run.complaints.append(str(error))
    return run


def _of_this_run(records: list[IterationRecord], journal: Journal) -> list[IterationRecord]:
    """Leave out what an earlier run with the same root went on to write."""
    numbers = [entry.number for entry in journal.iterations]
    if not numbers or FINAL_ITERATION in numbers:
        return records
    return [r for r in records if r.iteration is not None and r.iteration <= max(numbers)]


def _read_iteration(root: str, iteration: int | None, half_set: int) -> IterationRecord:
    model = read_model(model_file(root, iteration, half_set), with_directions=False)
    sampling = Path(sampling_file(root, iteration))
    optimiser = Path(optimiser_file(root, iteration))
    halves = (1, 2) if half_set else (0,)
    maps = [
        class_map_file(root, iteration, i_class, half)
        for half in halves
        for i_class in range(model.n_classes)
    ]
    return IterationRecord(
        iteration=iteration,
        model=model,
        sampling=read_sampling(sampling, with_directions=False) if sampling.is_file() else None,
        maps=[name for name in maps if Path(name).is_file()],
        optimiser=read_optimiser(optimiser) if optimiser.is_file() else None,
    )


def _data_file(root: str, record: IterationRecord) -> Path:
    return Path(data_file(root, record.iteration))


def _complaints(root: str) -> list[str]:
    """Lines of the file that RELION's window collects warnings in."""
    path = Path(root).with_name("run.err")
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    return [line.strip() for line in lines if line.strip()][:_MOST_COMPLAINTS]
