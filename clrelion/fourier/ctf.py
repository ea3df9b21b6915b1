"""Contrast transfer function and aberration phases (specification E 2.9, 2.10).

This is the double-precision definition; the device evaluates the same formulae.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from clrelion.fourier.shells import half_transform_frequencies

__all__ = [
    "antisymmetric_phase",
    "contrast_transfer",
    "electron_wavelength_angst",
    "even_zernike_phase",
    "frequency_grid",
    "zernike",
]

_SMALLEST_VALUE = 1e-8
"""CTF values nearer to zero are moved to +-1e-8, zero itself to +1e-8 (specification E Q19)."""

_ANGST_PER_MM = 1e7


def electron_wavelength_angst(voltage_kv: ArrayLike) -> Any:
    """Compute the relativistic electron wavelength.

    Parameters
    ----------
    voltage_kv
        acceleration voltage, kV, scalar or array.

    Returns
    -------
    float64, Å.  Specification E 2.9.
    """
    volts = 1000.0 * np.asarray(voltage_kv, dtype=np.float64)
    wavelength = 12.2643247 / np.sqrt(volts * (1.0 + 0.978466e-6 * volts))
    return wavelength if wavelength.ndim else float(wavelength)


def frequency_grid(
    size: int, box_px: int, pixel_size_angst: float, mag_matrix: ArrayLike | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Give the spatial frequencies of a (resized) half transform.

    Parameters
    ----------
    size
        edge of the half transform, even, px.
    box_px
        edge of the full image, px; with the pixel size it sets the frequency step.
    pixel_size_angst
        Å/px.
    mag_matrix
        (2, 2) anisotropic-magnification matrix applied to (u, v), default none.

    Returns
    -------
    u, v
        float64, (size, size//2+1), 1/Å.  Specification E 2.9.
    """
    kx, ky = half_transform_frequencies(size)
    extent = box_px * pixel_size_angst
    u, v = kx / extent, ky / extent
    if mag_matrix is None:
        return u, v
    m = np.asarray(mag_matrix, dtype=np.float64)
    return m[0, 0] * u + m[0, 1] * v, m[1, 0] * u + m[1, 1] * v


def contrast_transfer(
    u: NDArray[np.float64],
    v: NDArray[np.float64],
    *,
    voltage_kv: ArrayLike,
    spherical_aberration_mm: ArrayLike,
    amplitude_contrast: ArrayLike,
    defocus_u_angst: ArrayLike,
    defocus_v_angst: ArrayLike,
    defocus_angle_deg: ArrayLike,
    phase_shift_deg: ArrayLike = 0.0,
    bfactor: ArrayLike = 0.0,
    scale_factor: ArrayLike = 1.0,
    even_zernike: Sequence[float] = (),
    intact_first_peak: bool = False,
    phase_flipped: bool = False,
    only_flip_phases: bool = False,
) -> NDArray[np.float64]:
    """Evaluate the contrast transfer function.

    Parameters
    ----------
    u, v
        float64, spatial frequency, 1/Å, after magnification correction; any shape.
    voltage_kv, spherical_aberration_mm, amplitude_contrast
        optics; like all ArrayLike below scalars or arrays that broadcast against ``u``.
    defocus_u_angst, defocus_v_angst, defocus_angle_deg
        underfocus along the two axes, Å, and the angle of the first, degrees.
    phase_shift_deg, bfactor, scale_factor
        phase plate, degrees; B of exp(-B q^2/4), Å^2; overall factor.
    even_zernike
        coefficients of symmetrical aberrations, rad.
    intact_first_peak, phase_flipped, only_flip_phases
        as ``--ctf_intact_first_peak`` (1 where the phase is below pi/2), ``--ctf_phase_flipped``
        (absolute value) and else ``--only_flip_phases`` (sign).

    Returns
    -------
    float64, broadcast shape; positive for bright particles.  Specification E 2.9.
    """
    q2 = u * u + v * v
    defocus_q2 = _defocus_q2(u, v, defocus_u_angst, defocus_v_angst, defocus_angle_deg)
    wavelength = np.asarray(electron_wavelength_angst(voltage_kv))
    cs_angst = _ANGST_PER_MM * np.asarray(spherical_aberration_mm, dtype=np.float64)
    gamma = (
        -np.pi * wavelength * defocus_q2
        + 0.5 * np.pi * cs_angst * wavelength**3 * q2**2
        - np.deg2rad(np.asarray(phase_shift_deg, dtype=np.float64))
        - np.arcsin(np.asarray(amplitude_contrast, dtype=np.float64))
    )
    gamma = gamma + even_zernike_phase(u, v, even_zernike)
    value = -np.sin(gamma)
    if intact_first_peak:
        value = np.where(np.abs(gamma) < 0.5 * np.pi, 1.0, value)
    value = value * np.exp(-0.25 * np.asarray(bfactor, dtype=np.float64) * q2)
    if phase_flipped:
        value = np.abs(value)
    elif only_flip_phases:
        value = np.where(value < 0, -1.0, 1.0)
    return _away_from_zero(value * np.asarray(scale_factor, dtype=np.float64))


