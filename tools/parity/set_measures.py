"""Everything measured on a finished refinement of a test set, beside RELION's."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from clrelion.io.mrc import read_map
from clrelion.io.run_files import class_map_file, data_file, model_file, read_model
from clrelion.io.star import read_star
from clrelion.orientations.euler import euler_matrix
from clrelion.orientations.symmetry import PointGroup
from clrelion.report.run_record import read_run
from tools.parity.metrics import (
    SPHERE_RADIUS_ANGST,
    FloatArray,
    class_agreement,
    fsc_near_nyquist,
    mean_fsc,
    rotation_angle_deg,
    shell_of_resolution,
    sphere_fsc,
)
from tools.parity.whole_sets import ParticleSet, output_root, record_file

_NO_MASK = 1e9  # radius in Å of a sphere that holds any box


@dataclass(frozen=True)
class Poses:
    """Poses and classes of particles, in the order of their image names."""

    matrices: FloatArray
    shifts: FloatArray
    classes: np.ndarray[Any, np.dtype[np.int64]]


def read_poses(path: str) -> Poses:
    """Read poses from a particle file of clrelion, of RELION, or with the truth.

    Raises
    ------
    StarError
        It cannot be read.
    """
    particles = read_star(path)["particles"]
    # by number: programs may write the stack's name with or without its folder
    order = np.argsort([int(name.split("@")[0]) for name in particles.strings("rlnImageName")])
    angles = (particles.floats(f"rlnAngle{name}")[order] for name in ("Rot", "Tilt", "Psi"))
    labels = ("rlnOriginXAngst", "rlnOriginYAngst")
    return Poses(
        euler_matrix(*angles),
        np.stack([particles.floats(label)[order] for label in labels], axis=-1),
        particles.ints("rlnClassNumber", 1)[order],
    )


def measure_set(particle_set: ParticleSet, folder: Path, label: str) -> dict[str, Any]:
    """Measure a finished run.

    Parameters
    ----------
    particle_set
        The set.
    folder
        Parity folder.
    label
        Name of the series of runs.

    Returns
    -------
    dict
        For ``parity/results``; JSON types only.
    """
    root = str(output_root(folder, label, particle_set.name))
    truth_file = folder / "sets" / particle_set.name / "truth.star"
    record = json.loads(record_file(folder, label, particle_set.name).read_text(encoding="utf-8"))
    found = read_poses(data_file(root, particle_set.last_iteration))
    relion = read_poses(data_file(particle_set.relion_root, particle_set.last_iteration))
    operators = PointGroup.from_name(particle_set.symmetry).operators
    result: dict[str, Any] = {
        "set": particle_set.name,
        "label": label,
        "run": record,
        "n_particles": len(found.matrices),
        "iterations": {"clrelion": _course(root), "RELION": _course(particle_set.relion_root)},
        "spectra": _spectra(root, particle_set),
        "poses against RELION": _differences(found, relion, operators, (0.5, 0.99)),
        "maps": _maps(root, particle_set, folder),
    }
    if particle_set.n_classes > 1:
        result["classes"] = {"RELION": class_agreement(found.classes, relion.classes)}
    if truth_file.is_file():
        truth = read_poses(str(truth_file))
        result["poses against truth"] = {
            "clrelion": _differences(found, truth, operators, (0.5, 0.9)),
            "RELION": _differences(relion, truth, operators, (0.5, 0.9)),
        }
        if particle_set.n_classes > 1:
            result["classes"] |= {
                "truth": class_agreement(found.classes, truth.classes),
                "RELION's with truth": class_agreement(relion.classes, truth.classes),
            }
    return result


def compare_runs(
    particle_set: ParticleSet, folder: Path, first: str, second: str
) -> dict[str, Any]:
    """Compare the last maps of two series of runs (another device, another seed).

    Returns
    -------
    dict
        Least FSC up to the resolution found, of all classes.
    """
    roots = [str(output_root(folder, label, particle_set.name)) for label in (first, second)]
    model = read_model(model_file(roots[0], particle_set.last_iteration))
    curves = _curves(roots[0], roots[1], particle_set)
    shell = shell_of_resolution(
        model.current_resolution_angst, model.ori_size, model.pixel_size_angst
    )
    return {
        "set": particle_set.name,
        "labels": [first, second],
        "resolution": model.current_resolution_angst,
        "least FSC to resolution": min(float(curve[1 : shell + 1].min()) for curve in curves),
    }


def _course(root: str) -> list[dict[str, Any]]:
    """Resolution, size and sampling by iteration."""
    course = []
    for entry in read_run(root):
        model, sampling = entry.model, entry.sampling
        line: dict[str, Any] = {
            "iteration": entry.label,
            "resolution": _finite(model.current_resolution_angst),
            "current_size": model.current_size,
            "pmax": model.ave_pmax,
        }
        if sampling is not None:
            line["sampling"] = {
                "healpix_order": sampling.healpix_order,
                "offset_range": sampling.offset_range_angst,
                "offset_step": sampling.offset_step_angst,
            }
        course.append(line)
    return course


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _spectra(root: str, particle_set: ParticleSet) -> dict[str, Any]:
    """Noise and signal power of the last iteration beside RELION's."""
    found, relion = (
        read_model(model_file(name, particle_set.last_iteration))
        for name in (root, particle_set.relion_root)
    )
    shell = shell_of_resolution(
        max(found.current_resolution_angst, relion.current_resolution_angst),
        found.ori_size,
        found.pixel_size_angst,
    )
    return {
        "sigma2_noise": _ratio(found.sigma2_noise[:, 1:], relion.sigma2_noise[:, 1:]),
        "tau2": _ratio(found.tau2[:, 1 : shell + 1], relion.tau2[:, 1 : shell + 1]),
        "resolution": {
            "clrelion": found.current_resolution_angst,
            "RELION": relion.current_resolution_angst,
        },
        "shell": {
            name: shell_of_resolution(
                model.current_resolution_angst, model.ori_size, model.pixel_size_angst
            )
            for name, model in (("clrelion", found), ("RELION", relion))
        },
    }


