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
from tools.parity.bounds import Bounds
from tools.parity.metrics import (
    FloatArray,
    absolute_deviation,
    map_deviation,
    relative_deviation,
    rotation_angle_deg,
)

_SAME_POSE_DEG = 0.01
_SAME_SHIFT_ANGST = 0.01
_SAME_PMAX = 1e-5
_PRINTED_PERTURBATION = 6e-6  # five digits of a negative one, from which the next is advanced
_LARGEST_UNSHUFFLED = 100
_MOST_CLASSES = 3
_IDENTITY = np.eye(3)[None]


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
    particles_equal
        Fraction with an equal pose and the same Pmax to 1e-5.
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
    particles_equal: float
    settings_equal: bool
    particles: dict[str, float] = field(default_factory=dict)
    model: dict[str, float] = field(default_factory=dict)
    maps: dict[str, float] = field(default_factory=dict)

    def as_json(self) -> dict[str, object]:
        """Contents for a results file."""
        return asdict(self)

    def figures(self) -> dict[str, float]:
        """All deviations by name."""
        return {**self.particles, **self.model, **self.maps}

    def shortcomings(self, bounds: Bounds) -> list[str]:
        """What lies beyond the bounds, one line each."""
        found = []
        if self.poses_equal < bounds.poses:
            found.append(f"poses equal {self.poses_equal:.4f}, asked for {bounds.poses:.4f}")
        if self.particles_equal < bounds.particles:
            found.append(
                f"particles equal {self.particles_equal:.4f}, asked for {bounds.particles:.4f}"
            )
        if not self.settings_equal:
            found.append("sizes, resolution or sampling differ")
        for name, value in self.figures().items():
            if not bounds.judges(name):
                continue
            limit = {"pmax": bounds.pmax, "tau2": bounds.tau2}.get(name, bounds.numbers)
            if name in self.maps:
                limit = bounds.maps
            if not value <= limit:
                found.append(f"{name} {value:.1e}, asked for {limit:.0e}")
        return found


def compare_step(
    found_root: str,
    wanted_root: str,
    iteration: int | None,
    operators: FloatArray = _IDENTITY,
) -> StepAgreement:
    """Compare the files of one iteration.

    Parameters
    ----------
    found_root, wanted_root
        Output roots of clrelion's and of RELION's run.
    iteration
        None for the converged one.
    operators
        float64, (n_operators, 3, 3); of the point group, if a symmetry mate may stand for a pose.
        Both programs pick from one list of directions, so none need to unless two of its
        directions are mates.
    """
    found = read_star(data_file(found_root, iteration))["particles"]
    wanted = read_star(data_file(wanted_root, iteration))["particles"]
    rows = _rows_of(found, wanted.strings("rlnImageName"))
    same = _same_poses(found, rows, wanted, operators)
    pmax_of = found.floats("rlnMaxValueProbDistribution")[rows]
    same_pmax = np.abs(pmax_of - wanted.floats("rlnMaxValueProbDistribution")) < _SAME_PMAX
    result = StepAgreement(
        iteration,
        len(rows),
        float(np.mean(same)),
        float(np.mean(same & same_pmax)),
        _same_sampling(found_root, wanted_root, iteration),
    )
    for name, label, deviation in (
        ("norm", "rlnNormCorrection", relative_deviation),
        ("pmax", "rlnMaxValueProbDistribution", absolute_deviation),
        ("log-likelihood", "rlnLogLikeliContribution", relative_deviation),
    ):
        result.particles[name] = deviation(found.floats(label)[rows], wanted.floats(label))
    _compare_models(result, found_root, wanted_root)
    _compare_maps(result, found_root, wanted_root)
    return result


def _rows_of(particles: StarBlock, image_names: list[str]) -> list[int]:
    row_of = {name: i for i, name in enumerate(particles.strings("rlnImageName"))}
    return [row_of[name] for name in image_names]


def _matrices(particles: StarBlock) -> FloatArray:
    return euler_matrix(*(particles.floats(f"rlnAngle{name}") for name in ("Rot", "Tilt", "Psi")))


