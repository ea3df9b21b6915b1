from __future__ import annotations

import numpy as np
import pytest

from clrelion.errors import ImageError
from clrelion.fourier import masks


def test_mask_profile() -> None:
    mask = masks.raised_cosine_mask(40, 10.0, 5.0)
    row = mask[20, 20, 20:]
    np.testing.assert_array_equal(row[:10], 1.0)
    assert row[10] == pytest.approx(1.0)
    assert row[12] == pytest.approx(0.5 - 0.5 * np.cos(np.pi * 3 / 5))
    assert row[15] == pytest.approx(0.0)
    np.testing.assert_array_equal(row[16:], 0.0)
    np.testing.assert_array_equal(mask[20], masks.raised_cosine_mask(40, 10.0, 5.0, ndim=2))
    assert mask[23, 24, 20] == mask[20, 20, 25]


def test_a_zero_width_edge_is_a_step() -> None:
    mask = masks.raised_cosine_mask(10, 3.0, 0.0, ndim=2)
    np.testing.assert_array_equal(mask[5, 5:], [1, 1, 1, 1, 0])


def test_background_is_the_weighted_mean_of_each_image() -> None:
    rng = np.random.default_rng(0)
    images = rng.normal(size=(3, 24, 24)) + np.array([0.0, 5.0, -2.0])[:, None, None]
    weights = masks.background_weights(24, 6.0, 3.0, ndim=2)
    filled = masks.fill_background(images, 6.0, 3.0, ndim=2)
    for image, result in zip(images, filled, strict=True):
        background = (weights * image).sum() / weights.sum()
        np.testing.assert_allclose(result, (1 - weights) * image + weights * background)
    np.testing.assert_array_equal(filled[:, 12, 12], images[:, 12, 12])


def test_a_sphere_around_the_box_changes_nothing() -> None:
    volume = np.random.default_rng(1).normal(size=(8, 8, 8)).astype(np.float32)
    filled = masks.fill_background(volume, 20.0, 3.0)
    np.testing.assert_array_equal(filled, volume)
    assert masks.fill_background(volume, 2.0, 3.0).dtype == np.float32


def test_prepared_mask_is_on_the_models_grid() -> None:
    mask = masks.raised_cosine_mask(32, 8.0, 4.0)
    same = masks.prepare_solvent_mask(mask, 2.0, 32, 2.0)
    np.testing.assert_array_equal(same, mask)
    other = masks.prepare_solvent_mask(mask, 2.0, 40, 1.0)
    assert other.shape == (40, 40, 40)
    assert other[20, 20, 20 + 14] > 0.95
    assert other[0, 0, 0] == 0.0
    assert other.min() >= 0.0
    assert other.max() <= 1.0
    assert masks.prepare_solvent_mask(mask, 2.0, 24, 2.0)[12, 12, 12] == 1.0


def test_masks_outside_their_range_are_refused() -> None:
    mask = 3.0 * masks.raised_cosine_mask(16, 4.0, 2.0)
    with pytest.raises(ImageError, match=r"mine\.mrc.*\[0, 1\]"):
        masks.prepare_solvent_mask(mask, 1.0, 16, 1.0, "mine.mrc")
    with pytest.raises(ImageError, match="cube"):
        masks.prepare_solvent_mask(mask[:4], 1.0, 16, 1.0)
