"""background_mean: mean of each image outside the particle mask."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from clrelion.device.session import DeviceSession
from tests import tolerances
from tests.kernels.launch import Output, rounded, run_kernel
from tests.kernels.mask_inputs import outside_mask
from tests.reference.background_mean import background_mean


def means(
    session: DeviceSession, images: npt.NDArray[Any], outside: npt.NDArray[Any], wg: int
) -> npt.NDArray[Any]:
    n, n_pixels = len(images), outside.size
    out = Output(session, n)
    run_kernel(session, "background_mean", (n * wg,), (wg,), images, outside, n_pixels, out, wg=wg)
    return out.read()


@pytest.mark.parametrize("wg", [1, 16, 64])
@pytest.mark.parametrize(("n", "box"), [(1, 30), (3, 44), (7, 6)])
def test_random_images(any_session: DeviceSession, wg: int, n: int, box: int) -> None:
    rng = np.random.default_rng(box)
    images = rounded(any_session, 0.3 + rng.standard_normal((n, box, box)))
    outside = rounded(any_session, outside_mask(box, box / 4, 5))
    tolerance = tolerances.of_sum(any_session.real, box * box)
    tolerances.assert_close(
        means(any_session, images, outside, wg), background_mean(images, outside), tolerance
    )


@pytest.mark.parametrize("wg", [1, 16, 64])
def test_limits(any_session: DeviceSession, wg: int) -> None:
    """A mask around the whole box leaves nothing to average; constant images have their value."""
    images = np.full((2, 10, 10), 7.0)
    assert means(any_session, images, np.zeros((10, 10)), wg).tolist() == [0.0, 0.0]
    assert means(any_session, images, np.ones((10, 10)), wg).tolist() == [7.0, 7.0]
    one = np.zeros((10, 10))
    one[9, 9] = 0.25
    images[1, 9, 9] = -3.0
    assert means(any_session, images, one, wg).tolist() == [7.0, -3.0]


@pytest.mark.parametrize("wg", [16, 64])
def test_work_groups_do_not_share_local_memory(any_session: DeviceSession, wg: int) -> None:
    images = np.random.default_rng(1).standard_normal((200, 30, 30))
    outside = outside_mask(30, 8, 5)
    first, *others = (means(any_session, images, outside, wg) for _ in range(20))
    for other in others:
        np.testing.assert_array_equal(other, first)
