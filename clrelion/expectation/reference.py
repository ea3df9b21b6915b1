"""The reference as the E-step sees it: oversampled, gridding-corrected Fourier transform.

In: one map of the model.  Out: the centred half transform whose central slices are projections, and
the power spectrum of the reference, which classification uses as tau2 (specification E 1.6).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from clrelion.errors import NumericalError
from clrelion.fourier.padded import correct_gridding, padded_forward, padded_size_of
from clrelion.fourier.shells import (
    centred_z_chunks,
    round_half_away_int,
    shell_sums,
    squared_radius_shells,
)

__all__ = ["ReferenceTransform", "reference_transform"]


@dataclass(frozen=True)
class ReferenceTransform:
    """Oversampled transform of one reference, ready to be sliced.

    Attributes
    ----------
    data
        complex64 or complex128, (2(P+1)+1, 2(P+1)+1, P+2); centred half array: axes z, y from
        -(P+1), x from 0.  A central slice has the scale of a 2-D transform divided by N^2.
    padding_factor
        N_p/N after N_p was made even (specification E F.2).
    r_max
        R, Fourier pixels; coefficients beyond rnd(R p) padded pixels are zero.
    ori_size
        N, voxels.
    power_spectrum
        float64, (N/2+1,); mean |F|^2/2 of each shell, 0 beyond R.
    """

    data: NDArray[Any]
    padding_factor: float
    r_max: int
    ori_size: int
    power_spectrum: NDArray[np.float64]

    @property
    def padded_radius(self) -> int:
        """P = rnd(R p), padded Fourier pixels."""
        return int(self.data.shape[2]) - 2


def reference_transform(
    reference: NDArray[Any],
    padding_factor: float,
    r_max: int,
    *,
    first_shell: int = -1,
    precision: Literal["single", "double"] = "double",
    workers: int | None = None,
) -> ReferenceTransform:
    """Prepare a map for projection.

    Parameters
    ----------
    reference
        real, (N, N, N) as [z, y, x], real space, origin N//2; not changed.
    padding_factor
        padding factor of the command line.
    r_max
        R = min(current_size/2, N/2), Fourier pixels.
    first_shell
        for ``--strict_lowres_exp``: rnd(N a/resolution); coefficients up to rnd(p first_shell)
        are zeroed after the power spectrum has been taken.  Negative: none.
    precision
        of the transform and of ``data``; the spectrum is summed in double precision.
    workers
        threads; None: see `clrelion.fourier.transforms.set_workers`.

    Returns
    -------
    ReferenceTransform

    Raises
    ------
    NumericalError
        if the map holds NaN or infinity.

    Notes
    -----
    Specification E 1.6, F.2, F.6; M 2.4.
    """
    n = reference.shape[0]
    padded_size = padded_size_of(n, padding_factor)
    factor = padded_size / n
    radius = round_half_away_int(factor * r_max)
    volume = reference.astype(np.float32 if precision == "single" else np.float64)
    if not np.isfinite(volume).all():
        raise NumericalError(
            "a reference map holds NaN or infinity; check the input map and the particles"
        )
    correct_gridding(volume, factor)
    # factor^3 N / N_p^3: the forward division and the slice-theorem scale in one number
    volume *= volume.dtype.type(1.0 / float(n) ** 2)
    data = padded_forward(volume, padded_size, radius, workers)
    spectrum = _power_spectrum(data, radius, factor, n, radius == padded_size // 2)
    if first_shell >= 0:
        _clear_inside(data, radius, round_half_away_int(factor * first_shell))
    return ReferenceTransform(data, factor, r_max, n, spectrum)


def _power_spectrum(
    data: NDArray[Any], radius: int, factor: float, ori_size: int, lacks_negative_nyquist: bool
) -> NDArray[np.float64]:
    """Average |F|^2/2 over the shells of the stored sphere (specification E 1.6.5, F.6)."""
    n_shells = ori_size // 2 + 1
    # one slot more than shells, for the corners beyond the sphere
    table = np.minimum(squared_radius_shells(3 * (radius + 1) ** 2, factor), n_shells)
    table = np.where(np.arange(table.size) <= radius**2, table, n_shells)
    sums = np.zeros(n_shells)
    counts = np.zeros(n_shells, dtype=np.int64)
    for planes, squared in centred_z_chunks(radius):
        shells = table[squared]
        block = data[planes]
        power = np.square(block.real, dtype=np.float64) + np.square(block.imag, dtype=np.float64)
        sums += shell_sums(power, shells, n_shells)
        counts += np.bincount(shells.ravel(), minlength=n_shells + 1)[:n_shells]
    if lacks_negative_nyquist and table[radius**2] < n_shells:
        counts[table[radius**2]] -= 2
    return np.divide(0.5 * sums, counts, out=np.zeros(n_shells), where=counts > 0)


def _clear_inside(data: NDArray[Any], radius: int, inner_radius: int) -> None:
    """Zero the coefficients with |q| <= inner_radius (specification E 1.6.6)."""
    for planes, squared in centred_z_chunks(radius):
        data[planes][squared <= inner_radius**2] = 0
