"""RELION's step-by-step runs (``data/steps``): which there are, and running them again."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from clrelion.cli.parser import parse_refine
from clrelion.io.run_files import read_sampling, sampling_file
from clrelion.io.star import read_comments
from clrelion.refinement.run import RunSummary, run_refinement
from tools.parity.bounds import (
    BOUNDS,
    LOST_DIRECTIONS,
    NOISE_FILL,
    ON_THE_CUT,
    PRINTED_PERTURBATION,
    SMALL_FSC,
    Bounds,
    Relaxation,
)
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
    relaxation
        Why RELION's answer cannot come out to the last digit; None: it must.
    """

    name: str
    iterations: tuple[int | None, ...]
    starts_from: int | None = None
    relaxation: Relaxation | None = None

    @property
    def label(self) -> str:
        """Name, and the iteration it starts from if it is one step alone."""
        return self.name if self.starts_from is None else f"{self.name}@{self.starts_from}"

    @property
    def particle_set(self) -> str:
        """``bg`` (in the repository's examples) or ``pol`` (simulated)."""
        return self.name.split("/")[0]

    def bounds(self, precision: str) -> Bounds:
        """How far an iteration may be from RELION's in ``single`` or ``double`` precision."""
        usual = BOUNDS[precision]
        return usual if self.relaxation is None else self.relaxation.relax(usual)

    @property
    def recorded(self) -> Path:
        """Folder of RELION's files."""
        return STEPS / self.name


STEP_RUNS = (
    StepRun("bg/base", (1, 2, 3)),
    StepRun("bg/os0", (1, 2)),
    StepRun("bg/os2", (1, 2)),
    StepRun("bg/c4", (1, 2)),
    StepRun("bg/nomask", (1,), relaxation=NOISE_FILL),
    StepRun("bg/loc", (1,), relaxation=LOST_DIRECTIONS),
    StepRun("pol/base", (1, 2, 3)),
    StepRun("pol/base", (2,), starts_from=1),
    StepRun("pol/base", (3,), starts_from=2),
    StepRun("pol/nocc", (1, 2)),
    StepRun("pol/pert", (1, 2, 3), relaxation=PRINTED_PERTURBATION),
    StepRun("pol/full", (1, 2), relaxation=ON_THE_CUT),
    StepRun("pol/K2", (1, 2, 3)),
    StepRun("pol/auto", (1, 2, 3, 4), relaxation=SMALL_FSC),
    # a step alone too: it continues from RELION's own files of pol/auto, iteration 4
    StepRun("pol/fin", (None,), relaxation=ON_THE_CUT),
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
    root = str(run.recorded / "run")
    is_last_alone = run.iterations == (None,)
    numbers = run.iterations if is_last_alone else _executed(run)
    drawn = [read_sampling(sampling_file(root, i)).perturbation for i in numbers]
    with mock.patch("clrelion.refinement.iteration.advance_perturbation", side_effect=drawn):
        yield


def _executed(run: StepRun) -> list[int]:
    """Iterations that the run goes through, compared or not."""
    recorded = [int(p.name[6:9]) for p in run.recorded.glob("run_it*_sampling.star")]
    first = run.starts_from or 0
    last = run.iterations[-1] if run.starts_from is not None else max(recorded)
    return [i for i in sorted(recorded) if first < i <= (last or 0)]
