"""window_image: listed pixels of image half-transforms, moved to the box centre."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from clrelion.device.session import DeviceSession
from tests import tolerances
from tests.kernels.launch import Output, rounded, run_kernel
from tests.kernels.slice_inputs import pixel_list
from tests.reference.window_image import window_image


def windowed(
    session: DeviceSession,
    images: npt.NDArray[Any],
    kxy: npt.NDArray[Any],
    factor: npt.NDArray[Any],
    group: tuple[int, int] = (1, 1),
    shift: npt.NDArray[Any] | None = None,
) -> npt.NDArray[Any]:
    n, box, _ = images.shape
    out = Output(session, (n, len(kxy)), session.complex)
    run_kernel(
        session, "window_image", (len(kxy), n), group,
        np.fft.rfft2(images) / box**2, kxy.astype(np.int32), factor,
        *([] if shift is None else [shift]), n, box, len(kxy), out, shifted=shift is not None,
    )  # fmt: skip
    return out.read()


@pytest.mark.parametrize("group", [(1, 1), (16, 2), (64, 1)])
@pytest.mark.parametrize(("n", "box", "size"), [(1, 30, 30), (3, 44, 30), (7, 6, 4)])
def test_random_images(
    any_session: DeviceSession, group: tuple[int, int], n: int, box: int, size: int
) -> None:
    """The whole box with its Nyquist frequencies, and smaller windows, in any order."""
    rng = np.random.default_rng(box)
    images = rng.standard_normal((n, box, box))
    kxy = rng.permutation(pixel_list(size).kxy)
    angle = rng.uniform(-np.pi, np.pi, len(kxy))
    factor = rounded(any_session, rng.uniform(0.5, 2, len(kxy)) * np.exp(1j * angle))
    tolerance = tolerances.of_product(any_session.real)
    result = windowed(any_session, images, kxy, factor, group)
    tolerances.assert_close(result, window_image(images, kxy, factor), tolerance)
    shift = rounded(any_session, rng.uniform(-0.5, 0.5, (n, 2)) / box)
    result = windowed(any_session, images, kxy, factor, group, shift)
    tolerances.assert_close(result, window_image(images, kxy, factor, shift), tolerance)


def test_point_at_the_centre_has_no_phase(any_session: DeviceSession) -> None:
    images = np.zeros((1, 16, 16))
    images[0, 8, 8] = 256.0
    kxy = pixel_list(16).kxy
    result = windowed(any_session, images, kxy, np.ones(len(kxy), dtype=complex))
    np.testing.assert_array_equal(result, np.ones_like(result))
