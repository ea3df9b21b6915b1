"""RELION's step-by-step runs (``data/steps``): which there are, and running them again."""

from __future__ import annotations

import itertools
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from clrelion.cli.parser import parse_refine
from clrelion.io.run_files import read_optimiser
from clrelion.io.star import read_comments, read_star
from clrelion.refinement.run import RunSummary, run_refinement
from tools.parity.bounds import (
    BOUNDS,
    LOST_DIRECTIONS,
    NOISE_FILL,
    ON_THE_CUT,
    PRINTED_PERTURBATION,
    PRINTED_START,
    PRINTED_START_OF_HALVES,
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
    own_arguments
        What clrelion's command has beside RELION's.
    relaxation
        Why RELION's answer cannot come out to the last digit; None: it must.
    """

    name: str
    iterations: tuple[int | None, ...]
    starts_from: int | None = None
    relaxation: Relaxation | None = None
    own_arguments: tuple[str, ...] = ()

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


WHOLE_STEP_RUNS = (
    StepRun("bg/base", (1, 2, 3)),
    StepRun("bg/os0", (1, 2)),
    StepRun("bg/os2", (1, 2)),
    StepRun("bg/c4", (1, 2)),
    StepRun("bg/nomask", (1,), relaxation=NOISE_FILL),
    StepRun("bg/loc", (1,), relaxation=LOST_DIRECTIONS, own_arguments=("--relion_quirks",)),
    StepRun("pol/base", (1, 2, 3)),
    StepRun("pol/nocc", (1, 2)),
    StepRun("pol/pert", (1, 2, 3)),
    StepRun("pol/full", (1, 2), relaxation=ON_THE_CUT),
    StepRun("pol/K2", (1, 2, 3)),
    StepRun("pol/auto", (1, 2, 3, 4), relaxation=SMALL_FSC),
    # a step alone too: it continues from RELION's own files of pol/auto, iteration 4
    StepRun("pol/fin", (None,), relaxation=ON_THE_CUT),
)


_RELAXED_ALONE = {
    "pol/pert": PRINTED_PERTURBATION,
    "pol/K2": PRINTED_START,
    "pol/auto": PRINTED_START_OF_HALVES,
}


def _alone(run: StepRun) -> Iterator[StepRun]:
    """Each iteration of a run but the first, alone; that one starts from the input anyway."""
    for start, iteration in itertools.pairwise(run.iterations):
        assert start is not None
        relaxation = _RELAXED_ALONE.get(run.name, run.relaxation)
        yield replace(run, iterations=(iteration,), starts_from=start, relaxation=relaxation)


STEP_RUNS = (*WHOLE_STEP_RUNS, *(alone for run in WHOLE_STEP_RUNS for alone in _alone(run)))


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
        start = f"{start_folder(run)}/run_it{run.starts_from:03d}_optimiser.star"
        last = "--auto_iter_max" if run.name == "pol/auto" else "--iter"
        arguments = ["--continue", start, last, str(run.iterations[-1]), "--o", str(output_root)]
    return [*arguments, *run.own_arguments, "--precision", precision, "--device", device]


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
    if run.starts_from is not None:
        _give_maps(run, place.resolve(), device)
    arguments = arguments_of(run, root, precision, device)
    command = parse_refine(arguments, "clrelion_refine")
    with working_in(place):
        return run_refinement(command.options, shlex.join(["clrelion_refine", *arguments]))


def start_folder(run: StepRun) -> str:
    """Folder of a run's output when it was recorded; its files name it."""
    optimiser = sorted(run.recorded.glob("run_it*_optimiser.star"))[0]
    return str(Path(read_optimiser(optimiser).output_root).parent)


def _give_maps(run: StepRun, place: Path, device: str) -> None:
    """Give maps of the iteration a run starts from that were not recorded: clrelion's own.

    They are those of the whole run in double precision, whose last maps are RELION's to 1e-6.
    """
    assert run.starts_from is not None
    folder = place / start_folder(run)
    model = f"run_it{run.starts_from:03d}"
    names = [
        Path(name).name
        for path in sorted(folder.glob(f"{model}*_model.star"))
        for name in read_star(path)["model_classes"].strings("rlnReferenceImage")
    ]
    missing = [name for name in names if not (folder / name).exists()]
    if not missing:
        return
    whole = next(one for one in WHOLE_STEP_RUNS if one.name == run.name)
    made = place / "made" / run.name
    if not (made / missing[0]).is_file():
        repeat_run(whole, place, made / "run", "double", device)
    for name in missing:
        (folder / name).symlink_to(made / name)
