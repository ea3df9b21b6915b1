"""insertion_maxima: bounds of what images add to the volumes."""

from __future__ import annotations

import numpy as np
import pytest

from clrelion.device.session import DeviceSession
from tests import tolerances
from tests.kernels.launch import Output, rounded, run_kernel
from tests.reference.insertion_maxima import insertion_maxima


@pytest.mark.parametrize("wg", [1, 16, 64])
@pytest.mark.parametrize(("n", "n_list"), [(1, 37), (5, 211), (3, 64), (2, 1)])
def test_random_images(any_session: DeviceSession, wg: int, n: int, n_list: int) -> None:
    rng = np.random.default_rng(n_list)
    values = rounded(any_session, rng.standard_normal((n, n_list, 2)) @ [1, 1j])
    data = rounded(any_session, rng.uniform(-2, 2, (n, n_list)))
    weight = rounded(any_session, rng.uniform(0, 3, (n, n_list)) * (rng.random((n, n_list)) < 0.7))
    weight[0] = 0.0  # nothing of this image is back-projected
    out = Output(any_session, (n, 2))
    run_kernel(
        any_session, "insertion_maxima", (n * wg,), (wg,), values, data, weight, n_list, out, wg=wg
    )
    expected = insertion_maxima(values, data, weight)
    tolerances.assert_close(out.read(), expected, tolerances.of_product(any_session.real))
    assert out.read()[0].tolist() == [0.0, 0.0]


def test_pixels_without_weight_do_not_count(any_session: DeviceSession) -> None:
    values, data = np.full((1, 9), 100.0 + 0j), np.ones((1, 9))
    weight = np.zeros((1, 9))
    values[0, 4], weight[0, 4] = -3 + 4j, 0.5
    out = Output(any_session, (1, 2))
    run_kernel(any_session, "insertion_maxima", (1,), (1,), values, data, weight, 9, out, wg=1)
    tolerances.assert_close(out.read(), [[5.0, 0.5]], tolerances.of_product(any_session.real))
