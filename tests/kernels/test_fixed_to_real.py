"""fixed_to_real: whole numbers become reals, and are cleared."""

from __future__ import annotations

import numpy as np
import pytest

from clrelion.device.session import DeviceSession
from tests import tolerances
from tests.kernels.launch import Output, rounded, run_kernel
from tests.reference.fixed_to_real import fixed_to_real


@pytest.mark.parametrize("n", [1, 63, 1001])
def test_random_sums(any_session: DeviceSession, n: int) -> None:
    rng = np.random.default_rng(n)
    sums = rng.integers(-(2**62), 2**62, (n, 3)) >> rng.integers(0, 62, (n, 3))
    there = rounded(any_session, rng.standard_normal((n, 4)))
    there[:, 3] = 0
    values = Output(any_session, (n, 3), np.int64, start=None)
    any_session.copy_to_device(sums.ravel(), values.array)
    target = Output(any_session, (n, 4), start=there)
    run_kernel(
        any_session, "fixed_to_real", (n,), (32,), values, n, 2.0**-61, 2.0**-40, target
    )
    expected = fixed_to_real(sums, 2.0**-61, 2.0**-40, there)
    tolerances.assert_close(target.read(), expected, tolerances.of_product(any_session.real))
    assert not values.read().any()
