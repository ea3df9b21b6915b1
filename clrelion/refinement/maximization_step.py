"""The maximization step: from the sums of the half-sets to the next model (specification M 4.1)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from clrelion.errors import NumericalError
from clrelion.expectation.results import ExpectationResult
from clrelion.maximization.across_ranks import HalfSums
from clrelion.maximization.centring import centre_map
from clrelion.maximization.half_maps import solvent_corrected_fsc
from clrelion.maximization.solvent import SolventMasks
from clrelion.maximization.spectra import (
    ReconstructionSpectra,
    average_ctf2,
    classification_spectra,
    gold_standard_spectra,
)
from clrelion.maximization.sums import ParameterSums, low_resolution_join_shell
from clrelion.maximization.update_model import (
    average_norm_correction,
    class_priors,
    direction_priors,
    low_pass_spectra,
    mean_pmax,
    noise_spectra,
    offset_variance,
    scale_corrections,
)
from clrelion.maximization.volume_steps import (
    Map,
    SolventFlattening,
    low_pass,
    reconstruct,
    to_host,
)
from clrelion.maximization.waiting_sums import VolumeSums
from clrelion.options import RefineOptions
from clrelion.orientations.symmetry import PointGroup
from clrelion.parallel.communicator import Communicator
from clrelion.parallel.exchange import BlockExchange
from clrelion.refinement.common_maps import CommonMaps, start_writing_map
from clrelion.refinement.expectation_setup import does_scale, fft_precision
from clrelion.refinement.state import HalfModel, RunState

if TYPE_CHECKING:
    from clrelion.device.session import DeviceSession

__all__ = ["Maximization", "MaximizationResult"]

_SMALLEST_CLASS_WEIGHT = 0.0


@dataclass
class MaximizationResult:
    """New models of an iteration.

    Attributes
    ----------
    models
        One a half-set; one in all in classification and in the last, joined iteration.
    fsc_halves
        float64, (N/2+1,), or None without halves.
    unfiltered_half_maps
        Unregularised maps of the half-sets, where the iteration makes them.
    """

    models: list[HalfModel]
    fsc_halves: NDArray[np.float64] | None
    unfiltered_half_maps: list[NDArray[np.float64]]


class Maximization:
    """Turns sums into models.

    Parameters
    ----------
    options, point_group
        Of the run.
    masks
        Solvent masks, or None without ``--flatten_solvent``.
    solvent_mask
        User's mask for ``--solvent_correct_fsc``.
    fixed_tau2
        ``--tau``: float64, (N/2+1,), or None.
    comm, exchange
        Ranks that share the work, and what carries volumes between them; None: this process alone.
    session
        Device that makes maps, if one does.
    """

    def __init__(
        self,
        options: RefineOptions,
        point_group: PointGroup,
        masks: SolventMasks | None,
        solvent_mask: NDArray[np.float64] | None,
        fixed_tau2: NDArray[np.float64] | None,
        comm: Communicator | None = None,
        exchange: BlockExchange | None = None,
        session: DeviceSession | None = None,
    ) -> None:
        self._options = options
        self._group = point_group
        self._flattening = None if masks is None else SolventFlattening(masks)
        self._solvent_mask = solvent_mask
        self._fixed_tau2 = fixed_tau2
        self._comm = comm or Communicator()
        self._exchange = exchange or BlockExchange(self._comm, 0)
        self._maps_of_all = CommonMaps(self._comm, session)
        self._half_maps = CommonMaps(self._comm, None)
        self._count: Callable[[int], None] = lambda _: None
        self._writing: Callable[[], None] = lambda: None

    def run(
        self,
        state: RunState,
        results: list[ExpectationResult],
        owners: list[list[int]],
        current_size: int,
        iteration: int,
        is_cross_correlation: bool,
        is_last: bool,
        count: Callable[[int], None] = lambda _: None,
    ) -> MaximizationResult:
        """Maximise.

        Parameters
        ----------
        results
            One a half-set; their volumes are consumed.
        owners
            For each half-set, the rank that has the volume of each class, and reconstructs it.
        current_size
            S of this iteration, px.
        is_last
            Converged: halves are joined, maps are not flattened.
        count
            Is told of each volume that this rank has symmetrised, and of each map made.

        Raises
        ------
        NumericalError
            Sums that cannot be reconstructed from.
        """
        self._count = count
        for result in results:
            for sums in result.backprojections:
                if sums is not None:
                    sums.hermitian_repair()
                    sums.symmetrise(self._group.operators)
                    count(1)
        fsc, unfiltered = None, []
        models = state.models
        if state.is_split:
            ranks = [of_half[0] for of_half in owners]
            halves = HalfSums(
                self._comm,
                self._exchange,
                ranks,
                [result.backprojections[0] for result in results],
                np.float64 if self._options.precision == "double" else np.float32,
            )
            if is_last:
                unfiltered = self._unregularised_halves(results, ranks, state)
            fsc, made = self._half_set_fsc(state, halves, current_size, results, ranks)
            unfiltered = unfiltered or made
            if is_last or self._options.join_random_halves:
                parameters = results[0].parameters
                parameters.add(results[1].parameters)
                results = [ExpectationResult(parameters, [halves.joined()])]
                models, owners = models[:1], owners[:1]
        is_joined = state.is_split and len(results) == 1 and is_last
        rooms = self._maps_of_all.rooms(models, results, owners)
        spectra = [
            self._maps(state, model, result, owners[i], rooms[i], fsc, is_joined, iteration,
                       is_cross_correlation, is_last)
            for i, (model, result) in enumerate(zip(models, results, strict=True))
        ]  # fmt: skip
        of_ranks = self._comm.allgather(spectra)
        new = [
            self._model(state, i, model, result.parameters,
                        [of_ranks[owner][i][k] for k, owner in enumerate(owners[i])], fsc,
                        is_cross_correlation, is_joined)
            for i, (model, result) in enumerate(zip(models, results, strict=True))
        ]  # fmt: skip
        # the same on all ranks to the last bit
        new = self._comm.bcast(new)
        self._end_writing()
        self._maps_of_all.spread()
        for model, maps in zip(new, rooms, strict=True):
            model.maps = maps
            if iteration < state.seeding_iteration:
                model.seed_from_first()
        if len(new) == 2:
            # both halves use equal image sizes (specification M 4.1.10)
            new[1].ave_pmax = new[0].ave_pmax
            new[1].data_vs_prior = new[0].data_vs_prior.copy()
        return MaximizationResult(new, fsc, unfiltered)

    def _unregularised_halves(
        self, results: list[ExpectationResult], ranks: list[int], state: RunState
    ) -> list[NDArray[np.float64]]:
        """Unregularised maps of the half-sets, on all ranks."""
        precision = fft_precision(self._options, state.ori_size)

        def unregularised(sums: VolumeSums) -> Map:
            return reconstruct(sums, None, host_precision=precision)

        halves = [result.backprojections[0] for result in results]
        return self._half_maps.of_halves(halves, ranks, state.ori_size, unregularised)

    def _half_set_fsc(
        self,
        state: RunState,
        halves: HalfSums,
        current_size: int,
        results: list[ExpectationResult],
        ranks: list[int],
    ) -> tuple[NDArray[np.float64], list[NDArray[np.float64]]]:
        """Join low resolutions, then compare the halves (specification M 1.5-1.7)."""
        options = self._options
        shell = low_resolution_join_shell(
            state.ori_size,
            state.pixel_size_angst,
            options.low_resol_join_halves_angst or 0.0,
            state.schedule.current_resolution_inv_angst,
        )
        halves.join_low_resolution(shell)
        if not options.solvent_correct_fsc:
            return halves.fsc(), []
        assert self._solvent_mask is not None
        maps = self._unregularised_halves(results, ranks, state)
        rng = np.random.default_rng([abs(options.random_seed or 0), state.iteration + 1])
        fsc = solvent_corrected_fsc(maps[0], maps[1], self._solvent_mask, current_size, rng)
        return fsc.corrected, maps

    def _maps(
        self,
        state: RunState,
        model: HalfModel,
        result: ExpectationResult,
        owners: list[int],
        rooms: list[NDArray[np.float64]],
        fsc: NDArray[np.float64] | None,
        is_joined: bool,
        iteration: int,
        is_cross_correlation: bool,
        is_last: bool,
    ) -> dict[int, ReconstructionSpectra]:
        """Reconstruct the classes this rank owns into the rooms for them; give their spectra."""
        made: dict[int, ReconstructionSpectra] = {}
        for k, owner in enumerate(owners):
            if owner != self._comm.rank:
                continue
            self._end_writing()
            volume, made[k] = self._class(
                state, model, result, k, fsc, is_joined, iteration, is_cross_correlation
            )
            # the last one is on its way while the models are made
            self._writing = start_writing_map(rooms[k], self._finished(state, volume, is_last))
            del volume
            self._count(1)
        return made

    def _end_writing(self) -> None:
        """Wait for the map that is on its way, and let go of it."""
        self._writing()
        self._writing = lambda: None

    def _model(
        self,
        state: RunState,
        i_half: int,
        model: HalfModel,
        sums: ParameterSums,
        spectra: list[ReconstructionSpectra],
        fsc: NDArray[np.float64] | None,
        is_cross_correlation: bool,
        is_joined: bool,
    ) -> HalfModel:
        """Make the new model, without its maps."""
        options = self._options
        new = replace(
            model,
            maps=[],
            pdf_class=class_priors(sums, model.pdf_class),
            pdf_direction=model.pdf_direction
            if options.skip_align or options.skip_rotate
            else direction_priors(sums, model.pdf_direction),
            sigma2_class=np.stack([s.sigma2 for s in spectra]),
            tau2=np.stack([s.tau2 for s in spectra]),
            data_vs_prior=np.stack([s.data_vs_prior for s in spectra]),
            fourier_coverage=np.stack([s.fourier_coverage for s in spectra]),
            overall_coverage=np.array([s.overall_coverage for s in spectra]),
            fsc_halves=model.fsc_halves if fsc is None else fsc,
            ave_pmax=mean_pmax(sums),
        )
        self._update_parameters(new, state, i_half, sums, is_cross_correlation, is_joined)
        return new

    def _finished(self, state: RunState, volume: Map, is_last: bool) -> Map:
        """Centre and flatten a map (specification M 4.1.11, 4.4)."""
        if self._options.center_classes and not state.is_split:
            largest_px = state.sampling.offset_range_angst / state.pixel_size_angst
            volume = centre_map(to_host(volume), largest_px)
        if self._flattening is not None and not is_last:
            volume = self._flattening(volume, state.pixel_size_angst)
        return volume

    def _class(
        self,
        state: RunState,
        model: HalfModel,
        result: ExpectationResult,
        k: int,
        fsc: NDArray[np.float64] | None,
        is_joined: bool,
        iteration: int,
        is_cross_correlation: bool,
    ) -> tuple[Map, ReconstructionSpectra]:
        """Reconstruct one class (specification M 4.3, 4.10)."""
        options = self._options
        backprojection: VolumeSums | None = result.backprojections[k]
        if result.parameters.pdf_class[k] <= _SMALLEST_CLASS_WEIGHT:
            return np.zeros_like(model.maps[k]), _previous_spectra(model, k)
        if backprojection is None or backprojection.is_empty():
            return model.maps[k], _previous_spectra(model, k)
        if fsc is not None and self._fixed_tau2 is None:
            started = gold_standard_spectra(backprojection, fsc, options.tau2_fudge, is_joined)
        else:
            started = classification_spectra(
                backprojection, model.tau2[k], options.tau2_fudge,
                self._average_ctf2(state, result.parameters),
            )  # fmt: skip
        try:
            volume = reconstruct(
                backprojection, None if options.no_map else started.tau2, options.tau2_fudge,
                minres_map=options.minres_map,
                host_precision=fft_precision(options, state.ori_size),
            )  # fmt: skip
        except NumericalError as error:
            raise NumericalError(f"iteration {iteration}, class {k + 1}: {error}") from error
        spectrum = started.result()
        ini_high = options.ini_high_angst or 0.0
        if is_cross_correlation and iteration == 1 and ini_high > 0:
            pixel_size = state.pixel_size_angst
            volume = low_pass(volume, pixel_size, ini_high)
            spectrum = low_pass_spectra(spectrum, state.ori_size, pixel_size, ini_high)
        return volume, spectrum

    def _average_ctf2(self, state: RunState, sums: ParameterSums) -> NDArray[np.float64] | None:
        if self._fixed_tau2 is not None or not any(o.ctf_premultiplied for o in state.table.optics):
            return None
        return average_ctf2(sums.ctf2, sums.sumw_group, state.ori_size)

    def _update_parameters(
        self,
        new: HalfModel,
        state: RunState,
        i_half: int,
        sums: ParameterSums,
        is_cross_correlation: bool,
        is_joined: bool,
    ) -> None:
        """Update what is neither map nor prior (specification M 4.6-4.9)."""
        options = self._options
        if not options.fix_sigma_offset:
            new.sigma2_offset_angst2 = offset_variance(
                sums, new.sigma2_offset_angst2, options.min_sigma2_offset_angst2
            )
        if options.do_norm_correction:
            new.avg_norm_correction = average_norm_correction(sums, new.avg_norm_correction)
        if not is_cross_correlation:
            if does_scale(options, state):
                of_models = state.membership.by_scale_group
                counts = np.sum(of_models, axis=0) if is_joined else of_models[i_half]
                new.scale_correction = scale_corrections(sums, counts)
            if not options.fix_sigma_noise:
                premultiplied = [o.ctf_premultiplied for o in state.table.optics]
                new.sigma2_noise = noise_spectra(sums, new.sigma2_noise, premultiplied)
        new.log_likelihood = sums.log_likelihood
        if is_cross_correlation and sums.total_weight > 0:
            new.log_likelihood /= sums.total_weight


def _previous_spectra(model: HalfModel, k: int) -> ReconstructionSpectra:
    """Spectra of a class that received nothing."""
    return ReconstructionSpectra(
        sigma2=model.sigma2_class[k],
        tau2=model.tau2[k],
        data_vs_prior=model.data_vs_prior[k],
        fourier_coverage=model.fourier_coverage[k],
        overall_coverage=float(model.overall_coverage[k]),
    )
