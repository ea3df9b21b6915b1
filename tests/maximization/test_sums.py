from __future__ import annotations

import numpy as np
import pytest

from clrelion.errors import NumericalError
from clrelion.maximization.sums import (
    BackprojectionSums,
    ParameterSums,
    join_half_sets,
    join_low_resolution,
    low_resolution_join_shell,
)


def random_sums(seed: int, padding: float = 2.0) -> BackprojectionSums:
    sums = BackprojectionSums.zeros(padding, 6, 16)
    rng = np.random.default_rng(seed)
    sums.data += rng.normal(size=sums.data.shape) + 1j * rng.normal(size=sums.data.shape)
    sums.weight += rng.uniform(size=sums.data.shape)
    return sums


def test_shapes_are_checked() -> None:
    sums = BackprojectionSums.zeros(2.0, 6, 16, np.float32)
    assert sums.data.shape == (27, 27, 14)
    assert sums.data.dtype == np.complex64
    assert sums.padded_radius == 12
    with pytest.raises(ValueError, match="need the shape"):
        BackprojectionSums(sums.data, sums.weight, 2.0, 7, 16)
    with pytest.raises(ValueError, match="complex"):
        BackprojectionSums(sums.weight, sums.weight, 2.0, 6, 16)


def test_hermitian_repair() -> None:
    # specification M 10.1 item 4
    sums = random_sums(0)
    before = sums.copy()
    sums.hermitian_repair()
    plane, weight = sums.data[:, :, 0], sums.weight[:, :, 0]
    c = sums.padded_radius + 1
    off = np.ones(plane.shape, dtype=bool)
    off[c, c] = False
    np.testing.assert_array_equal(plane[off], plane[::-1, ::-1].conj()[off])
    np.testing.assert_array_equal(weight, weight[::-1, ::-1])
    assert plane[c, c] == before.data[c, c, 0]
    total = before.weight[:, :, 0].sum()
    assert weight.sum() == pytest.approx(2 * total - before.weight[c, c, 0])
    np.testing.assert_array_equal(sums.data[:, :, 1:], before.data[:, :, 1:])


def test_addition_and_joining() -> None:
    one, two = random_sums(0), random_sums(1)
    total = join_half_sets(one, two)
    np.testing.assert_array_equal(total.data, one.data + two.data)
    np.testing.assert_array_equal(total.weight, one.weight + two.weight)
    assert not np.shares_memory(total.data, one.data)
    with pytest.raises(ValueError, match="differ"):
        one.add(BackprojectionSums.zeros(2.0, 5, 16))


@pytest.mark.parametrize("padding", [2.0, 1.85])
def test_low_resolution_is_averaged_within_the_shell(padding: float) -> None:
    one, two = random_sums(0, padding), random_sums(1, padding)
    before_one, before_two = one.copy(), two.copy()
    join_low_resolution(one, two, 3)
    edge = one.padded_radius + 1
    k = np.arange(-edge, edge + 1)
    squared = k[:, None, None] ** 2 + k[:, None] ** 2 + np.arange(edge + 1) ** 2
    inside = squared <= int(padding * 3 + 0.5) ** 2
    for name in ("data", "weight"):
        first, second = getattr(one, name), getattr(two, name)
        mean = 0.5 * (getattr(before_one, name) + getattr(before_two, name))
        np.testing.assert_array_equal(first[inside], second[inside])
        np.testing.assert_allclose(first[inside], mean[inside])
        np.testing.assert_array_equal(first[~inside], getattr(before_one, name)[~inside])
        np.testing.assert_array_equal(second[~inside], getattr(before_two, name)[~inside])


def test_joining_shell() -> None:
    assert low_resolution_join_shell(64, 4.0, 40.0, 1 / 50.0) == 6
    assert low_resolution_join_shell(64, 4.0, 40.0, 1 / 10.0) == 7
    assert low_resolution_join_shell(64, 4.0, 40.0, 0.0) == 7
    assert low_resolution_join_shell(64, 4.0, -1.0, 0.1) == -1
    one, two = random_sums(0), random_sums(1)
    untouched = one.copy()
    join_low_resolution(one, two, -1)
    np.testing.assert_array_equal(one.data, untouched.data)
    with pytest.raises(NumericalError, match="low_resol_join_halves"):
        join_low_resolution(one, two, 7)


def test_emptiness() -> None:
    sums = BackprojectionSums.zeros(2.0, 6, 16)
    assert sums.is_empty()
    sums.weight[13, 13, 0] = 1e-5
    assert not sums.is_empty()


def test_parameter_sums_add_and_travel_as_vectors() -> None:
    one = ParameterSums.zeros(2, 5, 1, 3, 16)
    one.pdf_class += [1.0, 2.0]
    one.pdf_direction[1, 4] = 7.0
    one.log_likelihood = -3.5
    one.pmax_sum = 2.0
    two = one.copy()
    two.add(one)
    assert two.log_likelihood == -7.0
    assert two.pdf_direction[1, 4] == 14.0
    assert two.total_weight == 6.0
    assert one.pdf_direction[1, 4] == 7.0
    again = ParameterSums.from_vector(two.to_vector(), one)
    np.testing.assert_array_equal(again.pdf_class, two.pdf_class)
    assert again.sigma2_noise.shape == (1, 9)
    assert again.pmax_sum == 4.0
    with pytest.raises(ValueError, match="pdf_direction"):
        two.add(ParameterSums.zeros(2, 6, 1, 3, 16))
