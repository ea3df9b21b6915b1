"""scoring_operands: shifted images and CTF power for the squared differences."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from clrelion.device.session import DeviceSession
from tests import tolerances
from tests.kernels.launch import rounded
from tests.kernels.scoring_kernels import operands
from tests.kernels.slice_inputs import pixel_list
from tests.reference.scoring_operands import scoring_operands


@pytest.mark.parametrize(
    ("size", "n_images", "n_trans", "power_factor", "group"),
    [
        (30, 3, 5, 0.5, (1, 1, 1)),
        (44, 1, 1, 1.0, (64, 1, 1)),
        (14, 7, 3, 0.5, (16, 2, 2)),
    ],
)
def test_random_images(
    any_session: DeviceSession,
    size: int,
    n_images: int,
    n_trans: int,
    power_factor: float,
    group: tuple[int, int, int],
) -> None:
    rng = np.random.default_rng(size)
    pixels = pixel_list(size)
    box = size + 10
    shape = (n_images, pixels.n)
    image_ft = rounded(any_session, rng.standard_normal((*shape, 2)) @ [1, 1j])
    ctf = rounded(any_session, rng.uniform(-1, 1, shape))
    scale = rounded(any_session, rng.uniform(0.5, 2, n_images))
    subset = rng.permutation(pixels.n)[: pixels.n - 7]
    weight = rounded(any_session, rng.uniform(0, 50, len(subset)) * (rng.random(len(subset)) > 0.1))
    shifts = rng.uniform(-7, 7, (n_trans, 2))
    n_padded = pixels.n + 9
    linear, power = operands(
        any_session, image_ft, ctf, scale, weight, subset, pixels, shifts, box,
        power_factor, n_padded, group,
    )  # fmt: skip
    expected_linear, expected_power = scoring_operands(
        image_ft[:, subset], ctf[:, subset], scale, weight,
        pixels.phases(shifts, box)[:, subset], power_factor,
    )  # fmt: skip
    n = len(subset)
    tolerance = tolerances.of_product(any_session.real)
    tolerances.assert_close(linear[..., :n], expected_linear, tolerance)
    tolerances.assert_close(power[..., :n], expected_power, tolerance)
    assert np.all(linear[..., n:] == 0)
    assert np.all(power[..., n:] == 0)


def test_shift_moves_the_content(any_session: DeviceSession) -> None:
    """A translation by whole pixels, undone in real space: only the shifted image correlates."""
    rng = np.random.default_rng(3)
    box = 16
    image = rng.standard_normal((box, box))
    # no Nyquist frequency: its phase has no defined sign
    low = np.abs(np.fft.fftfreq(box, 1 / box)) < box / 2
    spectrum = np.fft.fft2(image) * low[:, None] * low[None]
    image = np.fft.ifft2(spectrum).real
    moved = np.roll(image, (-3, 2), axis=(0, 1))
    pixels = pixel_list(box - 2)

    def transform(values: npt.NDArray[Any]) -> npt.NDArray[np.complex128]:
        return np.fft.fft2(values)[pixels.ky, pixels.kx] / box**2

    ones = np.ones((1, pixels.n))
    linear, _ = operands(
        any_session, transform(image)[None], ones, np.ones(1), ones[0], np.arange(pixels.n),
        pixels, np.array([[2.0, -3.0]]), box, 0.5, pixels.n,
    )  # fmt: skip
    tolerances.assert_close(
        linear[0, 0], -transform(moved), tolerances.of_product(any_session.real)
    )


def test_images_of_zeros_and_weights_of_zero(any_session: DeviceSession) -> None:
    pixels = pixel_list(10)
    zeros, ones = np.zeros((2, pixels.n)), np.ones((2, pixels.n))
    subset = np.arange(pixels.n)
    shifts = np.zeros((1, 2))
    for image, weight in ((zeros, ones[0]), (ones, zeros[0])):
        linear, power = operands(
            any_session, image.astype(complex), ones, np.ones(2), weight, subset, pixels, shifts,
            10, 0.5, pixels.n,
        )  # fmt: skip
        assert np.all(linear == 0)
        assert np.all(power == 0.5 * weight)
