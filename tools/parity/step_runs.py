"""RELION's step-by-step runs (``data/steps``): which there are, and running them again."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from clrelion.cli.parser import parse_refine
from clrelion.io.run_files import read_sampling
from clrelion.io.star import read_comments
from clrelion.refinement.run import RunSummary, run_refinement
from tools.parity.workplace import SHARED, working_in

STEPS = SHARED / "data" / "steps"


@dataclass(frozen=True)
class StepRun:
    """One of RELION's recorded runs.

    Attributes
    ----------
    name
        Its folder in ``data/steps``.
    iterations
        Iterations to compare, in order; None is the converged one.
    starts_from
        Iteration of RELION's own files to continue from; None: the recorded command as it is.
    why_not_equal
        Why RELION's answer cannot come out to the last digit; empty: it must.
    """

    name: str
    iterations: tuple[int | None, ...]
    starts_from: int | None = None
    why_not_equal: str = ""

    @property
    def label(self) -> str:
        """Name, and the iteration it starts from if it is one step alone."""
        return self.name if self.starts_from is None else f"{self.name}@{self.starts_from}"

    @property
    def particle_set(self) -> str:
        """``bg`` (in the repository's examples) or ``pol`` (simulated)."""
        return self.name.split("/")[0]

    @property
    def recorded(self) -> Path:
        """Folder of RELION's files."""
        return STEPS / self.name


_NOISE = (
    "the surroundings of the particle are filled with noise from RELION's random generator "
    "(specification E 2.7): only what does not depend on it is equal"
)
_LOST_DIRECTIONS = (
    "unperturbed, RELION loses the prior's central direction of some particles to a NaN "
    "(specification E, Q25)"
)
_HALF_2 = (
    "on continuation RELION gives half 1's sigma2_noise to half 2 (specification E, Q26): the "
    "particles of half 1 are compared"
)

STEP_RUNS = (
    StepRun("bg/base", (1, 2, 3)),
    StepRun("bg/os0", (1, 2)),
    StepRun("bg/os2", (1, 2)),
    StepRun("bg/c4", (1, 2)),
    StepRun("bg/nomask", (1, 2), why_not_equal=_NOISE),
    StepRun("bg/loc", (1, 2), why_not_equal=_LOST_DIRECTIONS),
    StepRun("pol/base", (1, 2, 3)),
    StepRun("pol/base", (2,), starts_from=1),
    StepRun("pol/base", (3,), starts_from=2),
    StepRun("pol/nocc", (1, 2)),
    StepRun("pol/pert", (1, 2, 3)),
    StepRun("pol/full", (1, 2)),
    StepRun("pol/K2", (1, 2, 3)),
    StepRun("pol/auto", (1, 2, 3, 4)),
    StepRun("pol/fin", (None,), why_not_equal=_HALF_2),
)


def arguments_of(run: StepRun, output_root: Path, precision: str, device: str) -> list[str]:
    """Arguments of a run: RELION's own, with another output root.

    Parameters
    ----------
    run
        The run.
    output_root
        ``--o``; an absolute path.
    precision, device
        Of clrelion.
    """
    if run.starts_from is None:
        optimiser = sorted(run.recorded.glob("*_optimiser.star"))[0]
        arguments = shlex.split(read_comments(optimiser)[1].lstrip("# "))
        arguments[arguments.index("--o") + 1] = str(output_root)
    else:
        start = f"r19/run_it{run.starts_from:03d}_optimiser.star"
        arguments = ["--continue", start, "--iter", str(run.iterations[-1]), "--o"]
        arguments.append(str(output_root))
    return [*arguments, "--precision", precision, "--device", device]


def repeat_run(
    run: StepRun, place: Path, output_root: Path, precision: str, device: str
) -> RunSummary:
    """Run one of RELION's runs with clrelion, in this process.

    Parameters
    ----------
    run
        The run.
    place
        Folder from ``prepare_step_runs``.
    output_root
        Where the output goes.
    precision, device
        Of clrelion.

    Returns
    -------
    RunSummary
        With the wall time.
    """
    root = output_root.resolve()
    root.parent.mkdir(parents=True, exist_ok=True)
    arguments = arguments_of(run, root, precision, device)
    command = parse_refine(arguments, "clrelion_refine")
    with working_in(place), _recorded_perturbations(run):
        return run_refinement(command.options, shlex.join(["clrelion_refine", *arguments]))


@contextmanager
def _recorded_perturbations(run: StepRun) -> Iterator[None]:
    """Turn the grids by what RELION drew (0 in most runs), so that chance is out of the way."""
    drawn = [
        read_sampling(run.recorded / f"{'run' if i is None else f'run_it{i:03d}'}_sampling.star")
        for i in run.iterations
    ]
    instances = iter([sampling.perturbation for sampling in drawn])
    with mock.patch(
        "clrelion.refinement.iteration.advance_perturbation", lambda *_: next(instances)
    ):
        yield
