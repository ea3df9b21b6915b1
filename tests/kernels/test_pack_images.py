"""pack_images: what images bring to the sums, in blocks of sixteen pixels."""

from __future__ import annotations

import numpy as np
import pytest

from clrelion.device.session import DeviceSession
from tests import tolerances
from tests.kernels.launch import Output, rounded, run_kernel
from tests.reference.pack_images import pack_images


@pytest.mark.parametrize("group", [(1, 1), (4, 4)])
@pytest.mark.parametrize(("n_images", "n_list"), [(1, 16), (3, 101), (7, 5), (2, 47)])
def test_random_images(
    any_session: DeviceSession, group: tuple[int, int], n_images: int, n_list: int
) -> None:
    """Pixels without weight bring no data, be they what they may."""
    rng = np.random.default_rng(n_list)
    shape = n_images, n_list
    image_ft, unmasked_ft = (
        rounded(any_session, rng.standard_normal((*shape, 2)) @ [1, 1j]) for _ in range(2)
    )
    compared, data, weight = (rounded(any_session, rng.uniform(-1, 3, shape)) for _ in range(3))
    weight[:, -1] = 0
    expected = pack_images(image_ft, unmasked_ft, compared, data, weight)
    unmasked_ft[weight <= 0] = np.nan
    packed = Output(any_session, expected.shape)
    run_kernel(
        any_session, "pack_images", (expected.shape[1], n_images), group,
        image_ft, unmasked_ft, compared, data, weight, n_list, expected.shape[1], n_images, packed,
    )  # fmt: skip
    tolerances.assert_close(packed.read(), expected, tolerances.of_product(any_session.real))
