"""scale_transforms: one real factor a Fourier pixel."""

from __future__ import annotations

import numpy as np
import pytest

from clrelion.device.session import DeviceSession
from tests import tolerances
from tests.kernels.launch import Output, rounded, run_kernel
from tests.reference.scale_transforms import scale_transforms


@pytest.mark.parametrize("group", [(1, 1), (16, 2), (64, 1)])
@pytest.mark.parametrize(("n", "n_pixels"), [(1, 30), (3, 44), (7, 6)])
def test_random_transforms(
    any_session: DeviceSession, group: tuple[int, int], n: int, n_pixels: int
) -> None:
    rng = np.random.default_rng(n_pixels)
    parts = rng.standard_normal((2, n, n_pixels))
    transforms = rounded(any_session, parts[0] + 1j * parts[1])
    factor = rounded(any_session, rng.uniform(0.1, 3.0, n_pixels))
    out = Output(any_session, transforms.shape, any_session.complex, start=transforms)
    run_kernel(
        any_session, "scale_transforms", (n_pixels, n), group, out, factor, n_pixels, n
    )
    tolerance = tolerances.of_product(any_session.real)
    tolerances.assert_close(out.read(), scale_transforms(transforms, factor), tolerance)