def _same_poses(
    found: StarBlock, rows: list[int], wanted: StarBlock, operators: FloatArray
) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    angle = rotation_angle_deg(_matrices(found)[rows], _matrices(wanted), operators)
    x, y = (
        found.floats(label)[rows] - wanted.floats(label)
        for label in ("rlnOriginXAngst", "rlnOriginYAngst")
    )
    same_class = found.ints("rlnClassNumber")[rows] == wanted.ints("rlnClassNumber")
    same_shift = np.hypot(x, y) < _SAME_SHIFT_ANGST
    return np.asarray((angle < _SAME_POSE_DEG) & same_shift & same_class)


def _same_sampling(found_root: str, wanted_root: str, iteration: int | None) -> bool:
    a, b = (read_sampling(sampling_file(root, iteration)) for root in (found_root, wanted_root))
    same_directions = (
        a.rot_deg is None
        or b.rot_deg is None
        # of kept orientations RELION writes the last particle's direction
        or b.rot_deg.shape == (1,)
        or (a.rot_deg.shape == b.rot_deg.shape and bool(np.allclose(a.rot_deg, b.rot_deg)))
    )
    same_settings = (a.healpix_order, a.symmetry) == (b.healpix_order, b.symmetry) and all(
        absolute_deviation(getattr(a, name), getattr(b, name)) == 0
        for name in ("psi_step_deg", "offset_range_angst", "offset_step_angst")
    )
    same_perturbation = abs(a.perturbation - b.perturbation) < _PRINTED_PERTURBATION
    return same_directions and same_settings and same_perturbation


def _compare_models(result: StepAgreement, found_root: str, wanted_root: str) -> None:
    for half in (0, 1, 2):
        name = model_file(wanted_root, result.iteration, half)
        if not Path(name).is_file():
            continue
        found = read_model(model_file(found_root, result.iteration, half))
        wanted = read_model(name)
        result.settings_equal &= (
            found.current_size == wanted.current_size
            and absolute_deviation(found.current_resolution_angst, wanted.current_resolution_angst)
            == 0
        )
        deviations = _model_deviations(found, wanted, result.iteration is None)
        # Estimated from 100 particles: of more, RELION's shuffled order picks them. It writes 0
        # where there is no estimate.
        if result.n_particles <= _LARGEST_UNSHUFFLED and np.all(wanted.acc_rot_deg > 0):
            deviations["accuracy"] = max(
                relative_deviation(found.acc_rot_deg, wanted.acc_rot_deg),
                relative_deviation(found.acc_trans_angst, wanted.acc_trans_angst),
            )
        for key, value in deviations.items():
            result.model[key] = max(value, result.model.get(key, 0.0))


def _model_deviations(found: ModelFile, wanted: ModelFile, is_converged: bool) -> dict[str, float]:
    scale = found.scale_correction
    if is_converged:
        # RELION makes the mean 1 over half 1's particles although the sums are of both halves
        scale = scale / np.average(scale, weights=wanted.group_n_particles)
    deviations = {
        "sigma2_noise": relative_deviation(found.sigma2_noise, wanted.sigma2_noise),
        "tau2": relative_deviation(found.tau2, wanted.tau2),
        "data_vs_prior": relative_deviation(found.data_vs_prior, wanted.data_vs_prior),
        "fsc": absolute_deviation(found.fsc_halves, wanted.fsc_halves),
        "scale": absolute_deviation(scale, wanted.scale_correction),
        "class sizes": absolute_deviation(found.pdf_class, wanted.pdf_class),
        "average norm": absolute_deviation(found.avg_norm_correction, wanted.avg_norm_correction),
        "sigma_offset": relative_deviation(found.sigma_offset_angst, wanted.sigma_offset_angst),
    }
    if found.pdf_direction is not None and wanted.pdf_direction is not None:
        deviations["directions"] = absolute_deviation(found.pdf_direction, wanted.pdf_direction)
    return deviations


def _compare_maps(result: StepAgreement, found_root: str, wanted_root: str) -> None:
    iteration = result.iteration

    def names(root: str) -> list[str]:
        classes = range(_MOST_CLASSES)
        of_classes = [class_map_file(root, iteration, k, h) for h in (0, 1, 2) for k in classes]
        return of_classes + [unfiltered_half_map_file(root, iteration, h) for h in (1, 2)]

    for found, wanted in zip(names(found_root), names(wanted_root), strict=True):
        if Path(wanted).is_file():
            result.maps[Path(wanted).name] = (
                map_deviation(read_map(found).data, read_map(wanted).data)
                if Path(found).is_file()
                else float("inf")
            )
