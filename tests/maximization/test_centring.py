"""Recentring of references (specification M 4.1.11)."""

from __future__ import annotations

import numpy as np
import pytest

from clrelion.maximization.centring import centre_map, centre_of_mass


def blob(z: float, y: float, x: float, n: int = 24) -> np.ndarray:
    index = np.arange(n) - n // 2
    r2 = (
        (index[:, None, None] - z) ** 2
        + (index[None, :, None] - y) ** 2
        + (index[None, None, :] - x) ** 2
    )
    return np.exp(-r2 / 8.0)


def test_the_origin_is_the_middle_voxel() -> None:
    np.testing.assert_allclose(centre_of_mass(blob(0, 0, 0)), 0, atol=1e-3)
    np.testing.assert_allclose(centre_of_mass(blob(1.5, -2, 0.25)), [1.5, -2, 0.25], atol=1e-2)


def test_negative_density_has_no_mass() -> None:
    volume = blob(2, 0, 0) - 3 * blob(-6, 0, 0)
    volume[:10] = np.minimum(volume[:10], 0)
    expected = centre_of_mass(np.maximum(volume, 0))
    np.testing.assert_array_equal(centre_of_mass(volume), expected)
    np.testing.assert_array_equal(centre_of_mass(-blob(1, 1, 1)), 0)


def test_whole_shifts_are_exact_and_do_not_wrap() -> None:
    volume = np.zeros((8, 8, 8))
    volume[6, 4, 3] = 1.0
    volume[4, 4, 3] = 1.0
    centred = centre_map(volume, 10.0)  # by (-1, 0, +1)
    expected = np.zeros_like(volume)
    expected[5, 4, 4] = expected[3, 4, 4] = 1.0
    np.testing.assert_allclose(centred, expected, atol=1e-12)
    negative = np.zeros((8, 8, 8))
    negative[7, 4, 4], negative[0, 0, 0] = 1.0, -5.0  # moves by -3 along z: the -5 goes out
    np.testing.assert_allclose(centre_map(negative, 10.0).sum(), 1.0)


def test_centred_map_is_centred() -> None:
    centred = centre_map(blob(1.5, -2.3, 0.7), 10.0)
    np.testing.assert_allclose(centre_of_mass(centred), 0, atol=2e-2)


def test_the_shift_is_cut() -> None:
    moved = centre_of_mass(centre_map(blob(3, 0, -4), 1.0))
    assert np.linalg.norm(moved) == pytest.approx(4.0, abs=0.05)
    np.testing.assert_allclose(moved / 4.0, [0.6, 0, -0.8], atol=0.02)
