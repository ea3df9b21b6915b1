"""FSC of half maps within a mask, corrected for what the mask adds (specification M 8.1-8.5)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clrelion.errors import NumericalError, OptionsError
from clrelion.fourier.fsc import first_shell_below, map_fsc, phase_randomised_fsc
from clrelion.fourier.shells import resolution_of_shell

__all__ = ["CorrectedFsc", "corrected_fsc", "particle_fsc", "resolution_shell"]

RESOLUTION_FSC = 0.143
_PROTEIN_TO_SPHERE = 0.476
_DALTON_PER_CUBIC_ANGST = 0.81


@dataclass(frozen=True)
class CorrectedFsc:
    """FSC curves of two half maps.

    Attributes
    ----------
    unmasked
        float64, (N/2+1,).
    masked, randomised
        float64, (N/2+1,): within the mask, and the same with random phases from
        ``first_random_shell`` on; None without a mask.
    corrected
        float64, (N/2+1,); what counts.
    by_mask_fraction, by_weight
        float64, (N/2+1,): cisTEM-like FSC of the particle's volume, from the mask or from the
        molecular weight; None where there is no such.
    first_random_shell
        -1 without a mask.
    particle_factor, weight_factor
        0.476 over the particle's part of the box, by the mask and by the molecular weight.
    mask_is_used
        False: there is none, or the unmasked maps reach further.
    """

    unmasked: NDArray[np.float64]
    corrected: NDArray[np.float64]
    masked: NDArray[np.float64] | None = None
    randomised: NDArray[np.float64] | None = None
    by_mask_fraction: NDArray[np.float64] | None = None
    by_weight: NDArray[np.float64] | None = None
    first_random_shell: int = -1
    particle_factor: float = 0.0
    weight_factor: float = 0.0
    mask_is_used: bool = False

    @property
    def resolution_shell(self) -> int:
        """Last shell before the corrected FSC first falls below 0.143."""
        return resolution_shell(self.corrected)


def corrected_fsc(
    first: NDArray[Any],
    second: NDArray[Any],
    mask: NDArray[Any] | None,
    pixel_size_angst: float,
    *,
    randomise_below_fsc: float = 0.8,
    randomise_at_angst: float = 0.0,
    molecular_weight_kda: float = 0.0,
    force_mask: bool = False,
    random_seed: int = 0,
) -> CorrectedFsc:
    """Correlate two half maps, within a mask if there is one.

    Parameters
    ----------
    first, second
        Real, (N, N, N), real space.
    mask
        Real, (N, N, N) in [0, 1], or None.
    pixel_size_angst
        Å/px.
    randomise_below_fsc
        Phases are random from the first shell on whose unmasked FSC is below this.
    randomise_at_angst
        Phases are random from this resolution on instead, Å, if positive.
    molecular_weight_kda
        Of the ordered mass, kDa; 0: unknown.
    force_mask
        Keep to the mask even if the unmasked maps reach a higher resolution.
    random_seed
        Of the phases.

    Returns
    -------
    CorrectedFsc

    Raises
    ------
    NumericalError
        The unmasked FSC never falls below ``randomise_below_fsc``.
    OptionsError
        ``randomise_at_angst`` is beyond Nyquist.

    Notes
    -----
    Specification M 8.1 to 8.5.
    """
    n = first.shape[0]
    unmasked = _with_origin(map_fsc(first, second))
    weight_factor = 0.0
    if molecular_weight_kda > 0:
        daltons = 1000.0 * molecular_weight_kda
        box_angst3 = (n * pixel_size_angst) ** 3
        weight_factor = _PROTEIN_TO_SPHERE * box_angst3 * _DALTON_PER_CUBIC_ANGST / daltons
    by_weight = particle_fsc(unmasked, weight_factor) if weight_factor else None
    if mask is None:
        return CorrectedFsc(
            unmasked, unmasked, by_weight=by_weight, weight_factor=weight_factor
        )
    shell = _first_random_shell(
        unmasked, n, pixel_size_angst, randomise_below_fsc, randomise_at_angst
    )
    masked = _with_origin(map_fsc(first * mask, second * mask))
    rng = np.random.default_rng(random_seed)
    randomised = _with_origin(phase_randomised_fsc(first, second, mask, shell, rng))
    corrected = masked.copy()
    beyond = slice(shell + 2, None)
    chance = randomised[beyond]
    # 1 where even random phases agree in full: nothing can be said, and nothing is
    corrected[beyond] = np.divide(
        masked[beyond] - chance, 1.0 - chance, out=np.zeros_like(chance), where=chance < 1.0
    )
    further = resolution_shell(unmasked) > resolution_shell(corrected) and not force_mask
    inside = float((np.asarray(mask) > 0.5).mean())
    factor = _PROTEIN_TO_SPHERE / inside if inside > 0 else 0.0
    return CorrectedFsc(
        unmasked=unmasked,
        corrected=unmasked if further else corrected,
        masked=masked,
        randomised=randomised,
        by_mask_fraction=particle_fsc(unmasked, factor) if factor else None,
        by_weight=by_weight,
        first_random_shell=shell,
        particle_factor=factor,
        weight_factor=weight_factor,
        mask_is_used=not further,
    )


def _first_random_shell(
    unmasked: NDArray[np.float64],
    n: int,
    pixel_size_angst: float,
    below_fsc: float,
    at_angst: float,
) -> int:
    if at_angst > 0:
        shell = int(n * pixel_size_angst / at_angst)
        if shell > n // 2:
            raise OptionsError(
                f"--randomize_at_A {at_angst:g}: Nyquist is {2 * pixel_size_angst:g} Å; "
                "give a lower resolution"
            )
        return shell
    found = first_shell_below(unmasked, below_fsc)
    if found is None:
        raise NumericalError(
            f"the FSC of the unmasked half maps never falls below {below_fsc:g}: give "
            "--randomize_at_A, a larger --randomize_at_fsc, or half maps that have not been masked"
        )
    return found


def particle_fsc(unmasked: NDArray[np.float64], factor: float) -> NDArray[np.float64]:
    """FSC of the particle's part of the box, as cisTEM estimates it (specification M 8.5).

    Parameters
    ----------
    unmasked
        float64, (N/2+1,); FSC of the whole boxes.
    factor
        f, 0.476 over the particle's part of the box.

    Returns
    -------
    float64, (N/2+1,): f FSC / (1 + (f - 1) FSC).
    """
    divisor = 1.0 + (factor - 1.0) * unmasked
    return np.divide(factor * unmasked, divisor, out=np.zeros_like(unmasked), where=divisor != 0)


def resolution_shell(fsc: NDArray[np.float64]) -> int:
    """Last shell before the FSC first falls below 0.143 (specification M 8.4)."""
    below = first_shell_below(fsc, RESOLUTION_FSC)
    return len(fsc) - 1 if below is None else below - 1


def resolution_angst(fsc: NDArray[np.float64], pixel_size_angst: float) -> float:
    """Resolution of `resolution_shell`, Å; 999 if not even the first shell reaches 0.143."""
    n = 2 * (len(fsc) - 1)
    return float(resolution_of_shell(resolution_shell(fsc), n, pixel_size_angst))


def _with_origin(fsc: NDArray[np.float64]) -> NDArray[np.float64]:
    """A mean of zero says nothing about the agreement of the maps (specification M 8.3)."""
    if fsc[0] <= 0:
        fsc[0] = 1.0
    return fsc
