"""Debian's RELION 3.1.3, if it is installed, on sets made for the purpose: a live oracle.

The recorded runs have neither T, O and I groups nor K = 3 nor several optics groups. Version 3.1.3
agrees with 5.0.1 where nothing below says otherwise; what does not agree is left out of the
judgement, by name and with its size.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np

from clrelion.cli.parser import parse_refine
from clrelion.io.run_files import model_file, read_model
from clrelion.io.star import read_star
from clrelion.io.star_writer import write_star
from clrelion.orientations.symmetry import PointGroup
from clrelion.refinement.run import run_refinement
from tools.parity.bounds import BOUNDS, Bounds, Relaxation
from tools.parity.metrics import relative_deviation
from tools.parity.step_agreement import StepAgreement, compare_step
from tools.parity.workplace import REPOSITORY, working_in

PROGRAM = "relion_refine"

# Every image inside its box at 160 Å; signal enough for poses that differ, noise enough for
# several likely ones.
_SIMULATION = "--box 40 --angpix 4 --snr 0.6 --shift 1.5 --seed 3 --n 60"
# --pad 1.85 and --incr_size 4: no pixel lies on the cut-off sphere (specification E, F.1), which
# at the full size of an even box one always does. --skip_gridding: 5.0.1's reconstruction.
_REFINEMENT = (
    "--i particles.star --particle_diameter 130 --firstiter_cc --ctf --ctf_corrected_ref "
    "--flatten_solvent --zero_mask --norm --scale --oversampling 1 --offset_range 3 "
    "--offset_step 2 --perturb 0 --pad 1.85 --incr_size 4 --skip_gridding --random_seed 0 "
    "--dont_combine_weights_via_disc --j 1 --iter 3"
)
_ATOMS = 40
_ATOM_SHELL_ANGST = (30.0, 52.0)
_ATOM_STEP_ANGST = 5.0
_ATOM_SEED = 5
_SCALE_GROUP = re.compile(r"model_group_(\d+)")


@dataclass(frozen=True)
class OracleCase:
    """One set and what to do with it.

    Attributes
    ----------
    name
        Of the case.
    simulation, refinement
        Arguments of ``clrelion simulate`` and of both refinement programs, after the common ones.
    symmetry
        Point group of the run; of the set too, if `simulation` names no model.
    iterations
        Iterations to compare.
    relaxation
        What the two versions do not share; None: nothing.
    noise_shells
        If given, sigma2_noise is judged in the shells below this one alone.
    """

    name: str
    simulation: str
    refinement: str
    symmetry: str = "C1"
    iterations: tuple[int, ...] = (1, 2, 3)
    relaxation: Relaxation | None = None
    noise_shells: int | None = None

    @property
    def results_name(self) -> str:
        """Name of its folder; of its results file too, without the suffix."""
        return f"oracle_{self.name.replace(' ', '_')}"

    @property
    def bounds(self) -> Bounds:
        """How far an iteration may be from RELION's; double precision."""
        usual = BOUNDS["double"]
        return usual if self.relaxation is None else self.relaxation.relax(usual)


_HIGH_SYMMETRY = "--ref ref01.mrc --ini_high 25 --healpix_order 3"
_ASYMMETRIC = "--ini_high 40 --healpix_order 1"
_MOLECULE = "--molecule seed:1,kda:100"
_TWO_GROUPS = "--particles_per_micrograph 30"
_NOISE_INSIDE = "sigma2_noise below the Nyquist shell of the smallest box"

_ONE_EXTENT = Relaxation(
    "boxes of one extent in Å and no shifts, as 3.1.3 shifts an image by the period of the "
    "model's box. Left out: sigma2_noise from the Nyquist shell of the smaller box on, where it "
    "divides by the pixels of the model's shell; sigma_offset, for which it has no lower bound",
    only=frozenset({
        "norm", "pmax", "log-likelihood", "tau2", "data_vs_prior", "fsc", "scale", "class sizes",
        "average norm", "directions", "accuracy", "run_it001_class001.mrc",
        "run_it002_class001.mrc", "run_it003_class001.mrc", _NOISE_INSIDE,
    }),
)  # fmt: skip
_TWO_EXTENTS = Relaxation(
    "3.1.3 does not compensate for boxes of different extent in Å; a correlation does not depend "
    "on the scale, so poses, Pmax and correlation of the first iteration are judged",
    only=frozenset({"pmax", "log-likelihood"}),
)

ORACLE_CASES = (
    *(OracleCase(g, "", _HIGH_SYMMETRY, g) for g in ("T", "O", "I1", "I2", "I3", "I4")),
    OracleCase(
        "K3",
        "--molecule seed:1,kda:100 --molecule seed:2,kda:100 --molecule seed:3,kda:100 --n 90",
        f"--ref refs.star {_ASYMMETRIC}",
    ),
    OracleCase(
        "voltages",
        f"{_MOLECULE} {_TWO_GROUPS} --optics voltage:100,ac:0.07",
        f"--ref ref01.mrc {_ASYMMETRIC}",
    ),
    OracleCase(
        "boxes",
        f"{_MOLECULE} {_TWO_GROUPS} --optics box:32,angpix:5 --shift 0",
        f"--ref ref01.mrc {_ASYMMETRIC} --offset_range 0 --oversampling 0",
        relaxation=_ONE_EXTENT,
        noise_shells=16,
    ),
    OracleCase(
        "pixel sizes",
        f"{_MOLECULE} {_TWO_GROUPS} --optics angpix:4.4",
        f"--ref ref01.mrc {_ASYMMETRIC}",
        iterations=(1,),
        relaxation=_TWO_EXTENTS,
    ),
)

