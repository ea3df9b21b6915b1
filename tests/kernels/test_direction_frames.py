"""direction_frames: rotation matrices of HEALPix directions and their children."""

from __future__ import annotations

import numpy as np
import pytest

from clrelion.device.session import DeviceSession
from clrelion.orientations.euler import euler_matrix
from tests.kernels.launch import Output, int32, run_kernel
from tests.reference.direction_frames import direction_frames


@pytest.mark.parametrize("group", [1, 16, 64])
@pytest.mark.parametrize(
    ("order", "oversampling"), [(0, 0), (0, 3), (1, 1), (2, 2), (4, 1), (8, 1), (9, 2), (12, 1)]
)
def test_frames(any_session: DeviceSession, group: int, order: int, oversampling: int) -> None:
    """All pixels of small orders; of large ones some anywhere, at the poles and on the seams."""
    n_all = 12 * 4**order
    rng = np.random.default_rng(order)
    pixels = np.arange(n_all)
    if n_all > 1000:
        corners = np.concatenate([np.arange(13) * 4**order, np.arange(13) * 4**order - 1])
        corners = corners[(corners >= 0) & (corners < n_all)]
        pixels = np.unique(np.concatenate([corners, rng.integers(0, n_all, 200)]))
    turn = euler_matrix(12.0, 47.0, -81.0)
    out = Output(any_session, (len(pixels) * 4**oversampling, 6))
    run_kernel(
        any_session, "direction_frames", (out.shape[0],), (group,),
        int32(pixels), order, oversampling, len(pixels), turn.ravel(), out,
    )  # fmt: skip
    expected = direction_frames(pixels, order, oversampling, turn)
    tolerance = 3e-7 if any_session.precision == "single" else 1e-14
    np.testing.assert_allclose(out.read(), expected, rtol=0, atol=tolerance)
