"""shift_image: normalise images and shift them by whole pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from clrelion.device.session import DeviceSession
from tests import tolerances
from tests.kernels.launch import Output, int32, rounded, run_kernel
from tests.reference.shift_image import shift_image


def shifted(
    session: DeviceSession,
    images: npt.NDArray[Any],
    factor: npt.NDArray[Any],
    offset: npt.NDArray[Any],
    group: tuple[int, int] = (1, 1),
) -> npt.NDArray[Any]:
    n, box, _ = images.shape
    out = Output(session, images.shape)
    # and go to another order
    target = np.random.default_rng(box).permutation(n)
    # the images lie in another order, with others between them; float32 whatever the precision
    source = 2 * np.random.default_rng(n).permutation(n) + 1
    held = np.full((2 * n + 1, box, box), np.nan, dtype=np.float32)
    held[source] = images[target]
    images_d = session.to_device(held)
    run_kernel(
        session, "shift_image", (box * box, n), group,
        images_d, int32(source), int32(target), factor, int32(offset), n, box, out,
    )  # fmt: skip
    return out.read()


@pytest.mark.parametrize("group", [(1, 1), (16, 2), (64, 1)])
@pytest.mark.parametrize(("n", "box"), [(1, 30), (3, 44), (7, 6)])
def test_random_images(
    any_session: DeviceSession, group: tuple[int, int], n: int, box: int
) -> None:
    rng = np.random.default_rng(box)
    images = rng.standard_normal((n, box, box)).astype(np.float32).astype(np.float64)
    factor = rounded(any_session, rng.uniform(0.5, 2, n))
    offset = rng.integers(-box // 3, box // 3 + 1, (n, 2))
    result = shifted(any_session, images, factor, offset, group)
    tolerance = tolerances.of_product(any_session.real)
    tolerances.assert_close(result, shift_image(images, factor, offset), tolerance)


def test_limits(any_session: DeviceSession) -> None:
    """No shift; one pixel in each direction; the last pixel that stays; everything gone."""
    box = 8
    images = np.arange(1.0, 1 + 6 * box * box).reshape(6, box, box)
    offset = np.array([[0, 0], [1, 0], [0, -1], [7, 7], [8, 0], [0, -100]])
    result = shifted(any_session, images, np.ones(6), offset)
    np.testing.assert_array_equal(result[0], images[0])
    np.testing.assert_array_equal(result[1, :, 1:], images[1, :, :-1])
    assert np.all(result[1, :, 0] == 0)
    np.testing.assert_array_equal(result[2, :-1], images[2, 1:])
    assert np.all(result[2, -1] == 0)
    assert result[3, 7, 7] == images[3, 0, 0]
    assert np.count_nonzero(result[3]) == 1
    assert np.all(result[4:] == 0)
