from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.fft

from clrelion.fourier import transforms as tf
from clrelion.fourier.padded import padded_forward, padded_inverse
from clrelion.fourier.shells import half_transform_frequencies, half_transform_shells
from tests.reference.phantoms import blob_map
from tests.reference.relion_programs import read_mrc, run_relion, write_mrc


def test_forward_divides_and_inverse_does_not() -> None:
    rng = np.random.default_rng(0)
    image = rng.normal(size=(3, 10, 10))
    transform = tf.forward_2d(image)
    np.testing.assert_allclose(transform[:, 0, 0], image.mean(axis=(1, 2)))
    np.testing.assert_allclose(tf.inverse_2d(transform), image, atol=1e-12)
    volume = rng.normal(size=(8, 8, 8))
    np.testing.assert_allclose(tf.forward_3d(volume)[0, 0, 0], volume.mean())
    np.testing.assert_allclose(tf.inverse_3d(tf.forward_3d(volume)), volume, atol=1e-12)


def test_white_noise_has_variance_one_over_n_squared() -> None:
    # specification E Appendix D: sigma2 = 1/(2 n^2) a component
    n = 100
    transform = tf.forward_2d(np.random.default_rng(0).normal(size=(20, n, n)))
    power = 0.5 * np.mean(np.abs(transform[:, :, 1:-1]) ** 2)
    assert power == pytest.approx(5e-5, rel=0.01)


def test_single_precision_stays_single() -> None:
    image = np.ones((4, 4), dtype=np.float32)
    assert tf.forward_2d(image).dtype == np.complex64
    assert tf.inverse_2d(tf.forward_2d(image)).dtype == np.float32


@pytest.mark.parametrize("ndim", [2, 3])
def test_centring_signs_equal_a_roll_by_half_the_box(ndim: int) -> None:
    data = np.random.default_rng(1).normal(size=(8,) * ndim)
    forward = tf.forward_2d if ndim == 2 else tf.forward_3d
    rolled = forward(np.fft.ifftshift(data))
    centred = tf.centre_half_transform(forward(data), ndim)
    np.testing.assert_allclose(centred, rolled, atol=1e-14)
    again = tf.centre_half_transform(centred.copy(), ndim)
    np.testing.assert_allclose(again, forward(data), atol=1e-14)


