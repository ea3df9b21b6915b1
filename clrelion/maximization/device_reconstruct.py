"""Reconstruction of a map on the device: the twin of `clrelion.maximization.reconstruct`."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from clrelion.device.padded_fft import Coefficients, PaddedFFT
from clrelion.device.shell_sums import run_over_voxels, sum_by_shell, wide_sums
from clrelion.errors import NumericalError
from clrelion.fourier.masks import background_ramp
from clrelion.fourier.padded import padded_size_of
from clrelion.fourier.shells import round_half_away_int, shell_bounds
from clrelion.maximization.device_map import DeviceMap
from clrelion.maximization.device_sums import DeviceSums
from clrelion.maximization.reconstruct import BACKGROUND_EDGE_PX, MINRES_MAP, WEIGHT_FLOOR

if TYPE_CHECKING:
    from clrelion.device.array import Array

__all__ = ["reconstruct_on_device"]


def reconstruct_on_device(
    sums: DeviceSums,
    tau2: ArrayLike | None,
    tau2_fudge: float = 1.0,
    *,
    minres_map: int = MINRES_MAP,
) -> DeviceMap:
    """Reconstruct a map by Wiener division and one inverse transform, without leaving the device.

    Parameters
    ----------
    sums
        Hermitian-repaired, symmetrised sums of one class; not changed.
    tau2
        float64, (N/2+1,); prior power of each shell in the scale of 2-D transforms.  None gives
        the unregularised map.
    tau2_fudge
        T.
    minres_map
        Shells below it are not regularised.

    Returns
    -------
    DeviceMap

    Raises
    ------
    NumericalError
        If the sums hold NaN or infinity.

    Notes
    -----
    Specification M 2.1, 2.2a (``skip_gridding``) and 2.3; in the session's precision.
    """
    session, n, p = sums.session, sums.ori_size, sums.padding_factor
    division = _Division(sums, _priors(sums, tau2, tau2_fudge, minres_map))
    fft = PaddedFFT(session, n, padded_size_of(n, p), sums.padded_radius)
    volume = session.empty((n, n, n), session.real)
    fft.inverse(division.fill, volume)
    _finish(DeviceMap(session, volume), p)
    return DeviceMap(session, volume)


def _priors(
    sums: DeviceSums, tau2: ArrayLike | None, tau2_fudge: float, minres_map: int
) -> NDArray[np.float64]:
    """Prior of each shell as common/regularised_weight wants it; the last one is 0."""
    n_shells = sums.ori_size // 2 + 1
    priors = np.zeros(n_shells + 1)
    if tau2 is None:
        return priors
    power = np.asarray(tau2, dtype=np.float64)
    regularised = np.arange(n_shells) >= minres_map
    has_prior = regularised & (power > 0)
    scale = sums.padding_factor**3 * tau2_fudge
    np.divide(1.0, scale * power, out=priors[:-1], where=has_prior)
    priors[:-1][regularised & ~has_prior] = -1.0
    return priors


class _Division:
    """Data over regularised weights, part by part (specification M 2.1, 2.2a)."""

    def __init__(self, sums: DeviceSums, priors: NDArray[np.float64]) -> None:
        self._sums = sums
        real = sums.session.real
        p, r_max, radius = sums.padding_factor, sums.r_max, sums.padded_radius
        with np.errstate(over="ignore"):  # beyond the range of single precision: infinite
            shells = _shells_of_priors(sums.ori_size // 2 + 1, p, radius)
            prior = priors.astype(real)[shells]
            averaged, shells = _shells_of_floors(r_max, p, radius)
            floors = self._floors(averaged, prior).astype(real)
        self._factors = sums.session.to_device(np.stack([prior, floors[shells]], axis=-1))

    def _floors(self, bounds: NDArray[np.int32], prior: NDArray[Any]) -> NDArray[np.float64]:
        """Smallest divisor of each shell."""
        sums, session = self._sums, self._sums.session
        edge, _, nx = sums.shape
        n = len(bounds) - 1
        totals, counts = sum_by_shell(
            session, "weight_floors_vector" if session.is_cpu else "weight_floors", n, edge, 2,
            sums.values, sums.start, edge, nx, sums.padded_radius**2, session.to_device(bounds), n,
            session.to_device(prior),
        )  # fmt: skip
        floors = np.zeros(n)
        np.divide(WEIGHT_FLOOR * totals, counts, out=floors, where=counts > 0)
        return floors

    def fill(self, block: Array, part: Coefficients) -> None:
        """Write the quotients of a part of the coefficients."""
        sums, session = self._sums, self._sums.session
        edge, _, nx = sums.shape
        arguments = (
            sums.values, sums.start, edge, nx, sums.padded_radius**2, self._factors,
            part.first_plane, part.n_planes, part.first_row, part.n_rows, part.first_column,
            part.n_columns, block,
        )  # fmt: skip
        if session.is_cpu:
            kernel = session.kernel("maximization/divide_volume_vector")
            kernel((part.n_planes,), (1,), *arguments)
        else:
            run_over_voxels(session, "divide_volume", part.shape, *arguments)


@lru_cache(maxsize=2)
def _shells_of_priors(n_shells: int, padding_factor: float, radius: int) -> NDArray[np.int64]:
    """Shell whose prior counts for each squared radius, one more where |x|^2 >= P^2."""
    bounds = shell_bounds(n_shells, radius**2, padding_factor)
    return _frozen(_shells(radius**2 + 1, bounds))


@lru_cache(maxsize=2)
def _shells_of_floors(
    r_max: int, padding_factor: float, radius: int
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Where the shells begin that floors are averaged over; the one of each squared radius."""
    limit = round_half_away_int((padding_factor * r_max) ** 2)
    bounds = shell_bounds(r_max, limit, padding_factor, "floor")
    # the last floor also holds beyond
    return bounds, _frozen(np.minimum(_shells(radius**2 + 1, bounds), r_max - 1))


