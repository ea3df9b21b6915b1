"""Fourier shell correlation of maps and phase randomisation (specification M 1.6 B, 1.7)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from clrelion.fourier.shells import fftw_frequencies, half_transform_shells_3d, shell_sums
from clrelion.fourier.transforms import forward_3d, inverse_3d

__all__ = [
    "first_shell_below",
    "map_fsc",
    "phase_randomised_fsc",
    "randomise_phases",
    "transform_fsc",
]


def transform_fsc(
    first: NDArray[Any], second: NDArray[Any], shells: NDArray[Any], n_shells: int
) -> NDArray[np.float64]:
    """Correlate two transforms shell by shell.

    Parameters
    ----------
    first, second
        complex, any equal shape.
    shells
        integer >= 0, same shape; shells >= ``n_shells`` are left out.
    n_shells
        length of the result.

    Returns
    -------
    float64, (n_shells,): sum Re(a conj b) / sqrt(sum |a|^2 sum |b|^2), 0 where the product of the
    powers is not positive.  Every stored coefficient counts once, so the x = 0 plane, which holds
    both Friedel mates, counts double (M quirk 2).
    """
    cross = first.real * second.real + first.imag * second.imag
    covariance = shell_sums(cross, shells, n_shells)
    power = _power(first, shells, n_shells) * _power(second, shells, n_shells)
    return np.divide(covariance, np.sqrt(power), out=np.zeros(n_shells), where=power > 0)


def map_fsc(first: NDArray[Any], second: NDArray[Any]) -> NDArray[np.float64]:
    """Correlate two maps shell by shell up to Nyquist.

    Parameters
    ----------
    first, second
        real, (N, N, N), real space.

    Returns
    -------
    float64, (N/2+1,).  Specification M 1.7 step 2; shell 0 is not overridden.
    """
    n = first.shape[0]
    shells = half_transform_shells_3d(n)
    return transform_fsc(forward_3d(first), forward_3d(second), shells, n // 2 + 1)


def randomise_phases(
    volume: NDArray[Any], first_shell: int, rng: np.random.Generator
) -> NDArray[Any]:
    """Replace all phases from a shell outwards by random ones, keeping the amplitudes.

    Parameters
    ----------
    volume
        float32 or float64, (N, N, N), real space.
    first_shell
        coefficients with |k|^2 >= first_shell^2 change, corners included.
    rng
        source of the phases, uniform in [0, 2 pi).

    Returns
    -------
    Same shape and dtype, a new array.  Specification M 1.7 step 4.
    """
    n = volume.shape[0]
    transform = forward_3d(volume)
    squares = fftw_frequencies(n) ** 2
    squares_yx = squares[:, None] + np.arange(n // 2 + 1) ** 2
    for plane, square in zip(transform, squares, strict=True):
        chosen = squares_yx + square >= first_shell**2
        amplitudes = np.abs(plane[chosen])
        phases = rng.uniform(0.0, 2.0 * np.pi, amplitudes.size)
        plane[chosen] = amplitudes * np.exp(1j * phases)
    return inverse_3d(transform)


def phase_randomised_fsc(
    first: NDArray[Any],
    second: NDArray[Any],
    mask: NDArray[Any],
    first_shell: int,
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """Correlate two masked maps whose phases are random from a shell outwards.

    Parameters
    ----------
    first, second
        real, (N, N, N), real space.
    mask
        real, (N, N, N) in [0, 1].
    first_shell, rng
        as for `randomise_phases`, which is done before masking.

    Returns
    -------
    float64, (N/2+1,): the correlation that the mask alone brings in.  Specification M 1.7 step 4.
    """
    return map_fsc(
        randomise_phases(first, first_shell, rng) * mask,
        randomise_phases(second, first_shell, rng) * mask,
    )


def first_shell_below(fsc: NDArray[np.float64], threshold: float) -> int | None:
    """Give the first shell beyond the origin whose FSC is below a threshold; None if none is."""
    below = np.flatnonzero(fsc[1:] < threshold)
    return int(below[0]) + 1 if below.size else None


def _power(transform: NDArray[Any], shells: NDArray[Any], n_shells: int) -> NDArray[np.float64]:
    return shell_sums(np.square(transform.real) + np.square(transform.imag), shells, n_shells)
