"""count_images: number of images of each orientation."""

from __future__ import annotations

import numpy as np
import pytest

from clrelion.device.session import DeviceSession
from tests.kernels.launch import Output, run_kernel
from tests.kernels.row_inputs import packed_bits
from tests.reference.count_images import count_images


@pytest.mark.parametrize("group", [1, 16])
@pytest.mark.parametrize(("n_orientations", "n_images", "part"), [
    (37, 1, 0.5), (5, 32, 1.0), (61, 33, 0.03), (13, 200, 0.3), (4, 64, 0.0),
])  # fmt: skip
def test_random_marks(
    any_session: DeviceSession, group: int, n_orientations: int, n_images: int, part: float
) -> None:
    marks = np.random.default_rng(2).random((n_orientations, n_images)) < part
    words = packed_bits(marks)
    counts, flags = (Output(any_session, n_orientations, np.int32) for _ in range(2))
    run_kernel(
        any_session, "count_images", (n_orientations,), (group,),
        words, n_orientations, words.shape[1], counts, flags,
    )  # fmt: skip
    expected = count_images(marks)
    np.testing.assert_array_equal(counts.read(), expected)
    np.testing.assert_array_equal(flags.read(), expected > 0)