def _ratio(found: FloatArray, wanted: FloatArray) -> dict[str, float]:
    both = (found > 0) & (wanted > 0)
    deviation = np.abs(found[both] / wanted[both] - 1)
    return {"median": float(np.median(deviation)), "largest": float(deviation.max())}


def _differences(
    found: Poses, wanted: Poses, operators: FloatArray, quantiles: tuple[float, float]
) -> dict[str, list[float]]:
    angle = rotation_angle_deg(found.matrices, wanted.matrices, operators)
    shift = np.hypot(*(found.shifts - wanted.shifts).T)
    return {
        "angle_deg": [float(x) for x in np.quantile(angle, quantiles)],
        "shift_angst": [float(x) for x in np.quantile(shift, quantiles)],
    }


def _map(root: str, particle_set: ParticleSet, i_class: int) -> tuple[FloatArray, float]:
    found = read_map(class_map_file(root, particle_set.last_iteration, i_class))
    return found.data.astype(np.float64), found.pixel_size_angst


def _curves(
    first: str, second: str, particle_set: ParticleSet, radius_angst: float = SPHERE_RADIUS_ANGST
) -> list[FloatArray]:
    """FSC of the maps of each class of two runs, in a sphere."""
    curves = []
    for i_class in range(particle_set.n_classes):
        a, pixel_size = _map(first, particle_set, i_class)
        b, _ = _map(second, particle_set, i_class)
        curves.append(sphere_fsc(a, b, pixel_size, radius_angst))
    return curves


def _maps(root: str, particle_set: ParticleSet, folder: Path) -> dict[str, Any]:
    """FSC with RELION's maps and with the truth, by class."""
    volume, pixel_size = _map(root, particle_set, 0)
    maps: dict[str, Any] = {
        "radius": SPHERE_RADIUS_ANGST,
        # the last shell that is not finer than 20 Å
        "shell of 20 A": int(len(volume) * pixel_size / 20.0),
    }
    for key, radius in (("with RELION", SPHERE_RADIUS_ANGST), ("with RELION, no mask", _NO_MASK)):
        curves = _curves(root, particle_set.relion_root, particle_set, radius)
        maps[key] = [_figures(curve) for curve in curves]
    truths = [
        folder / "sets" / particle_set.name / f"truth{i + 1:02d}.mrc"
        for i in range(particle_set.n_classes)
    ]
    if not truths[0].is_file():
        return maps
    for key, name in (("with truth", root), ("RELION's with truth", particle_set.relion_root)):
        maps[key] = []
        for i_class, truth in enumerate(truths):
            volume, pixel_size = _map(name, particle_set, i_class)
            maps[key].append(_figures(sphere_fsc(volume, read_map(truth).data, pixel_size)))
    return maps


def _figures(curve: FloatArray) -> dict[str, Any]:
    return {
        "mean": mean_fsc(curve),
        "near Nyquist": fsc_near_nyquist(curve),
        "curve": [round(float(x), 5) for x in curve],
    }
