"""Runs for the tests of the report: files with known numbers, without a refinement."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from clrelion.io.mrc import write_map
from clrelion.io.run_files import (
    ModelFile,
    SamplingFile,
    class_map_file,
    data_file,
    model_file,
    sampling_file,
    write_model,
    write_sampling,
)
from clrelion.io.star import StarTable, write_star

BOX = 16
PIXEL = 4.0
N_SHELLS = BOX // 2 + 1


def model(n_classes: int, resolution_angst: float, class_files: list[str]) -> ModelFile:
    spectra = np.tile(np.linspace(1.0, 0.0, N_SHELLS), (n_classes, 1))
    per_class = np.full(n_classes, 1.0)
    return ModelFile(
        ori_size=BOX, pixel_size_angst=PIXEL, current_resolution_angst=resolution_angst,
        current_size=BOX, padding_factor=2.0, n_classes=n_classes, tau2_fudge=1.0,
        avg_norm_correction=1.0, sigma_offset_angst=5.0, orientational_prior_mode=0,
        sigma_rot_deg=0.0, sigma_tilt_deg=0.0, sigma_psi_deg=0.0, log_likelihood=0.0,
        ave_pmax=0.5, class_files=class_files, pdf_class=per_class / n_classes,
        acc_rot_deg=2.0 * per_class, acc_trans_angst=per_class,
        estimated_resolution_angst=resolution_angst * per_class,
        overall_completeness=per_class, data_vs_prior=100.0 * spectra,
        fsc_halves=spectra if n_classes == 1 else 0 * spectra, fourier_coverage=spectra,
        sigma2_class=spectra, tau2=spectra, group_names=["a", "b"],
        group_n_particles=np.array([7, 0]), scale_correction=np.array([1.25, 1.0]),
        sigma2_noise=np.ones((1, N_SHELLS)),
    )  # fmt: skip


def sampling(symmetry: str = "C1") -> SamplingFile:
    return SamplingFile(
        healpix_order=3, symmetry=symmetry, limit_tilt_deg=-91.0, psi_step_deg=7.5,
        offset_range_angst=20.0, offset_step_angst=8.0, perturbation=0.0, perturbation_factor=0.5,
        healpix_order_original=2, psi_step_original_deg=15.0, offset_range_original_angst=20.0,
        offset_step_original_angst=8.0, rot_deg=np.zeros(1), tilt_deg=np.zeros(1),
    )  # fmt: skip


def write_iteration(
    root: str,
    iteration: int | None,
    resolution_angst: float,
    n_classes: int = 1,
    half_set: int = 0,
    symmetry: str = "C1",
) -> None:
    rng = np.random.default_rng(1)
    maps = [class_map_file(root, iteration, k, half_set) for k in range(n_classes)]
    for name in maps:
        write_map(name, rng.normal(size=(BOX, BOX, BOX)), PIXEL)
    write_model(model_file(root, iteration, half_set), model(n_classes, resolution_angst, maps))
    write_sampling(sampling_file(root, iteration), sampling(symmetry))


def write_particle_file(root: str, iteration: int | None, optics_name: str = "a group") -> None:
    """Seven particles, all seen from one direction, with Pmax 0.05 to 0.65."""
    n = 7
    optics = StarTable(
        "optics",
        {
            "rlnOpticsGroup": np.array([1]),
            "rlnOpticsGroupName": [optics_name],
            "rlnVoltage": np.array([300.0]),
            "rlnSphericalAberration": np.array([2.7]),
            "rlnAmplitudeContrast": np.array([0.1]),
            "rlnImagePixelSize": np.array([PIXEL]),
            "rlnImageSize": np.array([BOX]),
            "rlnImageDimensionality": np.array([2]),
        },
    )
    particles = StarTable(
        "particles",
        {
            "rlnImageName": [f"{i + 1:06d}@stack.mrcs" for i in range(n)],
            "rlnMicrographName": ["a"] * n,
            "rlnOpticsGroup": np.ones(n, dtype=np.int64),
            "rlnAngleRot": np.full(n, 40.0),
            "rlnAngleTilt": np.full(n, 70.0),
            "rlnAnglePsi": np.zeros(n),
            "rlnClassNumber": np.ones(n, dtype=np.int64),
            "rlnRandomSubset": np.array([1, 2, 1, 2, 1, 2, 1]),
            "rlnDefocusU": np.linspace(10000.0, 16000.0, n),
            "rlnDefocusV": np.linspace(12000.0, 18000.0, n),
            "rlnDefocusAngle": np.zeros(n),
            "rlnMaxValueProbDistribution": np.linspace(0.05, 0.65, n),
        },
    )
    write_star(data_file(root, iteration), [optics, particles])


def write_auto_refine(folder: Path, symmetry: str = "C1") -> str:
    """Write three iterations of halves and the converged one; give the root."""
    root = str(folder / "run")
    for iteration, resolution in ((0, 60.0), (1, 31.25), (2, 20.5)):
        for half_set in (1, 2):
            write_iteration(root, iteration, resolution, half_set=half_set, symmetry=symmetry)
    write_iteration(root, None, 17.125, symmetry=symmetry)
    write_particle_file(root, None)
    return root
