"""How far two seeds of an installed RELION are apart, and how far clrelion is from each of them."""

from __future__ import annotations

import itertools
import shlex
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from clrelion.fourier.fsc import map_fsc
from clrelion.io.mrc import read_map
from clrelion.io.run_files import class_map_file, data_file, model_file, read_model
from clrelion.orientations.symmetry import PointGroup
from tools.parity.metrics import mean_fsc, rotation_angle_deg, shell_of_resolution
from tools.parity.oracle import (
    REFINEMENT,
    name_noise_as_version_5,
    relion_version,
    run_clrelion,
    run_relion,
)
from tools.parity.oracle_inputs import make_set
from tools.parity.set_measures import read_poses
from tools.parity.tables import table

SEEDS = (1, 2, 3)
RESULTS_NAME = "relion_spread"
_SIMULATION = "--molecule seed:1,kda:100 --n 200 --particles_per_micrograph 200 --snr 0.2"
_ITERATIONS = 6
_OPTIONS = (
    f"--ref ref01.mrc --ini_high 40 --healpix_order 2 --perturb 0.5 --iter {_ITERATIONS} "
    "--tau2_fudge 2 --sym C1"
)


def measure_spread(folder: Path, device: str) -> dict[str, Any]:
    """Run both programs with several seeds on one set and compare every two that matter.

    Parameters
    ----------
    folder
        Where the set and the runs are kept.
    device
        Of clrelion, which runs in single precision, as users do.

    Returns
    -------
    dict
        JSON types: one entry a pair.

    Raises
    ------
    subprocess.CalledProcessError
        The simulation or RELION failed.
    """
    place = (folder / RESULTS_NAME).resolve()
    shutil.rmtree(place, ignore_errors=True)
    data = make_set(_SIMULATION, "C1", folder.resolve())
    roots: dict[tuple[str, int], Path] = {}
    for seed in SEEDS:
        arguments = shlex.split(f"{REFINEMENT} {_OPTIONS}")
        for name in ("--perturb", "--iter", "--random_seed"):  # the common part's values
            at = arguments.index(name)
            del arguments[at : at + 2]
        arguments += ["--random_seed", str(seed)]
        for program in ("RELION", "clrelion"):
            root = place / f"{program}{seed}" / "run"
            root.parent.mkdir(parents=True)
            roots[program, seed] = root
        run_relion([*arguments, "--o", str(roots["RELION", seed])], data)
        name_noise_as_version_5(Path(model_file(str(roots["RELION", seed]), _ITERATIONS)))
        run_clrelion(arguments, data, roots["clrelion", seed], device, "single")
    pairs = [(("RELION", a), ("RELION", b)) for a, b in itertools.combinations(SEEDS, 2)]
    pairs += [(("clrelion", seed), ("RELION", seed)) for seed in SEEDS]
    return {
        "relion": relion_version(),
        "pairs": [
            {"names": [f"{p}, seed {s}" for p, s in pair], **_compare(*(roots[p] for p in pair))}
            for pair in pairs
        ],
    }


def _compare(first: Path, second: Path) -> dict[str, Any]:
    poses = [read_poses(data_file(str(root), _ITERATIONS)) for root in (first, second)]
    angle = rotation_angle_deg(
        poses[0].matrices, poses[1].matrices, PointGroup.from_name("C1").operators
    )
    shift = np.hypot(*(poses[0].shifts - poses[1].shifts).T)
    maps = [
        read_map(class_map_file(str(root), _ITERATIONS, 0)).data.astype(np.float64)
        for root in (first, second)
    ]
    model = read_model(model_file(str(second), _ITERATIONS))
    curve = map_fsc(*maps)
    shell = shell_of_resolution(
        model.current_resolution_angst, model.ori_size, model.pixel_size_angst
    )
    return {
        "angle_deg": [float(x) for x in np.quantile(angle, (0.5, 0.99))],
        "shift_angst": [float(x) for x in np.quantile(shift, (0.5, 0.99))],
        "mean FSC": mean_fsc(np.asarray(curve)),
        "least FSC to resolution": float(curve[1 : shell + 1].min()),
    }


def spread_section(results: list[dict[str, Any]]) -> list[str]:
    """RELION's seeds beside each other, and clrelion beside RELION with the same seed."""
    if not results:
        return []
    (result,) = results
    rows = [
        (
            " and ".join(pair["names"]),
            ", ".join(f"{x:.2f}" for x in pair["angle_deg"]),
            ", ".join(f"{x:.2f}" for x in pair["shift_angst"]),
            f"{pair['mean FSC']:.4f}",
            f"{pair['least FSC to resolution']:.4f}",
        )
        for pair in result["pairs"]
    ]
    head = ("runs", "angle, deg: median, p99", "shift, Å: median, p99", "mean FSC",
            "least FSC up to the resolution")  # fmt: skip
    return [
        f"## RELION {result['relion']}'s own spread",
        "",
        f"200 simulated particles, {_ITERATIONS} iterations of classification, perturbed grids:",
        "two seeds of RELION beside each other, and clrelion, in single precision, beside RELION",
        "with the same seed. Differences of the poses, and FSC of the maps.",
        "",
        *table(head, rows),
    ]
