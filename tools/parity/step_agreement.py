"""One iteration of clrelion's beside RELION's: every figure of specification E, Appendix F."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from clrelion.io.mrc import read_map
from clrelion.io.run_files import (
    ModelFile,
    class_map_file,
    data_file,
    model_file,
    read_model,
    read_sampling,
    sampling_file,
    unfiltered_half_map_file,
)
from clrelion.io.star import StarBlock, read_star
from clrelion.orientations.euler import euler_matrix
from tools.parity.metrics import (
    FloatArray,
    absolute_deviation,
    map_deviation,
    relative_deviation,
    rotation_angle_deg,
)

_SAME_POSE_DEG = 0.01
_SAME_SHIFT_ANGST = 0.01
_LARGEST_UNSHUFFLED = 100


@dataclass(frozen=True)
class Bounds:
    """How far an iteration may be from RELION's.

    Attributes
    ----------
    poses
        Least fraction of equal poses.
    numbers
        Largest deviation of spectra, FSC, norm, scale, probabilities and sizes of the model.
    pmax
        The same for Pmax.
    maps
        Largest relative L2 deviation of a map.
    """

    poses: float
    numbers: float
    pmax: float
    maps: float


BOUNDS = {
    # Appendix F
    "double": Bounds(poses=1.0, numbers=1e-5, pmax=1e-5, maps=1e-5),
    "single": Bounds(poses=0.99, numbers=1e-3, pmax=1e-2, maps=1e-4),
}


@dataclass
class StepAgreement:
    """What one iteration shares with RELION's; deviations are the largest found.

    Attributes
    ----------
    iteration
        Its number; None for the converged one.
    n_particles
        Particles compared.
    poses_equal
        Fraction with the same class, and within 0.01 degrees and 0.01 Å.
    settings_equal
        Current size, resolution, sampling: what the schedule decides.
    particles
        By name: largest absolute deviation of the figures of the particles.
    model
        By name: largest deviation of the figures of the model (relative for spectra).
    maps
        By file name: relative L2 deviation.
    """

    iteration: int | None
    n_particles: int
    poses_equal: float
    settings_equal: bool
    particles: dict[str, float] = field(default_factory=dict)
    model: dict[str, float] = field(default_factory=dict)
    maps: dict[str, float] = field(default_factory=dict)

    def as_json(self) -> dict[str, object]:
        """Contents for a results file."""
        return asdict(self)

    def shortcomings(self, bounds: Bounds) -> list[str]:
        """What lies beyond the bounds, one line each."""
        found = []
        if self.poses_equal < bounds.poses:
            found.append(f"poses equal {self.poses_equal:.4f}, asked for {bounds.poses}")
        if not self.settings_equal:
            found.append("sizes, resolution or sampling differ")
        figures = {**self.particles, **self.model}
        for name, value in figures.items():
            limit = bounds.pmax if name == "pmax" else bounds.numbers
            if not value <= limit:
                found.append(f"{name} {value:.1e}, asked for {limit:.0e}")
        for name, value in self.maps.items():
            if not value <= bounds.maps:
                found.append(f"{name} {value:.1e}, asked for {bounds.maps:.0e}")
        return found


def compare_step(
    found_root: str, wanted_root: str, iteration: int | None, half_set: int = 0
) -> StepAgreement:
    """Compare the files of one iteration.

    Parameters
    ----------
    found_root, wanted_root
        Output roots of clrelion's and of RELION's run.
    iteration
        None for the converged one.
    half_set
        Compare the particles of this half only; 0 for all.
    """
    found = read_star(data_file(found_root, iteration))["particles"]
    wanted = read_star(data_file(wanted_root, iteration))["particles"]
    rows_found, rows_wanted = _common_rows(found, wanted, half_set)
    result = StepAgreement(
        iteration,
        len(rows_found),
        float(np.mean(_same_poses(found, rows_found, wanted, rows_wanted))),
        _same_sampling(found_root, wanted_root, iteration),
    )
    for name, label in (
        ("norm", "rlnNormCorrection"),
        ("pmax", "rlnMaxValueProbDistribution"),
    ):
        result.particles[name] = absolute_deviation(
            found.floats(label)[rows_found], wanted.floats(label)[rows_wanted]
        )
    label = "rlnLogLikeliContribution"
    result.particles["log-likelihood"] = relative_deviation(
        found.floats(label)[rows_found], wanted.floats(label)[rows_wanted]
    )
    # after the last iteration there is one model, of both halves
    if not (half_set and iteration is None):
        _compare_models(result, found_root, wanted_root)
    _compare_maps(result, found_root, wanted_root)
    return result


def _common_rows(
    found: StarBlock, wanted: StarBlock, half_set: int
) -> tuple[list[int], list[int]]:
    row_of = {name: i for i, name in enumerate(found.strings("rlnImageName"))}
    names = wanted.strings("rlnImageName")
    rows = range(wanted.n_rows)
    if half_set:
        halves = wanted.ints("rlnRandomSubset")
        rows_wanted = [i for i in rows if halves[i] == half_set]
    else:
        rows_wanted = list(rows)
    return [row_of[names[i]] for i in rows_wanted], rows_wanted


def _matrices(particles: StarBlock, rows: list[int]) -> FloatArray:
    angles = (particles.floats(f"rlnAngle{name}")[rows] for name in ("Rot", "Tilt", "Psi"))
    return np.asarray(euler_matrix(*angles))


def _same_poses(
    found: StarBlock, rows_found: list[int], wanted: StarBlock, rows_wanted: list[int]
) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    # Both pick from the same list of directions: no symmetry mate may stand in.
    angle = rotation_angle_deg(
        _matrices(found, rows_found), _matrices(wanted, rows_wanted), np.eye(3)[None]
    )
    shifts = [
        found.floats(f"rlnOrigin{x}Angst")[rows_found]
        - wanted.floats(f"rlnOrigin{x}Angst")[rows_wanted]
        for x in "XY"
    ]
    same_class = (
        found.ints("rlnClassNumber")[rows_found] == wanted.ints("rlnClassNumber")[rows_wanted]
    )
    return np.asarray(
        (angle < _SAME_POSE_DEG) & (np.hypot(*shifts) < _SAME_SHIFT_ANGST) & same_class
    )


def _same_sampling(found_root: str, wanted_root: str, iteration: int | None) -> bool:
    a, b = (read_sampling(sampling_file(root, iteration)) for root in (found_root, wanted_root))
    same_directions = (
        a.rot_deg is None
        or b.rot_deg is None
        or (a.rot_deg.shape == b.rot_deg.shape and bool(np.allclose(a.rot_deg, b.rot_deg)))
    )
    names = (
        "healpix_order",
        "symmetry",
        "psi_step_deg",
        "offset_range_angst",
        "offset_step_angst",
        "perturbation",
    )
    return same_directions and all(getattr(a, name) == getattr(b, name) for name in names)


def _compare_models(result: StepAgreement, found_root: str, wanted_root: str) -> None:
    for half in (0, 1, 2):
        name = model_file(wanted_root, result.iteration, half)
        if not Path(name).is_file():
            continue
        found = read_model(model_file(found_root, result.iteration, half))
        wanted = read_model(name)
        result.settings_equal &= (
            found.current_size == wanted.current_size
            and found.current_resolution_angst == wanted.current_resolution_angst
        )
        for key, value in _model_deviations(found, wanted).items():
            result.model[key] = max(value, result.model.get(key, 0.0))


def _model_deviations(found: ModelFile, wanted: ModelFile) -> dict[str, float]:
    deviations = {
        "sigma2_noise": relative_deviation(found.sigma2_noise, wanted.sigma2_noise),
        "tau2": relative_deviation(found.tau2, wanted.tau2),
        "data_vs_prior": relative_deviation(found.data_vs_prior, wanted.data_vs_prior),
        "fsc": absolute_deviation(found.fsc_halves, wanted.fsc_halves),
        "scale": absolute_deviation(found.scale_correction, wanted.scale_correction),
        "class sizes": absolute_deviation(found.pdf_class, wanted.pdf_class),
        "average norm": absolute_deviation(
            found.avg_norm_correction, wanted.avg_norm_correction
        ),
        "sigma_offset": relative_deviation(found.sigma_offset_angst, wanted.sigma_offset_angst),
    }
    if found.pdf_direction is not None and wanted.pdf_direction is not None:
        deviations["directions"] = absolute_deviation(found.pdf_direction, wanted.pdf_direction)
    # Estimated from 100 particles: from more than that, RELION's shuffled order picks them.
    # RELION writes 0 before the first estimate.
    is_whole = int(wanted.group_n_particles.sum()) <= _LARGEST_UNSHUFFLED
    if is_whole and np.all(wanted.acc_rot_deg > 0):
        deviations["accuracy"] = max(
            relative_deviation(found.acc_rot_deg, wanted.acc_rot_deg),
            relative_deviation(found.acc_trans_angst, wanted.acc_trans_angst),
        )
    return deviations


def _compare_maps(result: StepAgreement, found_root: str, wanted_root: str) -> None:
    pairs = [
        (make(found_root), make(wanted_root))
        for half in (0, 1, 2)
        for i_class in range(2)
        for make in (
            lambda root, h=half, k=i_class: class_map_file(root, result.iteration, k, h),
        )
    ]
    pairs += [
        tuple(unfiltered_half_map_file(root, result.iteration, half)
              for root in (found_root, wanted_root))
        for half in (1, 2)
    ]
    for found, wanted in pairs:
        if Path(wanted).is_file():
            name = Path(wanted).name
            result.maps[name] = map_deviation(read_map(found).data, read_map(wanted).data)