def _shells(n_squared: int, bounds: NDArray[np.int32]) -> NDArray[np.int64]:
    """Shell of each squared radius below n_squared; beyond the last bound the number of shells."""
    borders = np.concatenate([[0], np.minimum(bounds, n_squared), [n_squared]])
    return np.repeat(np.arange(-1, len(bounds)), np.diff(borders))


def _frozen(table: NDArray[np.int64]) -> NDArray[np.int64]:
    table.setflags(write=False)  # all maps get the same one
    return table


@lru_cache(maxsize=2)
def _map_factors(n: int, padding_factor: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Share of the background by squared radius, and that beside the gridding correction."""
    radii = np.sqrt(np.arange(3 * (n // 2) ** 2 + 1, dtype=np.float64))
    ramp = background_ramp(radii, n // 2, BACKGROUND_EDGE_PX)
    factors = np.stack([ramp, 1.0 / np.sinc(radii / (n * padding_factor)) ** 2], axis=-1)
    for table in (ramp, factors):
        # all maps get the same ones
        table.setflags(write=False)
    return ramp, factors


def _finish(volume: DeviceMap, padding_factor: float) -> None:
    """Scale the map, fill its corners and correct it for gridding (specification M 2.3)."""
    session, n = volume.session, int(volume.values.shape[0])
    ramp, factors = _map_factors(n, padding_factor)
    weights_d = session.to_device(ramp, session.real)
    sums = wide_sums(session, "background_sums", n, 2, volume.values, n, weights_d)
    weighted, total = (lines.sum() for lines in sums)
    if not np.isfinite(weighted):
        raise NumericalError(
            "a reconstruction holds NaN or infinity; look for broken particle images or CTFs"
        )
    scale = 1.0 / (padding_factor**3 * n)
    run_over_voxels(
        session, "finish_map", (n, n, n),
        volume.values, n, session.to_device(factors, session.real), scale,
        scale * float(weighted) / float(total),
    )  # fmt: skip