def _away_from_zero(value: NDArray[np.float64]) -> NDArray[np.float64]:
    tiny = np.where(value >= 0, _SMALLEST_VALUE, -_SMALLEST_VALUE)
    return np.asarray(np.where(np.abs(value) < _SMALLEST_VALUE, tiny, value))


def _defocus_q2(
    u: NDArray[np.float64],
    v: NDArray[np.float64],
    defocus_u_angst: ArrayLike,
    defocus_v_angst: ArrayLike,
    defocus_angle_deg: ArrayLike,
) -> NDArray[np.float64]:
    """Multiply the astigmatic defocus by q^2."""
    angle = np.deg2rad(np.asarray(defocus_angle_deg, dtype=np.float64))
    along = u * np.cos(angle) + v * np.sin(angle)
    across = v * np.cos(angle) - u * np.sin(angle)
    defocus = np.asarray(defocus_u_angst) * along**2 + np.asarray(defocus_v_angst) * across**2
    return np.asarray(defocus)


def zernike(n: int, m: int, u: NDArray[np.float64], v: NDArray[np.float64]) -> NDArray[np.float64]:
    """Evaluate the unnormalised Zernike polynomial Z_n^m with radius q in 1/Å.

    Parameters
    ----------
    n, m
        radial and azimuthal order, |m| <= n, n - m even.
    u, v
        float64, 1/Å, equal shape; the radius is not limited to 1.

    Returns
    -------
    float64, shape of ``u``: R_n^|m|(q) times cos(m phi) for m >= 0, sin(|m| phi) for m < 0.
    """
    order = abs(m)
    if order > n or (n - order) % 2:
        raise ValueError(f"no Zernike polynomial has n = {n} and m = {m}")
    squared = u * u + v * v
    radial = np.zeros_like(squared)
    # R/q^|m| is a polynomial in q^2; the missing factor comes from (u + i v)^|m|, exact at q = 0
    for k in range((n - order) // 2 + 1):
        numerator = (-1) ** k * math.factorial(n - k)
        denominator = (
            math.factorial(k)
            * math.factorial((n + order) // 2 - k)
            * math.factorial((n - order) // 2 - k)
        )
        radial = radial + numerator / denominator * squared ** ((n - order) // 2 - k)
    rotation = (u + 1j * v) ** order
    return np.asarray(radial * (rotation.real if m >= 0 else rotation.imag))


def even_zernike_phase(
    u: NDArray[np.float64], v: NDArray[np.float64], coefficients: Sequence[float]
) -> NDArray[np.float64]:
    """Sum symmetrical aberrations (``rlnEvenZernike``).

    Parameters
    ----------
    u, v
        float64, 1/Å.
    coefficients
        rad, in RELION's order: 0; 1, 2, 3 for n = 2; ...

    Returns
    -------
    float64, shape of ``u``, rad.  Specification E 2.10.
    """
    phase = np.zeros_like(u)
    for j, coefficient in enumerate(coefficients):
        kappa = math.isqrt(j)
        if coefficient:
            phase += coefficient * zernike(2 * kappa, 2 * (j - kappa * kappa - kappa), u, v)
    return phase


def antisymmetric_phase(
    u: NDArray[np.float64],
    v: NDArray[np.float64],
    coefficients: Sequence[float],
    beam_tilt_x_mrad: float = 0.0,
    beam_tilt_y_mrad: float = 0.0,
    voltage_kv: float = 300.0,
    spherical_aberration_mm: float = 0.0,
) -> NDArray[np.float64]:
    """Sum antisymmetrical aberrations (``rlnOddZernike``) and beam tilt.

    Parameters
    ----------
    u, v
        float64, 1/Å.
    coefficients
        rad, in RELION's order: 0, 1 for n = 1; 2..5 for n = 3; ...
    beam_tilt_x_mrad, beam_tilt_y_mrad
        beam tilt, mrad.
    voltage_kv, spherical_aberration_mm
        optics, needed for the beam tilt only.

    Returns
    -------
    float64, shape of ``u``, rad; images are multiplied by exp(-i phase).  Specification E 2.10.
    """
    phase = np.zeros_like(u)
    for j, coefficient in enumerate(coefficients):
        kappa = (math.isqrt(1 + 4 * j) - 1) // 2
        n = 2 * kappa + 1
        if coefficient:
            phase += coefficient * zernike(n, 2 * (j - kappa * kappa - kappa) - n, u, v)
    if beam_tilt_x_mrad or beam_tilt_y_mrad:
        wavelength = electron_wavelength_angst(voltage_kv)
        strength = -2.0 * np.pi * _ANGST_PER_MM * spherical_aberration_mm * wavelength**2 * 1e-3
        tilt = beam_tilt_x_mrad * u + beam_tilt_y_mrad * v
        phase += strength * (u * u + v * v) * tilt
    return phase
