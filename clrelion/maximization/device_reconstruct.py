"""Reconstruction of a map on the device: the twin of `clrelion.maximization.reconstruct`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from clrelion.device.padded_fft import PaddedFFT
from clrelion.device.shell_sums import run_over_voxels, sum_by_shell, wide_sums
from clrelion.errors import NumericalError
from clrelion.fourier.masks import background_ramp
from clrelion.fourier.padded import padded_size_of
from clrelion.fourier.shells import round_half_away_int, shell_bounds
from clrelion.maximization.device_map import DeviceMap
from clrelion.maximization.device_sums import DeviceSums
from clrelion.maximization.reconstruct import BACKGROUND_EDGE_PX, MINRES_MAP, WEIGHT_FLOOR

if TYPE_CHECKING:
    from pyopencl.array import Array

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
    """Data over regularised weights, column by column (specification M 2.1, 2.2a)."""

    def __init__(self, sums: DeviceSums, priors: NDArray[np.float64]) -> None:
        session, p, r_max = sums.session, sums.padding_factor, sums.r_max
        self._sums = sums
        with np.errstate(over="ignore"):  # beyond the range of single precision: infinite
            self._priors = session.to_device(priors, session.real)
        # one shell more for the voxels with |x|^2 >= P^2, which are not regularised
        bounds = np.append(sums.bounds(), np.int32(np.iinfo(np.int32).max))
        self._bounds = session.to_device(bounds)
        self._n_shells = len(bounds) - 1
        averaged = shell_bounds(r_max, round_half_away_int((p * r_max) ** 2), p, "floor")
        self._floor_bounds = session.to_device(averaged)
        edge, _, nx = sums.shape
        totals, counts = sum_by_shell(
            session, "weight_floors", r_max, edge, 2,
            sums.values, sums.start, edge, nx, sums.padded_radius**2, self._floor_bounds, r_max,
            self._bounds, self._priors, self._n_shells, p,
        )  # fmt: skip
        floors = np.divide(WEIGHT_FLOOR * totals, counts, out=np.zeros(r_max), where=counts > 0)
        self._floors = session.to_device(floors, session.real)

    def fill(self, block: Array, start: int, count: int) -> None:
        """Write the quotients of a run of columns."""
        sums = self._sums
        edge, _, nx = sums.shape
        run_over_voxels(
            sums.session, "divide_volume", (edge - 2, edge - 2, count),
            sums.values, sums.start, edge, nx, sums.padded_radius**2,
            self._floor_bounds, self._floors, sums.r_max,
            self._bounds, self._priors, self._n_shells, sums.padding_factor,
            start, count, block,
        )  # fmt: skip


def _finish(volume: DeviceMap, padding_factor: float) -> None:
    """Scale the map, fill its corners and correct it for gridding (specification M 2.3)."""
    session, n = volume.session, int(volume.values.shape[0])
    radii = np.sqrt(np.arange(3 * (n // 2) ** 2 + 1, dtype=np.float64))
    ramp = background_ramp(radii, n // 2, BACKGROUND_EDGE_PX)
    weights_d = session.to_device(ramp, session.real)
    sums = wide_sums(session, "background_sums", n, n, 3, volume.values, n, weights_d)
    weighted, total, size = sums.sum(axis=(0, 1))
    if not np.isfinite(size):
        raise NumericalError(
            "a reconstruction holds NaN or infinity; look for broken particle images or CTFs"
        )
    scale = 1.0 / (padding_factor**3 * n)
    factors = np.stack([ramp, 1.0 / np.sinc(radii / (n * padding_factor)) ** 2], axis=-1)
    run_over_voxels(
        session, "finish_map", (n, n, n),
        volume.values, n, session.to_device(factors, session.real), scale,
        scale * float(weighted) / float(total),
    )  # fmt: skip