def test_shrinking_keeps_the_corners() -> None:
    n, small = 16, 10
    rng = np.random.default_rng(2)
    transform = tf.forward_2d(rng.normal(size=(2, n, n)))
    result = tf.resize_half_transform(transform, small)
    kx, ky = half_transform_frequencies(small)
    np.testing.assert_array_equal(result, transform[:, ky % n, kx])
    assert np.all(result[:, half_transform_shells(small) > small // 2] != 0)


@pytest.mark.parametrize("ndim", [2, 3])
def test_enlarging_keeps_the_sphere_only(ndim: int) -> None:
    n, large = 8, 12
    rng = np.random.default_rng(3)
    forward = tf.forward_2d if ndim == 2 else tf.forward_3d
    transform = forward(rng.normal(size=(n,) * ndim))
    result = tf.resize_half_transform(transform, large, ndim)
    for index in np.ndindex(*result.shape):
        k = [i if i <= large // 2 else i - large for i in index]
        if sum(v * v for v in k) <= (n // 2) ** 2 and min(k) > -n // 2:
            assert result[index] == transform[tuple(v % n for v in k)]
        else:
            assert result[index] == 0


def test_equal_size_is_a_plain_copy() -> None:
    transform = tf.forward_2d(np.random.default_rng(4).normal(size=(8, 8)))
    result = tf.resize_half_transform(transform, 8)
    np.testing.assert_array_equal(result, transform)
    assert result is not transform


def test_shift_moves_content_to_larger_coordinates() -> None:
    n = 12
    image = np.random.default_rng(5).normal(size=(2, n, n))
    offsets = np.array([[3.0, -2.0], [0.0, 1.0]])
    shifted = tf.inverse_2d(tf.apply_shift(tf.forward_2d(image), offsets, n))
    for one, (x, y), result in zip(image, offsets, shifted, strict=True):
        np.testing.assert_allclose(result, np.roll(one, (int(y), int(x)), (0, 1)), atol=1e-12)


def test_shifts_refer_to_the_full_box_and_tiny_ones_are_skipped() -> None:
    phases = tf.shift_phases([1.5, 0.5], 32, 8)
    assert phases.shape == (8, 5)
    assert phases[1, 2] == pytest.approx(np.exp(-2j * np.pi * (2 * 1.5 + 0.5) / 32))
    assert np.all(tf.shift_phases([9e-6, 0.0], 10) == 1.0)
    assert np.any(tf.shift_phases([1.1e-5, 0.0], 10) != 1.0)


def test_window_crops_and_pads_about_the_origin() -> None:
    volume = np.zeros((8, 8, 8))
    volume[4, 4, 4], volume[3, 5, 4] = 1.0, 2.0
    for size in (4, 8, 14):
        result = tf.window_map(volume, size)
        c = size // 2
        assert result.shape == (size,) * 3
        assert result[c, c, c] == 1.0
        assert result[c - 1, c + 1, c] == 2.0
        assert result.sum() == 3.0


@pytest.mark.parametrize("new_pixel", [4.0, 2.0])
def test_rescaled_map_equals_relion_image_handler(tmp_path: Path, new_pixel: float) -> None:
    volume = blob_map(32) + np.random.default_rng(6).normal(size=(32, 32, 32))
    volume = write_mrc(tmp_path / "x.mrc", volume, 3.0)
    run_relion(
        "relion_image_handler",
        f"--i x.mrc --o y.mrc --angpix 3 --rescale_angpix {new_pixel}",
        tmp_path,
    )
    expected = read_mrc(tmp_path / "y.mrc")
    result = tf.rescale_map(volume, expected.shape[0])
    np.testing.assert_allclose(result, expected, atol=1e-6)
    image = tf.rescale_image(volume[:2], 24)
    assert image.shape == (2, 24, 24)
    np.testing.assert_allclose(image.mean(axis=(1, 2)), volume[:2].mean(axis=(1, 2)))


@pytest.fixture
def own_default() -> Iterator[None]:
    """Leaves the default number of threads as it was."""
    yield
    tf.set_workers(None)


@pytest.mark.usefixtures("own_default")
def test_threads_given_once_reach_every_transform(monkeypatch: pytest.MonkeyPatch) -> None:
    used: list[int] = []
    for name in ("rfft", "irfft", "fft", "ifft", "rfft2", "irfft2", "rfftn", "irfftn"):
        original = getattr(scipy.fft, name)

        def counted(*args: Any, original: Any = original, **keywords: Any) -> Any:
            used.append(keywords["workers"])
            return original(*args, **keywords)

        monkeypatch.setattr(scipy.fft, name, counted)
    volume = np.random.default_rng(1).normal(size=(8, 8, 8))

    def transform_all(workers: int | None = None) -> set[int]:
        used.clear()
        tf.inverse_2d(tf.forward_2d(volume, workers), workers)
        tf.inverse_3d(tf.forward_3d(volume, workers), workers)
        tf.rescale_map(volume, 6, workers)
        padded_inverse(padded_forward(volume, 16, 8, workers), 16, 8, workers)
        return set(used)

    tf.set_workers(None)  # runs of the command line in this process have set it
    assert transform_all() == {len(os.sched_getaffinity(0))}
    tf.set_workers(3)
    assert transform_all() == {3}
    assert transform_all(workers=2) == {2}
    tf.set_workers(None)
    assert transform_all() == {len(os.sched_getaffinity(0))}


def test_transforms_need_a_thread() -> None:
    with pytest.raises(ValueError, match="at least one thread"):
        tf.set_workers(0)
