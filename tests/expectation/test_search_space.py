"""Orientations and priors of each image against loops (specification E 4.6, 5.5)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from clrelion.expectation.search_space import (
    SearchSpace,
    dense_search_space,
    log_translation_priors,
)
from tests.expectation.small_run import SmallRun, small_run
from tests.reference.expectation_step import Step

IDS = np.array([4, 0, 1])


def listed(space: SearchSpace, image: int) -> dict[tuple[int, int, int], float]:
    """(class, direction, psi) -> ln(prior / mean prior) of what an image considers."""
    e = np.arange(space.n_orientations[image])
    place = e if space.is_dense else space.prior_base[image] + e
    prior = space.log_prior[space.prior_base[image] + e]
    keys = zip(
        space.orientation_class[place].tolist(),
        space.orientation_dir[place].tolist(),
        space.orientation_psi[place].tolist(),
        strict=True,
    )
    out = dict(zip(keys, prior.tolist(), strict=True))
    assert len(out) == len(e)
    return {key: value for key, value in out.items() if np.isfinite(value)}


def assert_as_in_the_specification(
    space: SearchSpace, run: SmallRun, tolerance: float = 1e-12
) -> None:
    step = Step(run.settings, run.table, {}, {})
    for image, particle in enumerate(IDS.tolist()):
        expected = {
            (k, particle if d < 0 else d, max(psi, 0)): np.log(prior)
            for k, d, psi, prior in step.coarse_orientations(particle)
        }
        found = listed(space, image)
        assert found.keys() == expected.keys()
        for key, value in expected.items():
            assert found[key] == pytest.approx(value, abs=tolerance)


DENSE: dict[str, dict[str, Any]] = {
    "all classes": {},
    "one class each": {"considered_class": np.array([0, 1, 1, 0, 1])},
    "dead class": {"pdf_class": np.array([0.0, 1.0])},
}


@pytest.mark.parametrize("name", DENSE)
def test_dense(name: str) -> None:
    run = small_run(**DENSE[name])
    space = dense_search_space(run.settings, IDS)
    assert space.is_dense
    assert (space.n_orientations == 2 * 12 * 6).all()
    assert_as_in_the_specification(space, run)


@pytest.mark.parametrize("consistent", [False, True])
def test_log_translation_priors(consistent: bool) -> None:
    run = small_run(consistent_offset_prior=consistent)
    offset = np.array([[1.0, -2.0], [0.0, 0.0], [3.0, 1.0]])
    centre = np.array([[0.0, 0.0], [0.8, -0.4], [3.5, 1.0]])
    found = log_translation_priors(run.settings, 1.7, offset, centre)
    t = run.settings.translation_grid.coarse
    assert found.shape == (3, len(t))
    for i in range(3):
        if consistent:
            distance = 1.7 * (offset[i] - centre[i]) + t
        else:
            distance = 1.7 * (offset[i] + t - centre[i])  # t in Å taken for pixels (Q1)
        prior = np.exp(-(distance**2).sum(axis=1) / 18.0) / (2 * np.pi * 9.0)
        np.testing.assert_allclose(found[i], np.log(prior / prior.mean()), atol=1e-12)


def test_log_translation_priors_far_away_and_flat() -> None:
    run = small_run()
    far = log_translation_priors(run.settings, 2.0, np.full((1, 2), 500.0), np.zeros((1, 2)))
    assert np.isfinite(far).all()
    assert np.exp(far).mean() == pytest.approx(1.0)
    flat = replace(run.settings, sigma2_offset_angst2=1e-5)
    offset = np.array([[4.0, 0.0]])
    assert not log_translation_priors(flat, 2.0, offset, np.zeros((1, 2))).any()
