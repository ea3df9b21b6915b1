from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from clrelion.fourier import filters
from clrelion.fourier.shells import half_transform_shells_3d
from clrelion.fourier.transforms import forward_3d
from tests.reference.phantoms import blob_map
from tests.reference.relion_programs import read_mrc, run_relion, write_mrc


def test_factors_of_the_specification() -> None:
    first = filters.shell_low_pass_factors(100, 2.0, 40.0)
    np.testing.assert_allclose(first[3:8], [1, 1, 0.5, 0, 0], atol=1e-12)
    second = filters.shell_low_pass_factors(256, 1.2156, 60.0)
    np.testing.assert_allclose(second[3:8], [1, 1, 0.64444, 0.02132, 0], atol=6e-6)


def test_filter_multiplies_the_transform_in_the_corners_too() -> None:
    volume = np.random.default_rng(0).normal(size=(24, 24, 24))
    filtered = filters.low_pass_map(volume, 2.0, 12.0)
    k = np.r_[0:13, -11:0]
    radius = np.sqrt(k[:, None, None] ** 2 + k[:, None] ** 2 + np.arange(13) ** 2)
    expected = forward_3d(volume) * filters.low_pass_factors(radius, 24, 2.0, 12.0)
    np.testing.assert_allclose(forward_3d(filtered), expected, atol=1e-14)
    assert np.abs(forward_3d(filtered))[half_transform_shells_3d(24) > 5].max() < 1e-14


def test_no_resolution_no_filter() -> None:
    volume = np.random.default_rng(0).normal(size=(8, 8, 8))
    np.testing.assert_array_equal(filters.low_pass_map(volume, 2.0, -1.0), volume)


@pytest.mark.parametrize("resolution", [19.2, 20.0, 26.0])
def test_general_filter_equals_relion_image_handler(tmp_path: Path, resolution: float) -> None:
    volume = blob_map(32) + np.random.default_rng(1).normal(size=(32, 32, 32))
    volume = write_mrc(tmp_path / "x.mrc", volume, 3.0)
    run_relion(
        "relion_image_handler",
        f"--i x.mrc --o y.mrc --angpix 3 --lowpass {resolution}",
        tmp_path,
    )
    found = filters.low_pass_map(volume, 3.0, resolution, round_to_shell=True)
    np.testing.assert_allclose(found, read_mrc(tmp_path / "y.mrc"), atol=1e-6)
