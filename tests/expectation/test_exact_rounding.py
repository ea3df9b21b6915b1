"""Rounded numbers add up to the same in any order."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from clrelion.expectation.exact_rounding import SumUnits, image_units, rounded
from clrelion.fourier.shells import pixels_per_shell
from tests.expectation.small_run import small_run

N = 5000


def test_sums_do_not_depend_on_the_order() -> None:
    run = small_run()
    geometry, noise = run.settings.geometry[1], run.settings.sigma2_noise[1]
    rng = np.random.default_rng(1)
    units = image_units(geometry, noise, N)
    assert (np.log2(units) % 1 == 0).all()
    n_shells = geometry.optics.box_px // 2 + 1
    shells = np.minimum(geometry.model_shells(n_shells), len(noise) - 1)
    power = 2 * pixels_per_shell(geometry.optics.box_px) * geometry.image_noise(noise)[shells]
    # up to a hundred times the noise
    values = power * np.exp(rng.uniform(-4, 4.6, (N, n_shells)))
    found = rounded(values, units)
    np.testing.assert_allclose(found.sum(axis=0), values.sum(axis=0), rtol=1e-8)
    orders = [np.arange(N), rng.permutation(N), rng.permutation(N)]
    sums = [np.cumsum(found[order], axis=0)[-1] for order in orders]
    np.testing.assert_array_equal(sums[1], sums[0])
    np.testing.assert_array_equal(sums[2], sums[0])
    # which is not so without rounding
    raw = [np.cumsum(values[order], axis=0)[-1] for order in orders]
    assert (raw[1] != raw[0]).any()


def test_units_of_scalars() -> None:
    run = small_run()
    units = SumUnits.of(run.settings, N)
    for name, largest in (("weight", 1.0), ("factor", 20.0), ("log_likelihood", 20.0**2)):
        unit = getattr(units, name)
        assert N * largest / unit <= 2.0**53
        assert 2 * N * 256 * largest / unit > 2.0**53
    assert units.offset2_angst2 > 0.0
    assert units.scale > 0.0
    twice = SumUnits.of(run.settings, 2 * N)
    assert twice == SumUnits(*(2 * getattr(units, f) for f in units.__dataclass_fields__))


def test_unknown_noise_is_not_rounded() -> None:
    run = small_run()
    silent = replace(run.settings, sigma2_noise=0 * run.settings.sigma2_noise)
    units = image_units(silent.geometry[0], silent.sigma2_noise[0], N)
    values = np.random.default_rng(2).uniform(size=(3, len(units)))
    np.testing.assert_array_equal(rounded(values, units), values)
