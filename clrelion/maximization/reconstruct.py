"""Reconstruction of a map from back-projection sums (specification M 2)."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from clrelion.errors import NumericalError
from clrelion.fourier.masks import fill_background
from clrelion.fourier.padded import correct_gridding, padded_inverse, padded_size_of
from clrelion.fourier.shells import (
    centred_z_chunks,
    round_half_away_int,
    shell_sums,
    squared_radius_shells,
)
from clrelion.maximization.sums import BackprojectionSums

__all__ = ["BACKGROUND_EDGE_PX", "MINRES_MAP", "WEIGHT_FLOOR", "reconstruct"]

MINRES_MAP = 5
"""First shell that is regularised (``--minres_map``)."""

_SMALLEST_UNREGULARISED_WEIGHT = 1e-20
_PRIOR_OF_EMPTY_SHELL = 0.001
WEIGHT_FLOOR = 1e-3
"""Weights are raised to this fraction of their shell's mean."""

BACKGROUND_EDGE_PX = 3.0
"""Width of the soft edge when the corners of the box are filled with their mean."""


def reconstruct(
    sums: BackprojectionSums,
    tau2: ArrayLike | None,
    tau2_fudge: float = 1.0,
    *,
    minres_map: int = MINRES_MAP,
    precision: Literal["single", "double"] = "double",
    workers: int | None = None,
) -> NDArray[np.float64]:
    """Reconstruct a map by Wiener division and one inverse transform.

    Parameters
    ----------
    sums
        Hermitian-repaired, symmetrised sums of one class; not changed.
    tau2
        float64, (N/2+1,); prior power of each shell in the scale of 2-D transforms.  None gives
        the unregularised map (``unfil`` maps, initial references).
    tau2_fudge
        T.
    minres_map
        shells below it are not regularised.
    precision
        of the division and the transform; single halves the memory of large boxes.
    workers
        threads; None: see `clrelion.fourier.transforms.set_workers`.

    Returns
    -------
    float64, (N, N, N) as [z, y, x], real space, origin N//2.

    Raises
    ------
    NumericalError
        if the sums hold NaN or infinity.

    Notes
    -----
    Specification M 2.1, 2.2a (``skip_gridding``) and 2.3.
    """
    n, p = sums.ori_size, sums.padding_factor
    weight = _regularised_weight(sums, tau2, tau2_fudge, minres_map)
    kind = np.complex64 if precision == "single" else np.complex128
    quotient = _divide(sums, weight, kind)
    del weight
    volume = padded_inverse(quotient, padded_size_of(n, p), n, workers)
    del quotient
    if not np.isfinite(volume).all():
        raise NumericalError(
            "a reconstruction holds NaN or infinity; look for broken particle images or CTFs"
        )
    volume = volume.astype(np.float64, copy=False)
    volume /= p**3 * n
    volume = fill_background(volume, n // 2, BACKGROUND_EDGE_PX)
    correct_gridding(volume, p)
    return volume


def _regularised_weight(
    sums: BackprojectionSums, tau2: ArrayLike | None, tau2_fudge: float, minres_map: int
) -> NDArray[Any]:
    """Add the prior to the weights within the radius P; zero beyond (specification M 2.1)."""
    radius, p = sums.padded_radius, sums.padding_factor
    weight = np.empty_like(sums.weight)
    table = squared_radius_shells(3 * (radius + 1) ** 2, p)
    squares = np.arange(table.size)
    regularised = (squares < radius**2) & (table >= minres_map) & (tau2 is not None)
    prior = np.zeros(table.size)
    is_empty_shell = np.zeros(table.size, dtype=np.bool_)
    if tau2 is not None:
        spectrum = np.asarray(tau2, dtype=np.float64)
        by_shell = np.zeros(max(int(table[-1]) + 1, spectrum.size))
        by_shell[: spectrum.size] = spectrum
        power = by_shell[table]
        has_prior = regularised & (power > 0)
        np.divide(1.0, p**3 * tau2_fudge * power, out=prior, where=has_prior)
        is_empty_shell = regularised & ~has_prior
    for planes, squared in centred_z_chunks(radius):
        block = sums.weight[planes].astype(np.float64)
        block[squared > radius**2] = 0
        unset = is_empty_shell[squared] & (block > _SMALLEST_UNREGULARISED_WEIGHT)
        block += prior[squared]
        block[unset] += 1.0 / (_PRIOR_OF_EMPTY_SHELL * block[unset])
        weight[planes] = block
    return weight


def _divide(sums: BackprojectionSums, weight: NDArray[Any], kind: Any) -> NDArray[Any]:
    """Divide the data by the floored weights within the radius P (specification M 2.2a)."""
    radius, p, r_max = sums.padded_radius, sums.padding_factor, sums.r_max
    table = squared_radius_shells(3 * (radius + 1) ** 2, p, "floor")
    averaged = np.where(np.arange(table.size) < round_half_away_int((p * r_max) ** 2), table, r_max)
    totals, counts = np.zeros(r_max), np.zeros(r_max, dtype=np.int64)
    for planes, squared in centred_z_chunks(radius):
        shells = averaged[squared]
        totals += shell_sums(weight[planes], shells, r_max)
        counts += np.bincount(shells.ravel(), minlength=r_max)[:r_max]
    floors = np.divide(WEIGHT_FLOOR * totals, counts, out=np.zeros(r_max), where=counts > 0)
    floor = floors[np.minimum(table, r_max - 1)]
    quotient = np.zeros(sums.data.shape, dtype=kind)
    for planes, squared in centred_z_chunks(radius):
        divisor = np.maximum(weight[planes], floor[squared])
        divisor[divisor == 0] = 1.0
        block = sums.data[planes] / divisor
        block[squared > radius**2] = 0
        quotient[planes] = block
    return quotient
