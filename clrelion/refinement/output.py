"""Writes the state of a run under RELION's names (specification E 6)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clrelion.fourier.transforms import available_cores
from clrelion.io.iteration_texts import Directions, write_end, write_half_model
from clrelion.io.journal import Journal, journal_file
from clrelion.io.mrc import write_map
from clrelion.io.particle_table import ParticleTable
from clrelion.io.particle_writer import FEWEST_ROWS, ParticleWriter
from clrelion.io.run_files import (
    ModelFile,
    OptimiserFile,
    SamplingFile,
    angular_distribution_file,
    class_map_file,
    data_file,
    model_file,
    optimiser_file,
    sampling_file,
    unfiltered_half_map_file,
    write_sampling,
)
from clrelion.io.writing_process import WritingProcess
from clrelion.options import RefineOptions
from clrelion.refinement.expectation_setup import Grids, does_scale
from clrelion.refinement.own_options import own_labels
from clrelion.refinement.schedule_state import ScheduleState
from clrelion.refinement.state import HalfModel, RunState

__all__ = ["Output", "Written"]

_NOT_KNOWN_ANGST = 999.0
_MAPS_AT_A_TIME = 4
_MOST_TEXTS = 3
"""Sampling, and the models of two half-sets: at the same time."""
_MANY_CORES = 8
_FEWEST_WEIGHTS = 3_000
_FEWEST_WEIGHTS_ON_FEW_CORES = 50_000
"""Fewer weights of directions are written sooner than a process is started."""


@dataclass(frozen=True)
class Written:
    """What the files of an iteration hold, for whoever shows it.

    Attributes
    ----------
    root
        ``--o``.
    number
        Of the iteration; None for the converged one.
    models
        One a half-set.
    class_maps, half_maps
        Files of the maps, and of the unfiltered half maps.
    """

    root: str
    number: int | None
    models: list[ModelFile]
    sampling: SamplingFile
    optimiser: OptimiserFile
    table: ParticleTable
    journal: Journal
    class_maps: list[str]
    half_maps: list[str]


@dataclass(frozen=True)
class Output:
    """Output files of one run.

    Attributes
    ----------
    root
        ``--o``.
    options, point_group_name, random_seed, particle_diameter_angst, command_line
        What the files repeat of the run's options.
    on_written
        Called with each iteration once its files are complete, in the thread that wrote them.
    """

    root: str
    options: RefineOptions
    point_group_name: str
    random_seed: int
    particle_diameter_angst: float
    command_line: str
    on_written: Callable[[Written], None] | None = None
    _particles: ParticleWriter = field(default_factory=ParticleWriter, init=False, repr=False)
    _texts: list[WritingProcess] = field(
        default_factory=lambda: [WritingProcess() for _ in range(_MOST_TEXTS)],
        init=False, repr=False,
    )  # fmt: skip

    def close(self) -> None:
        """Write no more."""
        self._particles.close()
        for process in self._texts:
            process.close()

    def write(
        self,
        state: RunState,
        grids: Grids,
        journal: Journal,
        is_final: bool = False,
        unfiltered_half_maps: list[NDArray[np.float64]] | None = None,
    ) -> Written:
        """Write all files of the present iteration; the optimiser file comes last.

        Parameters
        ----------
        is_final
            Converged auto-refine: names without an iteration number.

        Returns
        -------
        Written
        """
        number = None if is_final else state.iteration
        halves = [(i + 1 if state.is_split else 0) for i in range(len(state.models))]
        is_done, all_digits = state.iteration > 0, self.options.deterministic
        unfiltered = unfiltered_half_maps or []
        half_maps = [
            unfiltered_half_map_file(self.root, number, i + 1) for i in range(len(unfiltered))
        ]
        maps = list(zip(half_maps, unfiltered, strict=True))
        for model, half in zip(state.models, halves, strict=True):
            maps += zip(self._class_maps(model, number, half), model.maps, strict=True)
        models = [
            self._model(state, model, self._class_maps(model, number, half), half)
            for model, half in zip(state.models, halves, strict=True)
        ]
        sampling, optimiser = self._sampling(state, grids), self._optimiser(state, number)
        texts: list[Callable[[], None]] = [
            partial(write_sampling, sampling_file(self.root, number), sampling, all_digits),
            *self._models(state, grids, models, halves, number),
        ]
        is_small = _is_small(state, grids)
        with ThreadPoolExecutor(1 + len(texts) + _MAPS_AT_A_TIME) as pool:
            told = [
                pool.submit(
                    self._particles.write, data_file(self.root, number), state.table, is_done,
                    all_digits,
                )
            ]  # fmt: skip
            for process, write in zip(self._texts, texts, strict=False):
                told.append(pool.submit(write if is_small else partial(process.call, write)))
            for written_map in [
                pool.submit(write_map, path, volume, state.pixel_size_angst)
                for path, volume in maps
            ]:
                written_map.result()
            for job in told:
                job.result()
        end = write_end if is_small else partial(self._texts[0].call, write_end)
        end(
            journal_file(self.root), journal, optimiser_file(self.root, number), optimiser,
            all_digits,
        )  # fmt: skip
        class_maps = [name for model in models for name in model.class_files]
        written = Written(
            self.root, number, models, sampling, optimiser, state.table, journal, class_maps,
            half_maps,
        )  # fmt: skip
        if self.on_written is not None:
            self.on_written(written)
        return written

    def write_particles_only(self, state: RunState) -> None:
        """Write ``<o>_data.star`` (``--skip_maximize``)."""
        self._particles.write(data_file(self.root, None), state.table, iteration_done=True)

    def _class_maps(self, model: HalfModel, number: int | None, half: int) -> list[str]:
        return [class_map_file(self.root, number, k, half) for k in range(model.n_classes)]

    def _models(
        self,
        state: RunState,
        grids: Grids,
        models: list[ModelFile],
        halves: list[int],
        number: int | None,
    ) -> Iterator[Callable[[], None]]:
        """Yield what writes the model and the angular distribution of each half-set."""
        grid = grids.orientations
        directions = Directions(grid.rot_deg, grid.tilt_deg, grid.angular_step_deg())
        has_directions = (
            not (self.options.skip_align or self.options.skip_rotate) and state.iteration > 0
        )
        for model, half in zip(models, halves, strict=True):
            distributions = [
                angular_distribution_file(self.root, number, k, half)
                for k in range(model.n_classes if has_directions else 0)
            ]
            path = model_file(self.root, number, half)
            yield partial(write_half_model, path, model, distributions, directions)

    def _model(self, state: RunState, model: HalfModel, names: list[str], half: int) -> ModelFile:
        table = state.table
        rows = np.flatnonzero(table.random_subset == half) if half else np.arange(table.n)
        resolution = state.schedule.current_resolution_inv_angst
        extent = state.ori_size * state.pixel_size_angst
        estimated = [_estimated_resolution(d, extent) for d in model.data_vs_prior]
        sampling = state.sampling
        return ModelFile(
            ori_size=state.ori_size,
            pixel_size_angst=state.pixel_size_angst,
            current_resolution_angst=1.0 / resolution if resolution > 0 else np.inf,
            current_size=state.current_size,
            padding_factor=self.options.padding,
            n_classes=model.n_classes,
            tau2_fudge=self.options.tau2_fudge,
            avg_norm_correction=model.avg_norm_correction,
            sigma_offset_angst=float(np.sqrt(model.sigma2_offset_angst2)),
            orientational_prior_mode=int(sampling.has_orientation_priors),
            sigma_rot_deg=sampling.sigma_rot_deg,
            sigma_tilt_deg=sampling.sigma_tilt_deg,
            sigma_psi_deg=sampling.sigma_psi_deg,
            log_likelihood=model.log_likelihood,
            ave_pmax=model.ave_pmax,
            class_files=names,
            pdf_class=model.pdf_class,
            acc_rot_deg=model.acc_rot_deg,
            acc_trans_angst=model.acc_trans_angst,
            estimated_resolution_angst=np.array(estimated),
            overall_completeness=model.overall_coverage,
            data_vs_prior=model.data_vs_prior,
            fsc_halves=np.broadcast_to(model.fsc_halves, model.data_vs_prior.shape),
            fourier_coverage=model.fourier_coverage,
            sigma2_class=model.sigma2_class,
            tau2=model.tau2,
            orientability=model.orientability,
            group_names=table.group_names,
            group_n_particles=np.bincount(
                table.scale_group[rows], minlength=len(table.group_names)
            ),
            scale_correction=model.scale_correction,
            sigma2_noise=model.sigma2_noise,
            pdf_direction=model.pdf_direction,
        )

    def _sampling(self, state: RunState, grids: Grids) -> SamplingFile:
        sampling = state.sampling
        return SamplingFile(
            healpix_order=sampling.healpix_order,
            symmetry=self.point_group_name,
            limit_tilt_deg=self.options.limit_tilt_deg,
            psi_step_deg=sampling.psi_step_deg,
            offset_range_angst=sampling.offset_range_angst,
            offset_step_angst=sampling.offset_step_angst,
            perturbation=state.perturbation,
            perturbation_factor=self.options.perturb,
            healpix_order_original=sampling.original_healpix_order,
            psi_step_original_deg=sampling.original_psi_step_deg,
            offset_range_original_angst=sampling.original_offset_range_angst,
            offset_step_original_angst=sampling.original_offset_step_angst,
            rot_deg=grids.orientations.rot_deg,
            tilt_deg=grids.orientations.tilt_deg,
        )

    def _optimiser(self, state: RunState, number: int | None) -> OptimiserFile:
        split = state.is_split
        return OptimiserFile(
            output_root=self.root,
            model_star=model_file(self.root, number, 1 if split else 0),
            model_star2=model_file(self.root, number, 2) if split else None,
            data_star=data_file(self.root, number),
            sampling_star=sampling_file(self.root, number),
            iteration=-1 if number is None else number,
            do_split_random_halves=split,
            random_seed=self.random_seed,
            particle_diameter_angst=self.particle_diameter_angst,
            do_scale_correction=does_scale(self.options, state),
            refs_are_ctf_corrected=state.references_ctf_corrected,
            n_pool=1,
            own_options=own_labels(self.options, state),
            command_line=self.command_line,
            **_options_as_stored(self.options),
            **_schedule_as_stored(state.schedule),
        )


def _is_small(state: RunState, grids: Grids) -> bool:
    """Whether a process would take longer to start and to be told than the texts take."""
    n_weights = grids.orientations.n_dir * (1 + len(state.models) * state.n_classes)
    has_many_cores = available_cores() >= _MANY_CORES
    fewest = _FEWEST_WEIGHTS if has_many_cores else _FEWEST_WEIGHTS_ON_FEW_CORES
    return state.table.n < FEWEST_ROWS and n_weights < fewest


def _options_as_stored(options: RefineOptions) -> dict[str, Any]:
    """Fields of the optimiser file that repeat options; -1 stands for off."""
    return {
        "n_iterations": options.max_iterations,
        "low_resol_join_halves_angst": options.low_resol_join_halves_angst or -1.0,
        "adaptive_oversampling": options.oversampling,
        "adaptive_fraction": options.adaptive_fraction,
        "width_mask_edge_px": options.width_mask_edge_px,
        "do_zero_mask": options.zero_mask,
        "do_solvent_flattening": options.flatten_solvent,
        "do_solvent_fsc_correction": options.solvent_correct_fsc,
        "solvent_mask": options.solvent_mask,
        "solvent_mask2": options.solvent_mask2,
        "tau_spectrum": options.tau2_file,
        "max_coarse_size_px": options.max_coarse_size_px or -1,
        "highres_limit_angst": options.strict_highres_exp_angst or -1.0,
        "lowres_limit_angst": options.strict_lowres_exp_angst or -1.0,
        "do_map": not options.no_map,
        "tau2_fudge": options.tau2_fudge,
        "max_significant": options.max_significant or -1,
        "do_auto_refine": options.auto_refine,
        "do_auto_sampling": options.auto_sampling,
        "auto_local_healpix_order": options.auto_local_healpix_order,
        "do_skip_align": options.skip_align,
        "do_skip_rotate": options.skip_rotate,
        "do_norm_correction": options.do_norm_correction,
        "do_ctf_correction": options.ctf,
        "do_center_classes": options.center_classes,
        "do_ctf_intact_first_peak": options.ctf_intact_first_peak,
        "is_ctf_phase_flipped": options.ctf_phase_flipped,
        "do_only_flip_phases": options.only_flip_phases,
        "do_fix_sigma_noise": options.fix_sigma_noise,
        "do_fix_sigma_offset": options.fix_sigma_offset,
    }


def _schedule_as_stored(schedule: ScheduleState) -> dict[str, Any]:
    """Fields of the optimiser file that hold counters and changes."""
    return {
        "incr_size": schedule.incr_size,
        "n_iter_without_resolution_gain": schedule.nr_iter_wo_resol_gain,
        "best_resolution_inv_angst": schedule.best_resolution_inv_angst,
        "n_iter_without_assignment_changes": schedule.nr_iter_wo_changes,
        "acc_rot_deg": schedule.acc_rot_deg,
        "acc_trans_angst": schedule.acc_trans_angst,
        "changes_orientations_deg": schedule.current_changes_orientations_deg,
        "changes_offsets_angst": schedule.current_changes_offsets_angst,
        "changes_classes": schedule.current_changes_classes,
        "smallest_changes_orientations_deg": schedule.smallest_changes_orientations_deg,
        "smallest_changes_offsets_angst": schedule.smallest_changes_offsets_angst,
        "smallest_changes_classes": schedule.smallest_changes_classes,
        "has_converged": schedule.has_converged,
        "has_high_fsc_at_limit": schedule.has_high_fsc,
        "n_iter_since_large_size_increase": 0,
    }


def _estimated_resolution(data_vs_prior: NDArray[np.float64], extent_angst: float) -> float:
    """Å of the last shell before data_vs_prior first falls below 1 (specification E 6.3)."""
    below = np.flatnonzero(data_vs_prior < 1.0)
    shell = int(below[0]) - 1 if len(below) else len(data_vs_prior) - 1
    return extent_angst / shell if shell > 0 else _NOT_KNOWN_ANGST
