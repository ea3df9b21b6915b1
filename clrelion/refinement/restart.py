"""Continues a run from its optimiser file (specification E 6.6)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clrelion.errors import ContinueError
from clrelion.io.mrc import read_map
from clrelion.io.particle_table import ParticleTable, read_particles
from clrelion.io.run_files import (
    ModelFile,
    OptimiserFile,
    SamplingFile,
    optimiser_file,
    read_model,
    read_optimiser,
    read_sampling,
    resolve_run_file,
)
from clrelion.options import RefineOptions
from clrelion.orientations.sampling import angular_step_deg
from clrelion.orientations.symmetry import PointGroup
from clrelion.refinement.expectation_setup import Grids
from clrelion.refinement.own_options import (
    HAS_FINE_ENOUGH,
    IMAGE_FOLDER,
    PERTURBATION,
    PIXEL_SIZE,
    stored_own_options,
)
from clrelion.refinement.schedule_state import SamplingState, ScheduleState
from clrelion.refinement.state import HalfModel, RunState

__all__ = [
    "StoredRun",
    "read_stored_run",
    "restart_run",
    "stored_options",
    "stored_state",
    "take_stored_values",
]

_STORED = ("table", "models", "schedule", "sampling", "perturbation", "current_size")
"""What an iteration changes of the state."""


@dataclass(frozen=True)
class StoredRun:
    """The files of one iteration of a run.

    Attributes
    ----------
    path
        Optimiser file.
    optimiser, models, sampling
        Contents of the files; two models while halves are split.
    """

    path: str
    optimiser: OptimiserFile
    models: list[ModelFile]
    sampling: SamplingFile


def read_stored_run(path: str) -> StoredRun:
    """Read the optimiser, model and sampling files.

    Raises
    ------
    ContinueError
        The run is finished, or a file it needs is missing.
    """
    optimiser = read_optimiser(path)
    if optimiser.iteration < 0:
        raise ContinueError(
            f"--continue {path}: this run has converged; continue from the optimiser file of a "
            "numbered iteration"
        )
    names = [optimiser.model_star]
    if optimiser.do_split_random_halves and optimiser.model_star2:
        names.append(optimiser.model_star2)
    models = [read_model(resolve_run_file(name, path)) for name in names]
    sampling = read_sampling(resolve_run_file(optimiser.sampling_star, path))
    return StoredRun(path, optimiser, models, sampling)


def stored_options(run: StoredRun) -> dict[str, object]:
    """Options of the stored run by field name, for `RefineOptions.continued`."""
    optimiser, model, sampling = run.optimiser, run.models[0], run.sampling

    def on(value: float) -> float | None:
        return value if value > 0 else None

    stored: dict[str, object] = {
        "particles_star": optimiser.data_star,
        "output_root": optimiser.output_root,
        "reference": model.class_files[0],
        "n_iterations": optimiser.n_iterations,
        "n_classes": model.n_classes,
        "tau2_fudge": model.tau2_fudge,
        "random_seed": optimiser.random_seed,
        "ctf": optimiser.do_ctf_correction,
        "ctf_intact_first_peak": optimiser.do_ctf_intact_first_peak,
        "ctf_phase_flipped": optimiser.is_ctf_phase_flipped,
        "only_flip_phases": optimiser.do_only_flip_phases,
        "particle_diameter_angst": on(optimiser.particle_diameter_angst),
        "width_mask_edge_px": optimiser.width_mask_edge_px,
        "zero_mask": optimiser.do_zero_mask,
        "flatten_solvent": optimiser.do_solvent_flattening,
        "solvent_mask": optimiser.solvent_mask,
        "solvent_mask2": optimiser.solvent_mask2,
        "solvent_correct_fsc": optimiser.do_solvent_fsc_correction,
        "tau2_file": optimiser.tau_spectrum,
        "oversampling": optimiser.adaptive_oversampling,
        "adaptive_fraction": optimiser.adaptive_fraction,
        "max_significant": optimiser.max_significant if optimiser.max_significant > 0 else None,
        "max_coarse_size_px": optimiser.max_coarse_size_px
        if optimiser.max_coarse_size_px > 0
        else None,
        "strict_highres_exp_angst": on(optimiser.highres_limit_angst),
        "strict_lowres_exp_angst": on(optimiser.lowres_limit_angst),
        "no_map": not optimiser.do_map,
        "auto_refine": optimiser.do_auto_refine,
        "split_random_halves": optimiser.do_split_random_halves,
        "low_resol_join_halves_angst": on(optimiser.low_resol_join_halves_angst),
        "auto_sampling": optimiser.do_auto_sampling,
        "auto_local_healpix_order": optimiser.auto_local_healpix_order,
        "skip_align": optimiser.do_skip_align,
        "skip_rotate": optimiser.do_skip_rotate,
        "norm": optimiser.do_norm_correction,
        "scale": optimiser.do_scale_correction,
        "center_classes": optimiser.do_center_classes,
        "fix_sigma_noise": optimiser.do_fix_sigma_noise,
        "fix_sigma_offset": optimiser.do_fix_sigma_offset,
        "padding": model.padding_factor,
        "symmetry": sampling.symmetry,
        "healpix_order": sampling.healpix_order_original,
        "limit_tilt_deg": sampling.limit_tilt_deg,
        "perturb": sampling.perturbation_factor,
    }
    stored.update(stored_own_options(optimiser.own_options))
    return stored


def restart_run(
    options: RefineOptions, run: StoredRun, point_group: PointGroup, given: Mapping[str, object]
) -> RunState:
    """Make the state after the stored iteration.

    Parameters
    ----------
    options
        Merged options, from `RefineOptions.continued`.
    run
        Stored files.
    given
        Options of the new command line that may move the sampling, by field name.

    Raises
    ------
    ContinueError, StarError, ImageError
        A file is missing or does not fit.
    """
    _check_halves(options, run)
    optimiser, model, own = run.optimiser, run.models[0], run.optimiser.own_options
    table = read_particles(
        resolve_run_file(optimiser.data_star, run.path), options.pixel_size_angst, options.ctf
    )
    sampling = _sampling(options, run, given)
    n_dir = Grids.create(sampling, options, point_group).orientations.n_dir
    state = RunState(
        table=table,
        models=[_half_model(m, run, table, n_dir) for m in run.models],
        ori_size=model.ori_size,
        pixel_size_angst=float(own.get(PIXEL_SIZE, model.pixel_size_angst)),
        iteration=optimiser.iteration,
        schedule=_schedule(run),
        sampling=sampling,
        start_sampling=_original(sampling),
        # restored, unlike in RELION (specification E Q17)
        perturbation=float(own.get(PERTURBATION, run.sampling.perturbation)),
        current_size=model.current_size,
        references_ctf_corrected=optimiser.refs_are_ctf_corrected,
        is_continued=True,
        seeding_iteration=_seeding_iteration(run),
        image_folder=own.get(IMAGE_FOLDER, str(Path(table.star_path).resolve().parent)),
    )
    if options.tau2_fudge != model.tau2_fudge and "tau2_fudge" not in given:
        raise ContinueError(f"--continue {run.path}: the stored --tau2_fudge cannot be restored")
    return state


def stored_state(options: RefineOptions, iteration: int, point_group: PointGroup) -> RunState:
    """State that this run's own files of an iteration hold."""
    run = read_stored_run(optimiser_file(options.output_root, iteration))
    # what these two ask for has happened, or will
    asked = options.model_copy(update={"force_converge": False, "join_random_halves": False})
    return restart_run(asked, run, point_group, {"tau2_fudge": options.tau2_fudge})


