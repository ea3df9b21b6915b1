"""scale_transforms: multiply the transforms of all images by one factor a pixel."""

from __future__ import annotations

import numpy as np
import pytest

from clrelion.device.session import DeviceSession
from tests import tolerances
from tests.kernels.launch import Output, rounded, run_kernel
from tests.reference.scale_transforms import scale_transforms


@pytest.mark.parametrize("group", [(1, 1), (16, 2), (64, 1)])
@pytest.mark.parametrize(("n", "box"), [(1, 30), (3, 44), (7, 6)])
def test_random_transforms(
    any_session: DeviceSession, group: tuple[int, int], n: int, box: int
) -> None:
    rng = np.random.default_rng(box)
    shape = box, box // 2 + 1
    transforms = rounded(any_session, rng.standard_normal((n, *shape, 2)) @ [1, 1j])
    factor = rounded(any_session, rng.uniform(0, 2, shape))
    factor[0, 0] = 0.0
    out = Output(any_session, transforms.shape, any_session.complex, start=transforms)
    run_kernel(
        any_session, "scale_transforms", (factor.size, n), group,
        out, factor, factor.size, n,
    )  # fmt: skip
    expected = scale_transforms(transforms, factor)
    tolerances.assert_close(out.read(), expected, tolerances.of_product(any_session.real))
