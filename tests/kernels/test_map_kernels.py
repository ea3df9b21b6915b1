"""Kernels on maps, each against its twin."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from clrelion.device.session import DeviceSession
from tests import tolerances
from tests.kernels.launch import Output, rounded, run_kernel
from tests.reference import map_kernels as twins
from tests.reference.divide_volume import part_of

GROUP = (8, 1, 1)


@pytest.fixture(params=[6, 10, 13])
def volume(any_session: DeviceSession, request: pytest.FixtureRequest) -> NDArray[np.float64]:
    n = request.param
    return rounded(any_session, np.random.default_rng(n).standard_normal((n, n, n)))


def table(session: DeviceSession, n: int, *columns: int) -> NDArray[np.float64]:
    shape = (3 * (n // 2) ** 2 + 1, *columns)
    return rounded(session, np.random.default_rng(1).random(shape))


def close(session: DeviceSession, found: Any, expected: Any, n_terms: int = 1) -> None:
    tolerances.assert_close(found, expected, tolerances.of_sum(session.real, n_terms))


@pytest.mark.parametrize("wide", ["double", "pair"])
def test_background_sums(any_session: DeviceSession, volume: NDArray[Any], wide: str) -> None:
    if any_session.precision == "double" and wide == "pair":
        pytest.skip("pairs of floats are for single precision")
    n = len(volume)
    weights = table(any_session, n)
    shape = (2, n, n) if wide == "double" else (2, n, n, 2)
    out = Output(any_session, shape, np.float64 if wide == "double" else np.float32)
    run_kernel(
        any_session, "maximization/background_sums", (n, n), (4, 1), volume, n, weights, out,
        wide=wide,
    )  # fmt: skip
    found = out.read().astype(np.float64)
    found = found if wide == "double" else found.sum(axis=-1)
    close(any_session, found, twins.background_sums(volume, weights))


@pytest.mark.parametrize("bad", [np.inf, np.nan])
def test_background_sums_of_bad_voxels(any_session: DeviceSession, bad: float) -> None:
    """Also where the background has no share."""
    volume = np.ones((6, 6, 6))
    volume[3, 2, 3] = bad
    out = Output(any_session, (2, 6, 6), np.float64)
    run_kernel(
        any_session, "maximization/background_sums", (6, 6), (1, 1), volume, 6, np.zeros(28), out,
        wide="double",
    )  # fmt: skip
    assert np.isnan(out.read()[0, 3, 3])


def test_finish_map(any_session: DeviceSession, volume: NDArray[Any]) -> None:
    n = len(volume)
    factors = table(any_session, n, 2)
    out = Output(any_session, volume.shape, start=volume)
    run_kernel(any_session, "maximization/finish_map", (n, n, n), GROUP, out, n, factors, 0.25, 1.5)
    close(any_session, out.read(), twins.finish_map(volume, factors, 0.25, 1.5))


def test_scale_map(any_session: DeviceSession, volume: NDArray[Any]) -> None:
    n = len(volume)
    factors = table(any_session, n)
    out = Output(any_session, volume.shape, start=volume)
    run_kernel(any_session, "maximization/scale_map", (n, n, n), GROUP, out, n, factors)
    close(any_session, out.read(), twins.scale_map(volume, factors))


def test_multiply_map(any_session: DeviceSession, volume: NDArray[Any]) -> None:
    mask = rounded(any_session, np.random.default_rng(2).random(volume.shape))
    out = Output(any_session, volume.shape, start=volume)
    run_kernel(
        any_session, "maximization/multiply_map", (volume.size,), (16,), out, mask, volume.size
    )
    close(any_session, out.read(), twins.multiply_map(volume, mask))


@pytest.mark.parametrize("part", [(-4, 9, -4, 9, 0, 5), (-4, 9, -4, 9, 2, 3), (0, 12, -3, 5, 1, 4)])
def test_filter_columns(any_session: DeviceSession, part: tuple[int, ...]) -> None:
    radius = 4
    edge, nx = 2 * (radius + 1) + 1, radius + 2
    rng = np.random.default_rng(0)
    values = rng.standard_normal((2, edge, edge, nx))
    transform = rounded(any_session, values[0] + 1j * values[1])
    factors = rounded(any_session, rng.random(radius**2 + 1))
    out = Output(any_session, (part[1], part[3], part[5]), any_session.complex)
    run_kernel(
        any_session, "maximization/filter_columns", (part[5], part[3], part[1]), GROUP,
        transform, edge, nx, radius**2, factors, *part, out,
    )  # fmt: skip
    expected = part_of(twins.filter_columns(transform, radius**2, factors), *part)
    close(any_session, out.read(), expected)
