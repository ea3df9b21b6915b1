"""Debian's RELION 3.1.3, if it is installed, on sets made for the purpose: a live oracle.

The recorded runs have neither T, O and I groups nor K = 3 nor several optics groups, and most
options stand at their defaults. Version 3.1.3 agrees with 5.0.1 where ``oracle_cases`` says nothing
else; what does not agree is left out of the judgement, by name and with its size.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from clrelion.cli.parser import parse_refine
from clrelion.io.run_files import model_file, read_model
from clrelion.io.star import read_star
from clrelion.io.star_writer import write_star
from clrelion.orientations.symmetry import PointGroup
from clrelion.refinement.run import run_refinement
from tools.parity.metrics import absolute_deviation, relative_deviation
from tools.parity.oracle_cases import FSC_BELOW, NOISE_INSIDE, OracleCase
from tools.parity.oracle_inputs import make_inputs, make_set
from tools.parity.step_agreement import StepAgreement, compare_step
from tools.parity.workplace import working_in

PROGRAM = "relion_refine"
_LAUNCHER = ("mpirun", "--allow-run-as-root", "--oversubscribe", "-n")

# --pad 1.85 and --incr_size 4: no pixel lies on the cut-off sphere (specification E, F.1), which
# at the full size of an even box one always does. --skip_gridding: 5.0.1's reconstruction.
REFINEMENT = (
    "--i particles.star --particle_diameter 130 --firstiter_cc --ctf --ctf_corrected_ref "
    "--flatten_solvent --zero_mask --norm --scale --oversampling 1 --offset_range 3 "
    "--offset_step 2 --perturb 0 --pad 1.85 --incr_size 4 --skip_gridding --random_seed 0 "
    "--dont_combine_weights_via_disc --j 1 --iter 3"
)
_SCALE_GROUP = re.compile(r"model_group_(\d+)")


@dataclass(frozen=True)
class OracleResult:
    """What a case found.

    Attributes
    ----------
    steps
        One an iteration; poses are equal if a symmetry mate is.
    without
        The same for clrelion without the option that the case is about; empty if there is none.
    """

    steps: list[StepAgreement]
    without: list[StepAgreement]

    def shortcomings(self, case: OracleCase) -> list[str]:
        """What lies beyond the bounds, and an option that makes no difference."""
        found = [
            f"iteration {step.iteration or 'converged'}: {text}"
            for step in self.steps
            for text in step.shortcomings(case.bounds)
        ]
        if self.without and not any(step.shortcomings(case.bounds) for step in self.without):
            found.append("the option makes no difference")
        return found


@cache
def relion_version() -> str | None:
    """Version of the RELION that is installed here; None if there is none."""
    path = shutil.which(PROGRAM)
    if path is None:
        return None
    done = subprocess.run([path, "--version"], capture_output=True, text=True, check=False)
    words = done.stdout.split()
    return words[words.index("version:") + 1] if "version:" in words else "unknown"


def run_case(case: OracleCase, folder: Path, device: str) -> OracleResult:
    """Make the set, run both programs on it, compare.

    Parameters
    ----------
    case
        The case.
    folder
        Where its folder is made, anew, beside the sets.
    device
        Of clrelion, which runs in double precision.

    Returns
    -------
    OracleResult
        Both runs beside each other, and RELION's beside clrelion without the option.

    Raises
    ------
    subprocess.CalledProcessError
        The simulation or RELION failed.
    """
    place = (folder / case.results_name).resolve()
    shutil.rmtree(place, ignore_errors=True)
    data = make_set(case.simulation, case.symmetry, folder.resolve())
    usual = [*shlex.split(f"{REFINEMENT} {case.refinement}"), "--sym", case.symmetry]
    common = [word for word in usual if word not in case.absent]
    roots = {name: place / name / "run" for name in ("clrelion", "relion", "without")}
    for root in roots.values():
        root.parent.mkdir(parents=True)
    given = [word for word in common if word not in case.dropped]
    option = case.option if case.relions_option is None else case.relions_option
    relions = _last_of_each([*given, *shlex.split(option)])
    own = _last_of_each([*given, *shlex.split(case.option)])
    make_inputs(data, [*own, *relions])
    run_relion([*relions, "--o", str(roots["relion"])], data, case.n_ranks)
    run_clrelion(own, data, roots["clrelion"], device, "double")
    if case.is_about_an_option:
        run_clrelion(_last_of_each(common), data, roots["without"], device, "double")
    for i in case.iterations:
        for half in (0, 1, 2):
            name_noise_as_version_5(Path(model_file(str(roots["relion"]), i, half)))
    return OracleResult(*(
        [_compare(case, roots[name], roots["relion"], i) for i in iterations]
        for name, iterations in (
            ("clrelion", case.iterations),
            ("without", case.iterations if case.is_about_an_option else ()),
        )
    ))  # fmt: skip


def as_json(case: OracleCase, result: OracleResult) -> dict[str, object]:
    """Contents for a results file."""
    return {
        "run": case.name,
        "precision": "double",
        "reason": case.relaxation.reason if case.relaxation else "",
        "relion": relion_version(),
        "shortcomings": result.shortcomings(case),
        "without": [step.as_json() for step in result.without],
        "iterations": [
            {
                **step.as_json(),
                "shortcomings": step.shortcomings(case.bounds),
                "left out": _differing_left_out(case, step),
            }
            for step in result.steps
        ],
    }


def _differing_left_out(case: OracleCase, step: StepAgreement) -> dict[str, float]:
    """Figures that are not judged and would not pass."""
    bounds = case.bounds
    figures = step.figures().items()
    return {k: v for k, v in figures if not bounds.judges(k) and v > bounds.numbers}


def _last_of_each(arguments: list[str]) -> list[str]:
    """Drop options that a later one overrides, with their values."""
    groups: dict[str, list[str]] = {}
    name = ""
    for word in arguments:
        if word.startswith("--"):
            name = word
            groups[name] = []
        else:
            groups[name].append(word)
    return [word for option, values in groups.items() for word in (option, *values)]


def run_relion(arguments: list[str], folder: Path, n_ranks: int = 1) -> None:
    """Run the installed RELION in a folder; its failure is a CalledProcessError."""
    program = shutil.which(PROGRAM) or PROGRAM
    command = [program, *arguments]
    if n_ranks > 1:
        command = [*_LAUNCHER, str(n_ranks), f"{program}_mpi", *arguments]
    subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)


def run_clrelion(
    arguments: list[str], folder: Path, root: Path, device: str, precision: str
) -> None:
    """Run clrelion in a folder, in this process."""
    words = [*arguments, "--o", str(root), "--precision", precision, "--device", device]
    with working_in(folder):
        run_refinement(parse_refine(words).options, shlex.join(["clrelion_refine", *words]))


def _compare(
    case: OracleCase, found_root: Path, wanted_root: Path, iteration: int | None
) -> StepAgreement:
    operators = PointGroup.from_name(case.symmetry).operators
    step = compare_step(str(found_root), str(wanted_root), iteration, operators)
    if case.noise_shells is not None:
        own, other = (read_model(model_file(str(r), iteration)) for r in (found_root, wanted_root))
        n = case.noise_shells
        inside = relative_deviation(own.sigma2_noise[:, :n], other.sigma2_noise[:, :n])
        step.model[NOISE_INSIDE] = inside
    if case.fsc_shells is not None:
        own, other = (
            read_model(model_file(str(r), iteration, 1)) for r in (found_root, wanted_root)
        )
        n = case.fsc_shells
        step.model[FSC_BELOW] = absolute_deviation(own.fsc_halves[:, :n], other.fsc_halves[:, :n])
    return step


def name_noise_as_version_5(path: Path) -> None:
    """Give the noise spectra the name that they have since version 4.

    Until then each scale group had its own; here each optics group has one scale group.
    """
    if not path.is_file():
        return
    blocks = [
        replace(block, name=_SCALE_GROUP.sub(r"model_optics_group_\1", name))
        for name, block in read_star(path).items()
    ]
    general = blocks[0].columns
    general["rlnNrOpticsGroups"] = general["rlnNrGroups"]
    write_star(path, blocks)
