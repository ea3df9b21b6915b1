from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from clrelion.errors import NumericalError
from clrelion.expectation.reference import reference_transform
from clrelion.fourier.fsc import map_fsc
from clrelion.fourier.masks import raised_cosine_mask
from clrelion.fourier.padded import squared_radii
from clrelion.fourier.shells import squared_radius_shells
from clrelion.maximization.reconstruct import reconstruct
from clrelion.maximization.sums import BackprojectionSums
from tests.reference.phantoms import blob_map, uniform_matrices
from tests.reference.slices import backproject, project

N = 32


@pytest.fixture(scope="module")
def phantom() -> NDArray[np.float64]:
    # of zero mean: the coarse interpolation about a large origin voxel is RELION's as well
    return blob_map(N, sd_px=0.8, is_signed=True)


@pytest.fixture(scope="module")
def inserted(phantom: NDArray[np.float64]) -> BackprojectionSums:
    """3000 noise-free projections with unit weights, Hermitian-repaired."""
    reference = reference_transform(phantom, 2.0, N // 2)
    sums = BackprojectionSums.zeros(2.0, N // 2, N)
    for seed in range(6):
        matrices = uniform_matrices(500, seed)
        slices = project(reference, matrices, N)
        backproject(sums, slices, np.ones(slices.shape), matrices)
    sums.hermitian_repair()
    return sums


def squared_grid(sums: BackprojectionSums) -> NDArray[np.int64]:
    edge = sums.padded_radius + 1
    k = np.arange(-edge, edge + 1)
    squared: NDArray[np.int64] = k[:, None, None] ** 2 + k[:, None] ** 2 + np.arange(edge + 1) ** 2
    return squared


def test_noise_free_projections_give_the_map_back(
    phantom: NDArray[np.float64], inserted: BackprojectionSums
) -> None:
    # specification M 10.1 item 1
    found = reconstruct(inserted, None)
    inside = raised_cosine_mask(N, 11.0, 3.0)
    fsc = map_fsc(found * inside, phantom * inside)
    assert fsc[: int(0.9 * N / 2)].min() > 0.999
    assert np.abs((found - phantom) * inside).std() < 0.01 * phantom.max()


def test_projecting_the_reconstruction_needs_both_gridding_corrections(
    phantom: NDArray[np.float64], inserted: BackprojectionSums
) -> None:
    # specification M 10.1 item 7: amplitudes towards the edge of the box tell
    matrices = uniform_matrices(5, 77)
    images = project(reference_transform(phantom, 2.0, 16), matrices, N)

    def error(volume: NDArray[np.float64]) -> float:
        again = project(reference_transform(volume, 2.0, 16), matrices, N)
        return float(np.linalg.norm(again - images) / np.linalg.norm(images))

    found = reconstruct(inserted, None)
    uncorrected = found.copy()
    radii = np.sqrt(squared_radii(N)) / (2.0 * N)
    uncorrected *= np.sinc(radii) ** 2
    assert error(found) < 0.02
    assert error(uncorrected) > 2.0 * error(found)
    assert error(uncorrected * np.sinc(radii) ** 2) > 4.0 * error(found)


def test_weight_of_the_particles_cancels_without_prior(inserted: BackprojectionSums) -> None:
    # specification M 10.1 item 2
    doubled = inserted.copy()
    doubled.add(inserted)
    np.testing.assert_allclose(reconstruct(doubled, None), reconstruct(inserted, None), atol=1e-12)


@pytest.mark.parametrize("precision", ["double", "single"])
def test_precision(inserted: BackprojectionSums, precision: str) -> None:
    single = BackprojectionSums(
        inserted.data.astype(np.complex64), inserted.weight.astype(np.float32), 2.0, 16, N
    )
    double = reconstruct(inserted, None)
    found = reconstruct(single, None, precision="single" if precision == "single" else "double")
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, double, atol=1e-5 * double.max())


def test_wiener_limit(phantom: NDArray[np.float64]) -> None:
    # specification M 10.1 item 5: constant weight and prior scale the whole map
    weight, tau2, fudge = 3.0, 0.02, 2.0
    reference = reference_transform(phantom, 2.0, N // 2)
    sums = BackprojectionSums.zeros(2.0, N // 2, N)
    sums.weight += weight
    sums.data += weight * reference.data
    plain = reconstruct(sums, None)
    found = reconstruct(sums, np.full(N // 2 + 1, tau2), fudge, minres_map=0)
    factor = weight / (weight + 1.0 / (2.0**3 * fudge * tau2))
    # voxels at exactly r = P are not regularised
    np.testing.assert_allclose(found, factor * plain, atol=2e-3 * plain.max())


def test_regularised_weights_follow_the_rules_voxel_by_voxel() -> None:
    rng = np.random.default_rng(0)
    n, padding, r_max = 24, 1.85, 10
    sums = BackprojectionSums.zeros(padding, r_max, n)
    radius = sums.padded_radius
    sums.data += rng.normal(size=sums.data.shape) + 1j * rng.normal(size=sums.data.shape)
    sums.weight += rng.uniform(size=sums.weight.shape) ** 6
    sums.weight[rng.uniform(size=sums.weight.shape) < 0.2] = 0.0
    tau2 = 10.0 ** rng.uniform(-2, 1, n // 2 + 1)
    tau2[7] = 0.0
    squared = squared_grid(sums)
    weight = np.where(squared <= radius**2, sums.weight, 0.0)
    shells = squared_radius_shells(int(squared.max()), padding)[squared]
    for index in np.argwhere((squared < radius**2) & (shells >= 5)):
        at = tuple(index)
        if tau2[shells[at]] > 0:
            weight[at] += 1.0 / (padding**3 * 4.0 * tau2[shells[at]])
        elif weight[at] > 1e-20:
            weight[at] += 1.0 / (0.001 * weight[at])
    floor_shells = np.floor(np.sqrt(squared) / padding).astype(int)
    floors = np.array(
        [
            weight[(squared < round((padding * r_max) ** 2)) & (floor_shells == m)].mean() / 1000
            for m in range(r_max)
        ]
    )
    weight = np.maximum(weight, floors[np.minimum(floor_shells, r_max - 1)])
    wanted = BackprojectionSums.zeros(padding, r_max, n)
    inside = squared <= radius**2
    wanted.data[inside] = sums.data[inside] / np.where(weight > 0, weight, 1.0)[inside]
    wanted.weight[inside] = 1.0
    expected = reconstruct(wanted, None)
    found = reconstruct(sums, tau2, 4.0)
    np.testing.assert_allclose(found, expected, atol=1e-10 * np.abs(expected).max())


def test_corners_hold_the_background_mean() -> None:
    rng = np.random.default_rng(1)
    sums = BackprojectionSums.zeros(1.0, 8, 16)
    sums.data += rng.normal(size=sums.data.shape)
    sums.weight += 1.0
    found = reconstruct(sums, None)
    # undoing the gridding correction leaves one number beyond N/2 + 3
    ratio = np.sinc(np.sqrt(3 * 8**2) / 16) ** 2
    near = np.sinc(np.sqrt(2 * 8**2 + 5**2) / 16) ** 2
    assert found[0, 0, 0] * ratio == pytest.approx(found[0, 0, 3] * near)


def test_broken_sums_are_reported(inserted: BackprojectionSums) -> None:
    broken = inserted.copy()
    broken.data[33, 33, 3] = np.nan
    with pytest.raises(NumericalError, match="NaN"):
        reconstruct(broken, None)
