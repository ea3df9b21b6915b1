"""backprojection_weights: factors of the images in the sums and in the comparison."""

from __future__ import annotations

import numpy as np
import pytest

from clrelion.device.session import DeviceSession
from tests import tolerances
from tests.kernels.launch import Output, rounded, run_kernel
from tests.reference.backprojection_weights import backprojection_weights


@pytest.mark.parametrize("group", [(1, 1), (16, 2), (64, 1)])
@pytest.mark.parametrize("premultiplied", [False, True])
@pytest.mark.parametrize(("n", "n_list"), [(1, 30), (3, 441), (7, 1)])
def test_random_images(
    any_session: DeviceSession, group: tuple[int, int], premultiplied: bool, n: int, n_list: int
) -> None:
    rng = np.random.default_rng(n_list)
    ctf = rounded(any_session, rng.uniform(-1, 1, (n, n_list)))
    scoring_ctf = rounded(any_session, rng.uniform(-1, 1, (n, n_list)))
    scale = rounded(any_session, rng.uniform(0.5, 2, n))
    inverse_sigma2 = rounded(any_session, rng.uniform(0, 5, n_list))
    inverse_sigma2[0] = 0.0
    outputs = [Output(any_session, (n, n_list)) for _ in range(3)]
    run_kernel(
        any_session, "backprojection_weights", (n_list, n), group,
        ctf, scoring_ctf, scale, inverse_sigma2, n, n_list, *outputs, premultiplied=premultiplied,
    )  # fmt: skip
    expected = backprojection_weights(ctf, scoring_ctf, scale, inverse_sigma2, premultiplied)
    tolerance = tolerances.of_product(any_session.real)
    for output, wanted in zip(outputs, expected, strict=True):
        tolerances.assert_close(output.read(), wanted, tolerance)
