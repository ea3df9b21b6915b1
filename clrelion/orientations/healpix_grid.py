"""HEALPix pixels in the nested scheme: centres, children in RELION's order, pixel radius."""

from __future__ import annotations

import healpix
import numpy as np
import numpy.typing as npt

from clrelion.errors import OptionsError

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

# 29 is the limit of 64-bit nested pixel numbers.
MAXIMUM_ORDER = 29

_NEAR_POLE_Z = 0.99


def _check_order(order: int) -> None:
    if not 0 <= order <= MAXIMUM_ORDER:
        raise OptionsError(
            f"HEALPix order {order} is outside 0..{MAXIMUM_ORDER}; "
            "choose another --healpix_order or --oversampling"
        )


def pixel_count(order: int) -> int:
    """Count the pixels of an order: ``12 * 4**order``."""
    _check_order(order)
    return int(12 * 4**order)


def pixel_angles(order: int, pixels: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Centres of nested pixels.

    Parameters
    ----------
    order
        HEALPix order; ``n_side = 2**order``.
    pixels
        int64, any shape; pixel numbers of the nested scheme.

    Returns
    -------
    tuple of numpy.ndarray
        rot in [-180, 180] and tilt in [0, 180]; float64, shape of `pixels`, degrees.

    Raises
    ------
    OptionsError
        If the order is negative or too large for 64-bit pixel numbers.

    Notes
    -----
    Specification E 4.1.
    """
    _check_order(order)
    ids = np.asarray(pixels, dtype=np.int64)
    theta, phi = healpix.pix2ang(2**order, ids, nest=True)
    z = np.asarray(healpix.pix2vec(2**order, ids, nest=True)[2], dtype=np.float64)
    # The last bits of rot and tilt decide which pixels on a seam belong to the asymmetric unit.
    # Written as (j - s/2) * ((pi/2) / n_ring) (Górski et al. 2005, equations 5 and 9) and as an
    # arc cosine they fall as in RELION's files; `theta` keeps more digits near the poles.
    from_pole = np.minimum(theta, np.pi - theta)
    n_ring = np.minimum(np.rint(np.sqrt(6.0) * np.sin(from_pole / 2.0) * 2**order), 2**order)
    rot = np.rad2deg(0.5 * np.rint(phi * 4.0 * n_ring / np.pi) * (0.5 * np.pi / n_ring))
    tilt = np.rad2deg(np.where(np.abs(z) > _NEAR_POLE_Z, theta, np.arccos(z)))
    return np.where(rot > 180.0, rot - 360.0, rot), tilt


def directions(order: int) -> tuple[FloatArray, FloatArray]:
    """Centres of all pixels of an order, by increasing nested pixel number.

    Parameters
    ----------
    order
        HEALPix order.

    Returns
    -------
    tuple of numpy.ndarray
        rot in [-180, 180] and tilt in [0, 180]; float64, (12 * 4**order,), degrees.

    Raises
    ------
    OptionsError
        If the order is out of range.

    Notes
    -----
    Specification E 4.1.
    """
    return pixel_angles(order, np.arange(pixel_count(order), dtype=np.int64))


def children(order: int, pixels: npt.ArrayLike, oversampling: int) -> IntArray:
    """Pixels of a finer order that lie inside given pixels, in RELION's order.

    Parameters
    ----------
    order
        HEALPix order of `pixels`.
    pixels
        int64, (n,); pixel numbers of the nested scheme.
    oversampling
        How many orders finer the children are.

    Returns
    -------
    numpy.ndarray
        int64, (n, 4**oversampling); nested pixel numbers of order ``order + oversampling``.
        In the face coordinates of the nested scheme y is the outer loop and x the inner one,
        which differs from increasing pixel numbers from oversampling 2 on.

    Raises
    ------
    OptionsError
        If the finer order is out of range.

    Notes
    -----
    Specification E 4.2.
    """
    _check_order(order)
    _check_order(order + oversampling)
    coordinate = np.arange(2**oversampling, dtype=np.int64)
    spread = np.zeros_like(coordinate)
    for bit in range(oversampling):
        spread |= ((coordinate >> bit) & 1) << (2 * bit)
    within = (2 * spread[:, None] + spread[None, :]).ravel()
    parents = np.asarray(pixels, dtype=np.int64)
    return np.asarray(parents[..., None] * 4**oversampling + within, dtype=np.int64)


def maximum_pixel_radius_deg(order: int) -> float:
    """Largest angle between the centre of a pixel and one of its corners, degrees.

    Notes
    -----
    Specification E 4.4, M 7.2: the angle between (z = 2/3, phi = pi / (4 n_side)) and
    (z = 1 - (1 - 1/n_side)**2 / 3, phi = 0).
    """
    _check_order(order)
    n_side = 2**order
    z_corner = 1.0 - (1.0 - 1.0 / n_side) ** 2 / 3.0
    z_centre = 2.0 / 3.0
    cosine = z_centre * z_corner + np.sqrt((1 - z_centre**2) * (1 - z_corner**2)) * np.cos(
        np.pi / (4 * n_side)
    )
    return float(np.rad2deg(np.arccos(min(1.0, float(cosine)))))