def take_stored_values(state: RunState, stored: RunState) -> None:
    """Give a state the values of its own files: maps in single precision, some roots of squares.

    A run that does so after every iteration goes on exactly as one that is continued there.
    """
    for name in _STORED:
        setattr(state, name, getattr(stored, name))


def _check_halves(options: RefineOptions, run: StoredRun) -> None:
    """Only halves can be joined."""
    if len(run.models) == 1 and (options.force_converge or options.join_random_halves):
        flag = "--force_converge" if options.force_converge else "--join_random_halves"
        raise ContinueError(
            f"--continue {run.path}: this run has no half-sets, so {flag} does not apply; drop it"
        )


def _seeding_iteration(run: StoredRun) -> int:
    """The next iteration, if all classes still share one map: they would stay equal for ever."""
    model = run.models[0]
    if model.n_classes == 1:
        return 0
    first, *others = (read_map(resolve_run_file(f, run.path)).data for f in model.class_files)
    are_equal = all(np.array_equal(first, other) for other in others)
    return run.optimiser.iteration + 1 if are_equal else 0


def _original(sampling: SamplingState) -> SamplingState:
    """The sampling that the run was begun with."""
    return replace(
        sampling,
        healpix_order=sampling.original_healpix_order,
        psi_step_deg=sampling.original_psi_step_deg,
        offset_range_angst=sampling.original_offset_range_angst,
        offset_step_angst=sampling.original_offset_step_angst,
    )


