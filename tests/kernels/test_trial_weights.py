"""trial_weights: what the pixels of trial particles count."""

from __future__ import annotations

import numpy as np
import pytest

from clrelion.device.session import DeviceSession
from tests import tolerances
from tests.kernels.launch import Output, int32, rounded, run_kernel
from tests.reference.slice_differences import trial_weights


@pytest.mark.parametrize(
    ("n", "n_list", "n_pixels", "n_padded", "group"),
    [(1, 1, 1, 16, (1, 1)), (7, 353, 211, 224, (64, 1)), (3, 90, 90, 91, (16, 2))],
)
def test_random_images(
    any_session: DeviceSession,
    n: int,
    n_list: int,
    n_pixels: int,
    n_padded: int,
    group: tuple[int, int],
) -> None:
    rng = np.random.default_rng(n_list)
    ctf = rounded(any_session, rng.uniform(-1, 1, (n, n_list)))
    subset = rng.permutation(n_list)[:n_pixels]
    factor = rounded(any_session, rng.uniform(0, 50, n_pixels))
    out = Output(any_session, (n, n_padded))
    run_kernel(
        any_session, "trial_weights", (n_padded, n), group,
        ctf, int32(subset), factor, n, n_list, n_pixels, n_padded, out,
    )  # fmt: skip
    expected = trial_weights(ctf, subset, factor, n_padded)
    tolerances.assert_close(out.read(), expected, tolerances.of_product(any_session.real))
    # the order of the factors is that of NumPy, to the bit
    real = any_session.real
    squared = ctf.astype(real)[:, subset] ** 2
    np.testing.assert_array_equal(out.read()[:, :n_pixels], squared * factor.astype(real))
