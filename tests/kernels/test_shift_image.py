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


def places(n: int, offset: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Images of a buffer, with others between them, and where they go, both in some order."""
    rng = np.random.default_rng(n)
    return np.column_stack([2 * rng.permutation(n) + 1, rng.permutation(n), offset])


def shifted(
    session: DeviceSession,
    images: npt.NDArray[Any],
    place: npt.NDArray[Any],
    factor: npt.NDArray[Any],
    group: tuple[int, int] = (1, 1),
) -> npt.NDArray[Any]:
    """Run the kernel twice: the last third of the images come from another buffer."""
    n, (_, box, _) = len(place), images.shape
    out = Output(session, (n, box, box))
    n_first = n - n // 3
    for first, last in ((0, n_first), (n_first, n)):
        if first == last:
            continue
        # float32 whatever the precision; what no launch asks for must not be used
        held = np.full(images.shape, np.nan, dtype=np.float32)
        held[place[first:last, 0]] = images[place[first:last, 0]]
        run_kernel(
            session, "shift_image", (box * box, last - first), group,
            session.to_device(held), int32(place), factor, first, last - first, box, out,
        )  # fmt: skip
    return out.read()


@pytest.mark.parametrize("group", [(1, 1), (16, 2), (64, 1)])
@pytest.mark.parametrize(("n", "box"), [(1, 30), (3, 44), (7, 6)])
def test_random_images(
    any_session: DeviceSession, group: tuple[int, int], n: int, box: int
) -> None:
    rng = np.random.default_rng(box)
    images = rng.standard_normal((2 * n + 1, box, box)).astype(np.float32).astype(np.float64)
    factor = rounded(any_session, rng.uniform(0.5, 2, n))
    place = places(n, rng.integers(-box // 3, box // 3 + 1, (n, 2)))
    result = shifted(any_session, images, place, factor, group)
    tolerance = tolerances.of_product(any_session.real)
    tolerances.assert_close(result, shift_image(images, place, factor), tolerance)


def test_limits(any_session: DeviceSession) -> None:
    """No shift; one pixel in each direction; the last pixel that stays; everything gone."""
    box = 8
    images = np.arange(1.0, 1 + 6 * box * box).reshape(6, box, box)
    offset = np.array([[0, 0], [1, 0], [0, -1], [7, 7], [8, 0], [0, -100]])
    place = np.column_stack([np.arange(6), np.arange(6), offset])
    result = shifted(any_session, images, place, np.ones(6))
    np.testing.assert_array_equal(result[0], images[0])
    np.testing.assert_array_equal(result[1, :, 1:], images[1, :, :-1])
    assert np.all(result[1, :, 0] == 0)
    np.testing.assert_array_equal(result[2, :-1], images[2, 1:])
    assert np.all(result[2, -1] == 0)
    assert result[3, 7, 7] == images[3, 0, 0]
    assert np.count_nonzero(result[3]) == 1
    assert np.all(result[4:] == 0)
