"""Starts a run from particles and references (specification E 3, iteration 0)."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clrelion.errors import ImageError, OptionsError, StarError
from clrelion.expectation.results import NOT_FINITE
from clrelion.fourier.filters import low_pass_map
from clrelion.io.mrc import read_map
from clrelion.io.particle_table import ParticleTable
from clrelion.io.run_files import read_model
from clrelion.io.star import read_star
from clrelion.options import RefineOptions
from clrelion.orientations.sampling import advance_perturbation
from clrelion.orientations.symmetry import PointGroup
from clrelion.particles.half_sets import assign_half_sets
from clrelion.particles.loader import BatchLoader, ImageSource
from clrelion.particles.normalisation import NormalisationCheck
from clrelion.particles.random_numbers import first_random_numbers
from clrelion.refinement.expectation_setup import Grids
from clrelion.refinement.initialise import (
    NoiseSpectrumEstimator,
    initial_spectra,
    prepare_reference,
)
from clrelion.refinement.progress import ProgressMaker, no_progress
from clrelion.refinement.schedule import (
    SchedulePolicy,
    ScheduleState,
    current_resolution,
    record_resolution,
    start_sampling,
)
from clrelion.refinement.state import HalfModel, RunState

__all__ = ["read_references", "start_run"]

_log = logging.getLogger(__name__)

_HALF_IN_NAME = re.compile(r"half[12]")
_NOISE_BATCH = 128
_SEED_OF_THE_START = 1  # what a C program has that has not chosen one
_NOT_KNOWN = 999.0


def read_references(
    options: RefineOptions, table: ParticleTable
) -> tuple[list[list[NDArray[np.float64]]], float, bool]:
    """Read the start references of each half-set (specification E 3.1).

    Returns
    -------
    maps
        One list of class maps for each half-set (or one in all), float64 (N, N, N).
    pixel_size_angst
        Of the model.
    is_single
        One map stands for all classes.

    Raises
    ------
    ImageError, StarError, OptionsError
        A file that is missing or does not fit the particles; contradicting classes.
    """
    assert options.reference is not None
    is_list = Path(options.reference).suffix == ".star"
    if is_list:
        names = _listed_references(options.reference)
        if options.split_random_halves and len(names) > 1:
            raise OptionsError(
                f"--ref {options.reference}: {len(names)} references with --split_random_halves; "
                "halves are refined with one class only"
            )
    else:
        names = [options.reference] * options.n_classes
    n_halves = 2 if options.split_random_halves else 1
    optics = table.optics[0]
    override = options.ref_pixel_size_angst or options.pixel_size_angst or -1.0
    maps: list[list[NDArray[np.float64]]] = []
    pixel_size = 0.0
    for half in range(1, n_halves + 1):
        of_half = []
        for name in names:
            path = _name_of_half(name, half) if n_halves == 2 else name
            found = read_map(path)
            reference = prepare_reference(
                found.data,
                found.pixel_size_angst,
                image_box_px=optics.box_px,
                image_pixel_size_angst=optics.pixel_size_angst,
                ref_angpix_angst=override,
                trust_ref_size=options.trust_ref_size,
                name=path,
            )
            pixel_size = pixel_size or reference.pixel_size_angst
            if abs(reference.pixel_size_angst - pixel_size) > 1e-3:
                raise ImageError(
                    f"{path}: pixel size {reference.pixel_size_angst:g} Å, other references have "
                    f"{pixel_size:g} Å; give --ref_angpix or --trust_ref_size"
                )
            of_half.append(reference.map)
        maps.append(of_half)
    return maps, pixel_size, not is_list and len(names) > 1


def _listed_references(star: str) -> list[str]:
    blocks = read_star(star)
    block = blocks.get("model_classes") or next(iter(blocks.values()), None)
    if block is None or "rlnReferenceImage" not in block:
        raise StarError(f"--ref {star}: no column rlnReferenceImage; list one map a class there")
    folder = Path(star).parent
    return [
        name if Path(name).exists() else str(folder / name)
        for name in block.strings("rlnReferenceImage")
    ]


def _name_of_half(name: str, half: int) -> str:
    """Variant of a file name for a half-set, if it names one (specification E 2.6)."""
    path = Path(name)
    return str(path.with_name(_HALF_IN_NAME.sub(f"half{half}", path.name)))


def start_run(
    options: RefineOptions,
    table: ParticleTable,
    images: ImageSource,
    point_group: PointGroup,
    policy: SchedulePolicy,
    references: tuple[list[list[NDArray[np.float64]]], float, bool],
    random_seed: int,
    progress: ProgressMaker = no_progress,
) -> RunState:
    """Make the state before the first iteration.

    Parameters
    ----------
    references
        From `read_references`.
    progress
        Shows how far reading images for the noise spectra is.

    Raises
    ------
    ImageError, StarError, OptionsError, NumericalError
        Input that cannot be used.
    """
    maps, pixel_size, is_single = references
    ori_size = maps[0][0].shape[0]
    if options.split_random_halves:
        assign_half_sets(table, random_seed)
    elif len(set(table.random_subset.tolist())) > 1:
        # half-sets of an earlier refinement do not matter to a classification's order
        table.random_subset = np.zeros(table.n, dtype=np.int64)
    noise, bad = _noise_spectra(options, table, images, policy, ori_size, pixel_size, progress)
    sampling = start_sampling(
        policy,
        healpix_order=options.healpix_order,
        psi_step_deg=options.psi_step_deg or -1.0,
        offset_range_px=options.offset_range_px,
        offset_step_px=options.offset_step_px,
        pixel_size_angst=pixel_size,
        sigma_ang_deg=options.sigma_ang_deg or -1.0,
        sigma_rot_deg=options.sigma_rot_deg or -1.0,
        sigma_tilt_deg=options.sigma_tilt_deg or -1.0,
        sigma_psi_deg=options.sigma_psi_deg or -1.0,
    )
    n_dir = Grids.create(sampling, options, point_group).orientations.n_dir
    n_halves = len(maps)
    models = []
    for half, of_half in enumerate(maps, start=1):
        n_particles = int((table.random_subset == half).sum()) if n_halves == 2 else table.n
        models.append(_start_model(options, of_half, pixel_size, noise, n_particles, n_dir, table))
    state = RunState(
        table=table,
        models=models,
        ori_size=ori_size,
        pixel_size_angst=pixel_size,
        iteration=0,
        schedule=ScheduleState(incr_size=options.incr_size),
        sampling=sampling,
        start_sampling=sampling,
        references_ctf_corrected=options.ctf and not options.ctf_uncorrected_ref,
        seeding_iteration=(2 if options.firstiter_cc else 1) if is_single else 0,
        image_folder=str(Path(table.star_path).resolve().parent),
        skipped=dict.fromkeys(bad, NOT_FINITE),
    )
    (drawn,) = first_random_numbers(np.array([_SEED_OF_THE_START])).tolist()
    state.perturbation = advance_perturbation(0.0, options.perturb, drawn)
    resolution = current_resolution(
        models[0].data_vs_prior,
        pixel_size_angst=pixel_size,
        iteration=0,
        ini_high_angst=options.ini_high_angst or -1.0,
        is_first_iteration_cc=options.firstiter_cc,
        is_gold_standard=options.auto_refine,
        do_map=not options.no_map,
        minres_map=options.minres_map,
    )
    state.schedule = record_resolution(state.schedule, resolution)
    return state


def _start_model(
    options: RefineOptions,
    maps: list[NDArray[np.float64]],
    pixel_size: float,
    noise: NDArray[np.float64],
    n_particles: int,
    n_dir: int,
    table: ParticleTable,
) -> HalfModel:
    n_classes, n_shells = len(maps), maps[0].shape[0] // 2 + 1
    if options.ini_high_angst is not None:
        ini_high = options.ini_high_angst
        maps = [np.asarray(low_pass_map(m, pixel_size, ini_high), dtype=np.float64) for m in maps]
    pdf = np.full(n_classes, 1.0 / n_classes)
    spectra = [
        initial_spectra(
            m,
            noise,
            n_particles=n_particles,
            class_probability=float(p),
            tau2_fudge=options.tau2_fudge,
        )
        for m, p in zip(maps, pdf, strict=True)
    ]
    empty = np.zeros((n_classes, n_shells))
    return HalfModel(
        maps=maps,
        pdf_class=pdf,
        pdf_direction=np.full((n_classes, n_dir), 1.0 / (n_classes * n_dir)),
        sigma2_noise=noise.copy(),
        tau2=np.stack([tau2 for tau2, _ in spectra]),
        data_vs_prior=np.stack([ratio for _, ratio in spectra]),
        sigma2_class=empty.copy(),
        fourier_coverage=empty.copy(),
        fsc_halves=np.zeros(n_shells),
        scale_correction=np.ones(len(table.group_names)),
        avg_norm_correction=1.0,
        sigma2_offset_angst2=options.sigma_offset_angst**2,
        overall_coverage=np.zeros(n_classes),
        acc_rot_deg=np.full(n_classes, _NOT_KNOWN),
        acc_trans_angst=np.full(n_classes, _NOT_KNOWN),
    )


def _noise_spectra(
    options: RefineOptions,
    table: ParticleTable,
    images: ImageSource,
    policy: SchedulePolicy,
    ori_size: int,
    pixel_size: float,
    progress: ProgressMaker,
) -> tuple[NDArray[np.float64], list[int]]:
    """Initial noise spectra, one an optics group, and bad images (specification E 3.2, 3.3)."""
    n_groups, n_shells = len(table.optics), ori_size // 2 + 1
    if options.sigma2_noise_file is not None:
        return _noise_from_file(options.sigma2_noise_file, n_groups, n_shells), []
    if options.always_cc:
        return np.ones((n_groups, n_shells)), []
    estimator = NoiseSpectrumEstimator(
        ori_size,
        pixel_size,
        [optics.pixel_size_angst for optics in table.optics],
        policy.particle_diameter_angst,
        options.width_mask_edge_px,
        options.zero_mask,
        options.n_particles_sigma2_noise,
    )
    check = NormalisationCheck(table, policy.particle_diameter_angst)
    order = np.argsort(table.random_subset, kind="stable")
    chosen, bad = [], []
    for group in range(n_groups):
        members = order[table.optics_group[order] == group]
        chosen.append(members[: options.n_particles_sigma2_noise])
    ids = np.concatenate(chosen)
    with progress(len(ids), f"Estimating initial noise spectra from {len(ids)} particles") as bar:
        for batch in BatchLoader(table, ids, _NOISE_BATCH, images):
            if not options.dont_check_norm:
                check.inspect(batch)
            bad += batch.bad_ids.tolist()
            estimator.add(batch.images, batch.optics_group)
            bar.update(len(batch.images) + len(batch.bad_ids))
    if len(bad) == len(ids):
        raise ImageError(
            f"{table.star_path}: all {len(bad)} images read hold NaN or infinite pixels; extract "
            "them again"
        )
    check.conclude()
    return estimator.finish(), bad


def _noise_from_file(path: str, n_groups: int, n_shells: int) -> NDArray[np.float64]:
    """``--sigma``: a model file of RELION, or a STAR file with a column rlnSigma2Noise."""
    blocks = read_star(path)
    if any(name.startswith("model_optics_group_") for name in blocks):
        noise = read_model(path).sigma2_noise
        return np.asarray(np.broadcast_to(noise[:1], (n_groups, n_shells)).copy())
    block = next((b for b in blocks.values() if "rlnSigma2Noise" in b), None)
    if block is None:
        raise StarError(f"--sigma {path}: no column rlnSigma2Noise")
    values = block.floats("rlnSigma2Noise")
    if len(values) != n_shells:
        raise StarError(f"--sigma {path}: {len(values)} shells, the model has {n_shells}")
    return np.tile(values, (n_groups, 1))
