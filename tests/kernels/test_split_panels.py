"""split_panels: packed projections as sums of two halves."""

from __future__ import annotations

import numpy as np
import pytest

from clrelion.device.session import DeviceSession
from tests.kernels.launch import Output, rounded, run_kernel
from tests.kernels.scoring_kernels import split_slices
from tests.reference.split_panels import split_panels


@pytest.mark.parametrize(("n_panels", "depth"), [(1, 16), (3, 80)])
def test_random_panels(session: DeviceSession, n_panels: int, depth: int) -> None:
    """The halves bit by bit, with empty orientations as in the padding of the last panel."""
    rng = np.random.default_rng(depth)
    panels = rng.standard_normal((n_panels, depth, 128)) * np.geomspace(1e5, 1, depth)[:, None]
    panels *= 10.0 ** rng.uniform(-3, 3, (n_panels, 1, 128))
    panels[-1, :, 100:] = 0.0
    panels = rounded(session, panels)
    parts, scale = split_slices(panels)
    found, found_scale = Output(session, parts.size, np.uint8), Output(session, n_panels * 128)
    run_kernel(
        session, "split_panels", (n_panels * 512,), (512,), panels, depth, found, found_scale
    )
    np.testing.assert_array_equal(found.read(), parts.ravel())
    np.testing.assert_array_equal(found_scale.read(), scale)


def test_twin() -> None:
    rng = np.random.default_rng(1)
    panels = rng.standard_normal((2, 32, 8))
    high, low, scale = split_panels(panels)
    back = (high.astype(np.float64) + low) * scale.reshape(2, 1, 8)
    np.testing.assert_allclose(back, panels, rtol=1e-6, atol=1e-7)