def _schedule(run: StoredRun) -> ScheduleState:
    optimiser, model = run.optimiser, run.models[0]
    resolution = model.current_resolution_angst
    return ScheduleState(
        current_resolution_inv_angst=1.0 / resolution if resolution > 0 else 0.0,
        best_resolution_inv_angst=optimiser.best_resolution_inv_angst,
        nr_iter_wo_resol_gain=optimiser.n_iter_without_resolution_gain,
        nr_iter_wo_changes=optimiser.n_iter_without_assignment_changes,
        current_changes_classes=optimiser.changes_classes,
        current_changes_offsets_angst=optimiser.changes_offsets_angst,
        current_changes_orientations_deg=optimiser.changes_orientations_deg,
        smallest_changes_classes=optimiser.smallest_changes_classes,
        smallest_changes_offsets_angst=optimiser.smallest_changes_offsets_angst,
        smallest_changes_orientations_deg=optimiser.smallest_changes_orientations_deg,
        incr_size=optimiser.incr_size,
        has_high_fsc=optimiser.has_high_fsc_at_limit,
        # RELION's files do not say; then the first iteration finds out
        has_fine_enough=optimiser.own_options.get(HAS_FINE_ENOUGH) == "1",
        acc_rot_deg=optimiser.acc_rot_deg,
        acc_trans_angst=optimiser.acc_trans_angst,
        ave_pmax=model.ave_pmax,
    )


def _sampling(options: RefineOptions, run: StoredRun, given: Mapping[str, object]) -> SamplingState:
    """Stored sampling; outside auto-refine the new command line may move it."""
    stored, model = run.sampling, run.models[0]
    sampling = SamplingState(
        healpix_order=stored.healpix_order,
        psi_step_deg=_psi_step_deg(stored),
        offset_range_angst=stored.offset_range_angst,
        offset_step_angst=stored.offset_step_angst,
        original_healpix_order=stored.healpix_order_original,
        original_psi_step_deg=stored.psi_step_original_deg,
        original_offset_range_angst=stored.offset_range_original_angst,
        original_offset_step_angst=stored.offset_step_original_angst,
        has_orientation_priors=model.orientational_prior_mode > 0,
        sigma_rot_deg=model.sigma_rot_deg,
        sigma_tilt_deg=model.sigma_tilt_deg,
        sigma_psi_deg=model.sigma_psi_deg,
    )
    if not options.auto_refine:
        pixel_size = model.pixel_size_angst
        if "healpix_order" in given:
            order = options.healpix_order
            sampling = replace(
                sampling,
                healpix_order=order,
                psi_step_deg=angular_step_deg(order),
                original_healpix_order=order,
            )
        if "psi_step_deg" in given and options.psi_step_deg is not None:
            sampling = replace(sampling, psi_step_deg=options.psi_step_deg)
        if "offset_range_px" in given:
            sampling = replace(sampling, offset_range_angst=options.offset_range_px * pixel_size)
        if "offset_step_px" in given:
            sampling = replace(sampling, offset_step_angst=options.offset_step_px * pixel_size)
    return _with_given_sigmas(sampling, options, given)


