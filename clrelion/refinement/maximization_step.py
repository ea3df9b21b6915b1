"""The maximization step: from the sums of the half-sets to the next model (specification M 4.1)."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from clrelion.maximization.across_ranks import HalfSums
from clrelion.maximization.half_maps import solvent_corrected_fsc
from clrelion.maximization.solvent import SolventMasks
from clrelion.maximization.spectra import ReconstructionSpectra, average_ctf2
from clrelion.maximization.sums import ParameterSums, low_resolution_join_shell
from clrelion.maximization.update_model import (
    average_norm_correction,
    class_priors,
    direction_priors,
    mean_pmax,
    noise_spectra,
    offset_variance,
    scale_corrections,
)
from clrelion.maximization.volume_steps import Map, reconstruct
from clrelion.maximization.waiting_sums import VolumeSums
from clrelion.options import RefineOptions
from clrelion.orientations.symmetry import PointGroup
from clrelion.parallel.communicator import Communicator
from clrelion.parallel.exchange import BlockExchange
from clrelion.refinement.class_maps import ClassMaps, MapRules
from clrelion.refinement.common_maps import CommonMaps
from clrelion.refinement.ended_step import EndedStep
from clrelion.refinement.expectation_setup import does_scale, fft_precision
from clrelion.refinement.state import HalfModel, RunState

if TYPE_CHECKING:
    from clrelion.device.session import DeviceSession

__all__ = ["Maximization", "MaximizationResult"]


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
        self._class_maps = ClassMaps(options, masks, fixed_tau2)
        self._solvent_mask = solvent_mask
        self._fixed_tau2 = fixed_tau2
        self._comm = comm or Communicator()
        self._exchange = exchange or BlockExchange(self._comm, 0)
        self._maps_of_all = CommonMaps(self._comm, session)
        self._half_maps = CommonMaps(self._comm, None)

    def run(
        self,
        state: RunState,
        ended: EndedStep,
        current_size: int,
        iteration: int,
        is_cross_correlation: bool,
        is_last: bool,
        count: Callable[[int], None] = lambda _: None,
    ) -> MaximizationResult:
        """Maximise.

        Parameters
        ----------
        ended
            The expectation step; its volumes are consumed.
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
        parameters = None
        if any(optics.ctf_premultiplied for optics in state.table.optics):
            # spectra may need them, and CTFs on their way to the host have no room beside maps
            parameters = ended.parameters()
        volumes, owners, weights = ended.volumes, ended.owners, ended.class_weights
        self._symmetrise(volumes, count)
        fsc: NDArray[np.float64] | None = None
        unfiltered: list[NDArray[np.float64]] = []
        models = state.models
        joins = state.is_split and (is_last or self._options.join_random_halves)
        if state.is_split:
            halves = self._halves(volumes, owners)
            fsc, unfiltered = self._compared(state, halves, current_size, ended, is_last)
            if joins:
                volumes, weights = [[halves.joined()]], [np.add(*weights)]
                models, owners = models[:1], owners[:1]
        rooms = self._maps_of_all.rooms(models, volumes, owners)
        average = None if parameters is None else self._average_ctf2(state, parameters)
        rules = MapRules(
            iteration, fsc, average, joins and is_last, is_cross_correlation, is_last
        )
        spectra = [
            self._class_maps.make(
                state, model, volumes[i], weights[i],
                {k: room for k, room in enumerate(rooms[i]) if owners[i][k] == self._comm.rank},
                rules, count,
            )
            for i, model in enumerate(models)
        ]  # fmt: skip
        if parameters is None:
            # the sums over particles have had the time that the maps took
            parameters = ended.parameters()
        if joins:
            first, second = parameters
            first.add(second)
            parameters = [first]
        of_ranks = self._comm.allgather(spectra)
        new = [
            self._model(state, i, model, parameters[i],
                        [of_ranks[owner][i][k] for k, owner in enumerate(owners[i])], rules)
            for i, model in enumerate(models)
        ]  # fmt: skip
        # the same on all ranks to the last bit
        new = self._comm.bcast(new)
        self._class_maps.finish()
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

    def _symmetrise(
        self, volumes: list[list[VolumeSums | None]], count: Callable[[int], None]
    ) -> None:
        for sums in itertools.chain.from_iterable(volumes):
            if sums is not None:
                sums.hermitian_repair()
                sums.symmetrise(self._group.operators)
                count(1)

    def _halves(
        self, volumes: list[list[VolumeSums | None]], owners: list[list[int]]
    ) -> HalfSums:
        return HalfSums(
            self._comm,
            self._exchange,
            [of_half[0] for of_half in owners],
            [of_half[0] for of_half in volumes],
            np.float64 if self._options.precision == "double" else np.float32,
        )

    def _average_ctf2(
        self, state: RunState, parameters: list[ParameterSums]
    ) -> NDArray[np.float64] | None:
        """Average CTF^2 of premultiplied images, where spectra need it (specification M 3.4)."""
        if state.is_split or self._fixed_tau2 is not None:
            return None
        (sums,) = parameters
        return average_ctf2(sums.ctf2, sums.sumw_group, state.ori_size)

    def _compared(
        self,
        state: RunState,
        halves: HalfSums,
        current_size: int,
        ended: EndedStep,
        is_last: bool,
    ) -> tuple[NDArray[np.float64], list[NDArray[np.float64]]]:
        """Join low resolutions, then compare the halves (specification M 1.5-1.7).

        Gives their FSC and, where they are needed, their unregularised maps.
        """
        options = self._options
        unfiltered = self._unregularised_halves(state, ended) if is_last else []
        shell = low_resolution_join_shell(
            state.ori_size,
            state.pixel_size_angst,
            options.low_resol_join_halves_angst or 0.0,
            state.schedule.current_resolution_inv_angst,
        )
        halves.join_low_resolution(shell)
        if not options.solvent_correct_fsc:
            return halves.fsc(), unfiltered
        assert self._solvent_mask is not None
        maps = self._unregularised_halves(state, ended)
        rng = np.random.default_rng([abs(options.random_seed or 0), state.iteration + 1])
        fsc = solvent_corrected_fsc(maps[0], maps[1], self._solvent_mask, current_size, rng)
        return fsc.corrected, unfiltered or maps

    def _unregularised_halves(
        self, state: RunState, ended: EndedStep
    ) -> list[NDArray[np.float64]]:
        """Unregularised maps of the half-sets, on all ranks."""
        precision = fft_precision(self._options, state.ori_size)

        def unregularised(sums: VolumeSums) -> Map:
            return reconstruct(sums, None, host_precision=precision)

        halves = [of_half[0] for of_half in ended.volumes]
        owners = [of_half[0] for of_half in ended.owners]
        return self._half_maps.of_halves(halves, owners, state.ori_size, unregularised)

    def _model(
        self,
        state: RunState,
        i_half: int,
        model: HalfModel,
        sums: ParameterSums,
        spectra: list[ReconstructionSpectra],
        rules: MapRules,
    ) -> HalfModel:
        """Make the new model, without its maps."""
        options, fsc = self._options, rules.fsc
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
        self._update_parameters(new, state, i_half, sums, rules)
        return new

    def _update_parameters(
        self,
        new: HalfModel,
        state: RunState,
        i_half: int,
        sums: ParameterSums,
        rules: MapRules,
    ) -> None:
        """Update what is neither map nor prior (specification M 4.6-4.9)."""
        options = self._options
        if not options.fix_sigma_offset:
            new.sigma2_offset_angst2 = offset_variance(
                sums, new.sigma2_offset_angst2, options.min_sigma2_offset_angst2
            )
        if options.do_norm_correction:
            new.avg_norm_correction = average_norm_correction(sums, new.avg_norm_correction)
        if not rules.is_cross_correlation:
            if does_scale(options, state):
                of_models = state.membership.by_scale_group
                counts = np.sum(of_models, axis=0) if rules.is_joined else of_models[i_half]
                new.scale_correction = scale_corrections(sums, counts)
            if not options.fix_sigma_noise:
                premultiplied = [o.ctf_premultiplied for o in state.table.optics]
                new.sigma2_noise = noise_spectra(sums, new.sigma2_noise, premultiplied)
        new.log_likelihood = sums.log_likelihood
        if rules.is_cross_correlation and sums.total_weight > 0:
            new.log_likelihood /= sums.total_weight
