from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from clrelion.fourier.filters import low_pass_map
from clrelion.maximization.solvent import (
    SolventMasks,
    flatten_solvent,
    spherical_solvent_mask,
)
from tests.reference.relion_programs import read_mrc


def test_sphere_multiplies_the_map() -> None:
    volume = np.random.default_rng(0).normal(size=(32, 32, 32))
    mask = spherical_solvent_mask(32, 2.0, 40.0, 5.0)
    found = flatten_solvent(volume, SolventMasks(mask), 2.0)
    np.testing.assert_array_equal(found, volume * mask)
    assert found[0, 0, 0] == 0.0
    assert found[16, 16, 24] == volume[16, 16, 24]


def test_second_mask_is_set_to_its_mean() -> None:
    rng = np.random.default_rng(1)
    volume, second = rng.normal(size=(16, 16, 16)), np.zeros((16, 16, 16))
    second[4:8, 4:8, 4:8] = 1.0
    second[8, 4:8, 4:8] = 0.5
    ones = np.ones_like(volume)
    found = flatten_solvent(volume, SolventMasks(ones, second), 2.0)
    mean = (second * volume).sum() / second.sum()
    np.testing.assert_allclose(found[4:8, 4:8, 4:8], mean)
    np.testing.assert_allclose(found[8, 4:8, 4:8], 0.5 * volume[8, 4:8, 4:8] + 0.5 * mean)
    np.testing.assert_array_equal(found[10:], volume[10:])


def test_low_pass_mask_keeps_a_smooth_copy() -> None:
    volume = np.random.default_rng(2).normal(size=(16, 16, 16))
    mask = spherical_solvent_mask(16, 2.0, 12.0, 2.0)
    found = flatten_solvent(volume, SolventMasks(mask, None, 1.0 - mask, 10.0), 2.0)
    smooth = low_pass_map(volume * (1.0 - mask), 2.0, 10.0, round_to_shell=True)
    np.testing.assert_allclose(found, volume * mask + smooth)


@pytest.mark.parametrize("name", ["base/run_it003", "full/run_it002", "auto/run_it004_half1"])
def test_relions_maps_are_zero_outside_the_sphere_and_only_there(shared: Path, name: str) -> None:
    volume = read_mrc(shared / f"data/steps/pol/{name}_class001.mrc")
    mask = spherical_solvent_mask(64, 4.0, 200.0, 5.0)
    assert np.all(volume[mask == 0] == 0)
    assert np.mean(volume[mask > 1e-3] == 0) < 1e-3
