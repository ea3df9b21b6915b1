from __future__ import annotations

import numpy as np
import pytest

from clrelion.fourier.shells import round_half_away_int
from clrelion.maximization.half_maps import downsampled_average, half_set_fsc
from clrelion.maximization.sums import BackprojectionSums


def random_sums(seed: int, padding: float) -> BackprojectionSums:
    sums = BackprojectionSums.zeros(padding, 5, 14)
    rng = np.random.default_rng(seed)
    sums.data += rng.normal(size=sums.data.shape) + 1j * rng.normal(size=sums.data.shape)
    sums.weight += rng.uniform(size=sums.data.shape)
    sums.weight[rng.uniform(size=sums.data.shape) < 0.1] = 0.0
    return sums


@pytest.mark.parametrize("padding", [1.0, 1.85, 2.0, 3.0])
def test_downsampled_average_and_fsc_voxel_by_voxel(padding: float) -> None:
    # specification M 1.6
    pair = [random_sums(0, padding), random_sums(1, padding)]
    pair[1].data += pair[0].data
    averages = []
    for sums in pair:
        edge = sums.padded_radius + 1
        numerator: dict[tuple[int, ...], complex] = {}
        denominator: dict[tuple[int, ...], float] = {}
        for k, i, j in np.ndindex(*sums.data.shape):
            at = tuple(round_half_away_int(v / padding) for v in (k - edge, i - edge, j))
            numerator[at] = numerator.get(at, 0) + sums.data[k, i, j]
            denominator[at] = denominator.get(at, 0) + sums.weight[k, i, j]
        averages.append(
            {at: v / denominator[at] if denominator[at] > 0 else 0 for at, v in numerator.items()}
        )
        found = downsampled_average(sums)
        radius = found.shape[2] - 1
        assert found.size == len(numerator)
        for (z, y, x), value in averages[-1].items():
            assert found[z + radius, y + radius, x] == pytest.approx(value)
    products = np.zeros((3, 6))
    for at, one in averages[0].items():
        two, squared = averages[1][at], sum(v * v for v in at)
        if squared <= 25:
            shell = round_half_away_int(np.sqrt(squared))
            products[:, shell] += (one * np.conj(two)).real, abs(one) ** 2, abs(two) ** 2
    expected = np.zeros(8)
    expected[:6] = products[0] / np.sqrt(products[1] * products[2])
    expected[0] = 1.0
    np.testing.assert_allclose(half_set_fsc(*pair), expected, atol=1e-12)


def test_equal_halves_correlate_fully_and_empty_ones_not_at_all() -> None:
    sums = random_sums(0, 2.0)
    np.testing.assert_allclose(half_set_fsc(sums, sums), [1, 1, 1, 1, 1, 1, 0, 0])
    empty = BackprojectionSums.zeros(2.0, 5, 14)
    np.testing.assert_array_equal(half_set_fsc(sums, empty), [1, 0, 0, 0, 0, 0, 0, 0])


def test_single_precision_sums_are_added_in_double() -> None:
    sums = random_sums(0, 2.0)
    single = BackprojectionSums(
        sums.data.astype(np.complex64), sums.weight.astype(np.float32), 2.0, 5, 14
    )
    found = downsampled_average(single)
    assert found.dtype == np.complex128
    np.testing.assert_allclose(found, downsampled_average(sums), rtol=1e-4, atol=1e-5)