def _psi_step_deg(stored: SamplingFile) -> float:
    """Stored in-plane step without the file's rounding: a whole number of them is a turn.

    RELION takes that of the HEALPix order instead (specification E 6.6), which forgets --psi_step.
    """
    if stored.psi_step_deg <= 0:
        return angular_step_deg(stored.healpix_order)
    return 360.0 / round(360.0 / stored.psi_step_deg)


def _with_given_sigmas(
    sampling: SamplingState, options: RefineOptions, given: Mapping[str, object]
) -> SamplingState:
    names = ("sigma_rot_deg", "sigma_tilt_deg", "sigma_psi_deg")
    if not any(name in given for name in (*names, "sigma_ang_deg")):
        return sampling
    sigmas = [(options.sigma_ang_deg or getattr(options, name) or 0.0) for name in names]
    return replace(
        sampling,
        has_orientation_priors=True,
        sigma_rot_deg=sigmas[0],
        sigma_tilt_deg=sigmas[1],
        sigma_psi_deg=sigmas[2],
    )


def _half_model(model: ModelFile, run: StoredRun, table: ParticleTable, n_dir: int) -> HalfModel:
    maps = []
    for name in model.class_files:
        found = read_map(resolve_run_file(name, run.path))
        if found.data.shape != (model.ori_size,) * 3:
            raise ContinueError(
                f"--continue {run.path}: {name} has the shape {found.data.shape}, the model needs "
                f"{model.ori_size} px"
            )
        maps.append(found.data.astype(np.float64))
    pdf_direction = model.pdf_direction
    if pdf_direction is None or pdf_direction.shape[1] != n_dir:
        uniform = model.pdf_class / n_dir
        pdf_direction = np.repeat(uniform[:, None], n_dir, axis=1)
    return HalfModel(
        maps=maps,
        pdf_class=model.pdf_class,
        pdf_direction=pdf_direction,
        sigma2_noise=_noise_of(model, table),
        tau2=model.tau2,
        data_vs_prior=model.data_vs_prior,
        sigma2_class=model.sigma2_class,
        fourier_coverage=model.fourier_coverage,
        fsc_halves=model.fsc_halves[0],
        scale_correction=_scale_of(model, table),
        avg_norm_correction=model.avg_norm_correction,
        sigma2_offset_angst2=model.sigma_offset_angst**2,
        overall_coverage=model.overall_completeness,
        acc_rot_deg=model.acc_rot_deg,
        acc_trans_angst=model.acc_trans_angst,
        orientability=model.orientability,
        log_likelihood=model.log_likelihood,
        ave_pmax=model.ave_pmax,
    )


def _noise_of(model: ModelFile, table: ParticleTable) -> NDArray[np.float64]:
    noise = model.sigma2_noise
    if len(noise) != len(table.optics):
        raise ContinueError(
            f"the model file has noise spectra of {len(noise)} optics groups, the particle file "
            f"has {len(table.optics)}"
        )
    return noise


def _scale_of(model: ModelFile, table: ParticleTable) -> NDArray[np.float64]:
    """Scales in the order of the table's groups, by name."""
    by_name = dict(zip(model.group_names, model.scale_correction.tolist(), strict=True))
    return np.array([by_name.get(name, 1.0) for name in table.group_names])
