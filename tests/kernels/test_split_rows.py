"""split_rows: operands of the tensor cores as sums of two halves."""

from __future__ import annotations

import numpy as np
import pytest

from clrelion.device.session import DeviceSession
from tests.kernels.launch import Output, rounded, run_kernel
from tests.kernels.scoring_kernels import split_images
from tests.reference.split_rows import split_rows


@pytest.mark.parametrize("wg", [1, 64])
@pytest.mark.parametrize(("n_rows", "depth"), [(1, 16), (5, 96), (3, 1040)])
def test_random_rows(session: DeviceSession, wg: int, n_rows: int, depth: int) -> None:
    """The halves bit by bit; rows of zeros, powers of two and far-off scales among them."""
    rng = np.random.default_rng(depth)
    rows = rng.standard_normal((n_rows, depth)) * np.geomspace(1e-3, 1e4, depth)
    rows[0] *= 1e-20
    rows[-1] = 0.0 if n_rows > 1 else 2.0**7
    rows = rounded(session, rows)
    parts, scale = split_images(rows)
    found, found_scale = Output(session, parts.size, np.uint8), Output(session, n_rows)
    run_kernel(session, "split_rows", (n_rows * wg,), (wg,), rows, depth, found, found_scale, wg=wg)
    np.testing.assert_array_equal(found.read(), parts.ravel())
    np.testing.assert_array_equal(found_scale.read(), scale)


def test_twin() -> None:
    """Twenty-two bits of what is not far below the largest."""
    rng = np.random.default_rng(1)
    rows = rng.standard_normal((4, 512)) * 10.0 ** rng.uniform(-4, 4, (4, 512))
    high, low, scale = split_rows(rows)
    largest = np.abs(high.astype(np.float64)).max(axis=1)
    assert np.all((largest >= 2**12) & (largest <= 2**13))
    back = scale[:, None] * (high.astype(np.float64) + low)
    error = np.abs(back - rows)
    assert np.all(error <= 2.0**-22 * np.abs(rows) + 2.0**-25 * scale[:, None])
    assert np.max(error / np.abs(rows)) > 1e-8  # and no better: these are halves
