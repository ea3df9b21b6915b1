"""The maps of the classes that a rank owns, each from its back-projection sums."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clrelion.errors import NumericalError
from clrelion.maximization.centring import centre_map
from clrelion.maximization.solvent import SolventMasks
from clrelion.maximization.spectra import (
    ReconstructionSpectra,
    classification_spectra,
    gold_standard_spectra,
)
from clrelion.maximization.update_model import low_pass_spectra
from clrelion.maximization.volume_steps import (
    Map,
    SolventFlattening,
    low_pass,
    reconstruct,
    to_host,
)
from clrelion.maximization.waiting_sums import VolumeSums
from clrelion.options import RefineOptions
from clrelion.refinement.common_maps import start_writing_map
from clrelion.refinement.expectation_setup import fft_precision
from clrelion.refinement.state import HalfModel, RunState

__all__ = ["ClassMaps", "MapRules"]

_SMALLEST_CLASS_WEIGHT = 0.0


@dataclass(frozen=True)
class MapRules:
    """What the maps of an iteration have in common.

    Attributes
    ----------
    iteration
        Number of the iteration.
    fsc
        float64, (N/2+1,); between the half-sets, or None without halves.
    average_ctf2
        float64, (N/2+1,); of premultiplied images in classification, else None.
    is_joined
        Both half-sets have been added up.
    is_cross_correlation
        The iteration compared by correlation.
    is_last
        Maps are not flattened.
    """

    iteration: int
    fsc: NDArray[np.float64] | None
    average_ctf2: NDArray[np.float64] | None
    is_joined: bool
    is_cross_correlation: bool
    is_last: bool


class ClassMaps:
    """Reconstructs classes.

    Parameters
    ----------
    options
        Of the run.
    masks
        Solvent masks, or None without ``--flatten_solvent``.
    fixed_tau2
        ``--tau``: float64, (N/2+1,), or None.
    """

    def __init__(
        self,
        options: RefineOptions,
        masks: SolventMasks | None,
        fixed_tau2: NDArray[np.float64] | None,
    ) -> None:
        self._options = options
        self._flattening = None if masks is None else SolventFlattening(masks)
        self._fixed_tau2 = fixed_tau2
        self._writing: Callable[[], None] = lambda: None

    def make(
        self,
        state: RunState,
        model: HalfModel,
        volumes: list[VolumeSums | None],
        weights: NDArray[np.float64],
        rooms: dict[int, NDArray[np.float64]],
        rules: MapRules,
        count: Callable[[int], None],
    ) -> dict[int, ReconstructionSpectra]:
        """Make maps of a half-set; give their spectra.

        Parameters
        ----------
        volumes
            Of all classes; None where another rank has the only ones.
        weights
            float64, (n_classes,); posterior weight of each class.
        rooms
            For the maps, by the classes to be made.  The last one is on its way until `finish`.
        count
            Is told of each map.

        Raises
        ------
        NumericalError
            Sums that cannot be reconstructed from.
        """
        made: dict[int, ReconstructionSpectra] = {}
        for k, room in rooms.items():
            self.finish()
            volume, made[k] = self._class(state, model, volumes[k], weights[k], k, rules)
            finished = self._finished(state, volume, rules.is_last)
            del volume
            self._writing = start_writing_map(room, finished)
            del finished
            count(1)
        return made

    def finish(self) -> None:
        """Wait for the map that is on its way, and let go of it."""
        self._writing()
        self._writing = lambda: None

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
        backprojection: VolumeSums | None,
        weight: float,
        k: int,
        rules: MapRules,
    ) -> tuple[Map, ReconstructionSpectra]:
        """Reconstruct one class (specification M 4.3, 4.10)."""
        options = self._options
        if weight <= _SMALLEST_CLASS_WEIGHT:
            return np.zeros_like(model.maps[k]), _previous_spectra(model, k)
        if backprojection is None or backprojection.is_empty():
            return model.maps[k], _previous_spectra(model, k)
        if rules.fsc is not None and self._fixed_tau2 is None:
            started = gold_standard_spectra(
                backprojection, rules.fsc, options.tau2_fudge, rules.is_joined
            )
        else:
            started = classification_spectra(
                backprojection, model.tau2[k], options.tau2_fudge, rules.average_ctf2
            )
        try:
            volume = reconstruct(
                backprojection, None if options.no_map else started.tau2, options.tau2_fudge,
                minres_map=options.minres_map,
                host_precision=fft_precision(options, state.ori_size),
            )  # fmt: skip
        except NumericalError as error:
            raise NumericalError(f"iteration {rules.iteration}, class {k + 1}: {error}") from error
        spectrum = started.result()
        ini_high = options.ini_high_angst or 0.0
        if rules.is_cross_correlation and rules.iteration == 1 and ini_high > 0:
            pixel_size = state.pixel_size_angst
            volume = low_pass(volume, pixel_size, ini_high)
            spectrum = low_pass_spectra(spectrum, state.ori_size, pixel_size, ini_high)
        return volume, spectrum


def _previous_spectra(model: HalfModel, k: int) -> ReconstructionSpectra:
    """Spectra of a class that received nothing."""
    return ReconstructionSpectra(
        sigma2=model.sigma2_class[k],
        tau2=model.tau2[k],
        data_vs_prior=model.data_vs_prior[k],
        fourier_coverage=model.fourier_coverage[k],
        overall_coverage=float(model.overall_coverage[k]),
    )
