"""direction_sums: posterior weight of each class and direction, exact whatever the order."""

from __future__ import annotations

import numpy as np
import pytest

from clrelion.device.session import DeviceSession
from tests import tolerances
from tests.kernels.launch import Output, int32, rounded, run_kernel
from tests.reference.direction_sums import UNIT, add_weight, direction_sums


def words(
    session: DeviceSession, direction: list[int], row_sum: np.ndarray, n: int, coarser: int = 0
) -> Output:
    n_blocks, rows = row_sum.shape
    sums = Output(session, (n, 2), np.uint32, start=np.zeros((n, 2)))
    run_kernel(
        session, "direction_sums", (n_blocks,), (16,),
        int32(direction), row_sum.ravel(), rows, n_blocks, coarser, sums,
    )  # fmt: skip
    return sums


@pytest.mark.parametrize("rows_per_block", [1, 8])
def test_random_weights(any_session: DeviceSession, rows_per_block: int) -> None:
    rng = np.random.default_rng(5)
    n, n_blocks = 11, 500
    direction = rng.integers(0, n - 1, n_blocks)
    weight = rng.random((n_blocks, rows_per_block)) * 10 ** rng.uniform(-6, 0, (n_blocks, 1))
    row_sum = rounded(any_session, weight / rows_per_block)
    found = words(any_session, direction.tolist(), row_sum, n).read().astype(np.float64)
    expected = direction_sums(direction, row_sum, n)
    tolerance = tolerances.of_sum(any_session.real, rows_per_block)
    tolerances.assert_close(UNIT * (found[:, 0] + 2.0**32 * found[:, 1]), expected, tolerance)


@pytest.mark.parametrize("coarser", [0, 7])
def test_carry_and_weights_of_one(any_session: DeviceSession, coarser: int) -> None:
    """Many carries from the low word; a weight of 1 and one of a few units."""
    weights = np.full((3000, 1), 1.0 - 2.0**-20)
    weights[7], weights[8], weights[9] = 1.0, 3 * UNIT, 0.0
    weights[10:500] = 0.3 + 2.0**-24
    weights = rounded(any_session, weights)
    found = words(any_session, [1] * len(weights), weights, 3, coarser).read()
    expected = add_weight(np.zeros(2, np.uint32), weights[:, 0], coarser)
    np.testing.assert_array_equal(found[1], expected)
    assert not found[[0, 2]].any()