DIFFERENCES = (
    "3.1.3 has one noise spectrum a micrograph, 5.0.1 one an optics group: each optics group has "
    "one micrograph here.",
    "Its reconstruction is that of 5.0.1 with `--skip_gridding`.",
    "Its model file of iteration 0 and its overall Fourier completeness are defined differently: "
    "neither is compared. So is the accuracy after the first iteration, where it writes 0.",
)
"""What the two versions do not share in any run, for the page."""


@cache
def relion_version() -> str | None:
    """Version of the RELION that is installed here; None if there is none."""
    path = shutil.which(PROGRAM)
    if path is None:
        return None
    done = subprocess.run([path, "--version"], capture_output=True, text=True, check=False)
    words = done.stdout.split()
    return words[words.index("version:") + 1] if "version:" in words else "unknown"


def run_case(case: OracleCase, folder: Path, device: str) -> list[StepAgreement]:
    """Make the set, run both programs on it, compare.

    Parameters
    ----------
    case
        The case.
    folder
        Where its folder is made, anew.
    device
        Of clrelion, which runs in double precision.

    Returns
    -------
    list of StepAgreement
        One an iteration; poses are equal if a symmetry mate is.

    Raises
    ------
    subprocess.CalledProcessError
        The simulation or RELION failed.
    """
    place = folder / case.results_name
    shutil.rmtree(place, ignore_errors=True)
    _simulate(case, place)
    common = [*shlex.split(f"{_REFINEMENT} {case.refinement}"), "--sym", case.symmetry]
    arguments = _last_of_each(common)
    roots = {name: place / name / "run" for name in ("clrelion", "relion")}
    for root in roots.values():
        root.parent.mkdir()
    program = shutil.which(PROGRAM) or PROGRAM
    _run([program, *arguments, "--o", str(roots["relion"])], place)
    own = [*arguments, "--o", str(roots["clrelion"]), "--precision", "double", "--device", device]
    with working_in(place):
        run_refinement(parse_refine(own).options, shlex.join(["clrelion_refine", *own]))
    return [_compare(case, roots["clrelion"], roots["relion"], i) for i in case.iterations]


def as_json(case: OracleCase, steps: list[StepAgreement]) -> dict[str, object]:
    """Contents for a results file."""
    return {
        "run": case.name,
        "precision": "double",
        "reason": case.relaxation.reason if case.relaxation else "",
        "relion": relion_version(),
        "iterations": [
            {
                **step.as_json(),
                "shortcomings": step.shortcomings(case.bounds),
                "left out": _differing_left_out(case, step),
            }
            for step in steps
        ],
    }


def _differing_left_out(case: OracleCase, step: StepAgreement) -> dict[str, float]:
    """Figures that are not judged and would not pass."""
    only = case.bounds.only
    if only is None:
        return {}
    figures = step.figures().items()
    return {k: v for k, v in figures if k not in only and v > case.bounds.numbers}


def _simulate(case: OracleCase, place: Path) -> None:
    arguments = shlex.split(f"{_SIMULATION} {case.simulation}")
    if "--molecule" not in arguments:
        place.mkdir(parents=True)
        atoms = place / "atoms.pdb"
        _write_symmetric_atoms(atoms, PointGroup.from_name(case.symmetry))
        arguments += ["--model", str(atoms), "--ref_angst", "25"]
    command = [sys.executable, "-m", "clrelion", "simulate", *arguments, "--o", str(place)]
    _run([*command, "--j", "1"], REPOSITORY)


def _write_symmetric_atoms(path: Path, group: PointGroup) -> None:
    """Write a random walk within a shell and its symmetry mates, as a PDB file."""
    rng = np.random.default_rng(_ATOM_SEED)
    near, far = _ATOM_SHELL_ANGST
    walk = [np.full(3, 0.5 * (near + far) / np.sqrt(3.0))]
    while len(walk) <= _ATOMS:
        step = walk[-1] + rng.normal(0.0, _ATOM_STEP_ANGST, 3)
        if near < np.linalg.norm(step) < far:
            walk.append(step)
    mates = np.concatenate([np.array(walk) @ operator for operator in group.operators])
    lines = [
        f"ATOM  {i % 99999 + 1:5d}  C   ALA A{i // 10 % 9999 + 1:4d}    "
        f"{x:8.3f}{y:8.3f}{z:8.3f}  1.00  0.00           C"
        for i, (x, y, z) in enumerate(mates)
    ]
    path.write_text("\n".join([*lines, "END", ""]), encoding="ascii")


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


def _run(command: list[str], folder: Path) -> None:
    subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)


def _compare(
    case: OracleCase, found_root: Path, wanted_root: Path, iteration: int
) -> StepAgreement:
    path = Path(model_file(str(wanted_root), iteration))
    _name_noise_as_version_5(path)
    operators = PointGroup.from_name(case.symmetry).operators
    step = compare_step(str(found_root), str(wanted_root), iteration, operators)
    if case.noise_shells is not None:
        own, other = (read_model(model_file(str(r), iteration)) for r in (found_root, wanted_root))
        n = case.noise_shells
        inside = relative_deviation(own.sigma2_noise[:, :n], other.sigma2_noise[:, :n])
        step.model[_NOISE_INSIDE] = inside
    return step


def _name_noise_as_version_5(path: Path) -> None:
    """Give the noise spectra the name that they have since version 4.

    Until then each scale group had its own; here each optics group has one scale group.
    """
    blocks = [
        replace(block, name=_SCALE_GROUP.sub(r"model_optics_group_\1", name))
        for name, block in read_star(path).items()
    ]
    general = blocks[0].columns
    general["rlnNrOpticsGroups"] = general["rlnNrGroups"]
    write_star(path, blocks)
