"""Sums over points off the grid, against the sums themselves."""

from __future__ import annotations

import numpy as np
import pytest

from clrelion.fourier.shells import fftw_frequencies
from clrelion.simulation.nonuniform import TransformGrid, nonuniform_half_transform


def direct_half_transform(positions, weights, n):
    """Sum over points (point, axis), one phase factor an axis."""
    n_axes = positions.shape[1]
    frequencies = [fftw_frequencies(n)] * (n_axes - 1) + [np.arange(n // 2 + 1)]
    phases = [
        np.exp(-2j * np.pi * np.outer(positions[:, axis], k)) for axis, k in enumerate(frequencies)
    ]
    indices = ["ay,ax", "az,ay,ax"][n_axes - 2]
    return np.einsum(f"a,{indices}->{indices.replace('a', '').replace(',', '')}", weights, *phases)


@pytest.mark.parametrize(("n", "n_axes", "reach"), [(32, 2, 0.35), (30, 2, 0.1), (16, 3, 0.25)])
def test_points(n: int, n_axes: int, reach: float) -> None:
    rng = np.random.default_rng(n)
    positions = rng.uniform(-reach, reach, (400, n_axes)) + 0.01
    weights = rng.uniform(1, 16, 400)
    expected = direct_half_transform(positions, weights, n)
    result = nonuniform_half_transform(positions, weights, n)
    assert result.shape == expected.shape
    assert np.abs(result - expected).max() < 2e-6 * np.abs(expected).max()


def test_one_point_on_each_side() -> None:
    """Signed positions: a slip in an axis or a sign shows here without averaging."""
    positions = np.array([[-0.31, 0.125]])
    result = nonuniform_half_transform(positions, np.array([2.0]), 24)
    assert result[0, 1] == pytest.approx(2 * np.exp(-2j * np.pi * 0.125), abs=1e-5)
    assert result[1, 0] == pytest.approx(2 * np.exp(2j * np.pi * 0.31), abs=1e-5)
    assert result[-2, 3] == pytest.approx(
        2 * np.exp(-2j * np.pi * (2 * 0.31 + 3 * 0.125)), abs=1e-5
    )


def test_more_points_than_a_chunk() -> None:
    rng = np.random.default_rng(1)
    positions, weights = rng.uniform(-0.2, 0.2, (20_000, 2)), np.ones(20_000)
    whole = nonuniform_half_transform(positions, weights, 16)
    halves = [nonuniform_half_transform(positions[i::2], weights[i::2], 16) for i in (0, 1)]
    np.testing.assert_allclose(whole, halves[0] + halves[1], atol=1e-4 * len(weights))
    assert whole[0, 0].real == pytest.approx(20_000, rel=1e-6)


def test_points_beyond_the_box() -> None:
    with pytest.raises(ValueError, match="box too small"):
        nonuniform_half_transform(np.array([[0.0, -0.6], [0.0, 0.5]]), np.ones(2), 32)


def test_map_at_any_frequency() -> None:
    n = 12
    rng = np.random.default_rng(2)
    volume = rng.standard_normal((n, n, n))
    frequencies = rng.uniform(-0.5, 0.5, (700, 3))
    frequencies[:3] = np.array([[0, 0, 0], [0.5, -0.5, 0.5], [-0.5, 0.5, -0.5]])
    x = np.arange(n) - n // 2
    phases = [np.exp(-2j * np.pi * np.outer(frequencies[:, axis], x)) for axis in range(3)]
    expected = np.einsum("zyx,pz,py,px->p", volume, *phases, optimize=True)
    grid = TransformGrid(TransformGrid.table_of(volume), n)
    assert np.abs(grid.sample(frequencies) - expected).max() < 4e-5 * np.abs(expected).max()
