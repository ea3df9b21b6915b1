"""soft_mask: blend images into their background."""

from __future__ import annotations

import numpy as np
import pytest

from clrelion.device.session import DeviceSession
from tests import tolerances
from tests.kernels.launch import Output, rounded, run_kernel
from tests.kernels.mask_inputs import outside_mask
from tests.reference.soft_mask import soft_mask


@pytest.mark.parametrize("group", [(1, 1), (16, 2), (64, 1)])
@pytest.mark.parametrize("noise_fill", [False, True])
@pytest.mark.parametrize(("n", "box"), [(1, 30), (3, 44), (7, 6)])
def test_random_images(
    any_session: DeviceSession, group: tuple[int, int], noise_fill: bool, n: int, box: int
) -> None:
    rng = np.random.default_rng(box)
    images = rounded(any_session, rng.standard_normal((n, box, box)))
    outside = rounded(any_session, outside_mask(box, box / 4, 5))
    fill = rounded(any_session, rng.standard_normal((n, box, box) if noise_fill else n))
    out = Output(any_session, images.shape)
    run_kernel(
        any_session, "soft_mask", (box * box, n), group,
        images, outside, fill, n, box * box, out, noise_fill=noise_fill,
    )  # fmt: skip
    result = out.read()
    tolerance = tolerances.of_product(any_session.real)
    tolerances.assert_close(result, soft_mask(images, outside, fill), tolerance)
    np.testing.assert_array_equal(result[:, outside == 0], images[:, outside == 0])
    beyond = np.broadcast_to(fill.reshape(n, *(fill.shape[1:] or (1, 1))), images.shape)
    np.testing.assert_array_equal(result[:, outside == 1], beyond[:, outside == 1])
