"""compact_candidates: the orientations worth looking at, with their weights."""

from __future__ import annotations

import numpy as np
import pytest

from clrelion.device.session import DeviceSession
from tests import tolerances
from tests.kernels.posterior_kernels import (
    candidates_of_images,
    maxima_of_images,
    maxima_of_orientations,
)
from tests.kernels.score_inputs import LAYOUTS, Layout, random_scores, score_vectors
from tests.reference.compact_candidates import compact_candidates
from tests.reference.orientation_maxima import Scores


@pytest.mark.parametrize("wg", [1, 16, 64])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    ("counts", "n_trans"), [((13, 1, 170), 9), ((5,), 1), ((3, 90, 0, 7, 64, 65, 1), 21)]
)
def test_random_scores(
    any_session: DeviceSession, wg: int, layout: Layout, counts: tuple[int, ...], n_trans: int
) -> None:
    cutoff = 30.0
    scores = random_scores(np.random.default_rng(n_trans), any_session, counts, n_trans)
    for log_weights in scores.log_weights:  # no decision may hang on the last bits
        margin = np.abs(log_weights - np.max(log_weights, initial=-np.inf) + cutoff)
        assert np.min(margin, initial=1.0) > 1e-3
    vectors = score_vectors(scores, layout)
    maxima = maxima_of_orientations(any_session, vectors)
    maximum, n_candidates = maxima_of_images(any_session, maxima, vectors, cutoff, wg)
    found = candidates_of_images(any_session, vectors, maxima, maximum, n_candidates, cutoff, wg)
    tolerance = tolerances.of_exponential(any_session.real, 500)
    for result, expected in zip(found, compact_candidates(scores, cutoff), strict=True):
        np.testing.assert_array_equal(result[0], expected[0])
        tolerances.assert_close(result[1], expected[1], tolerance)


@pytest.mark.parametrize("wg", [1, 16, 64])
def test_limits(any_session: DeviceSession, wg: int) -> None:
    """No orientation allowed; ties; translations that underflow beside one that does not."""
    n = 70
    diff2 = [np.zeros((n, 2)), np.full((n, 2), 3.0), np.full((n, 2), 900.0)]
    diff2[2][41] = [0.0, 1e5]
    prior = [np.full(n, -np.inf), np.zeros(n), np.zeros(n)]
    scores = Scores(diff2, prior, np.zeros((3, 2)))
    vectors = score_vectors(scores, "translation_fastest")
    maxima = maxima_of_orientations(any_session, vectors)
    maximum, n_candidates = maxima_of_images(any_session, maxima, vectors, 50.0, wg)
    assert n_candidates.tolist() == [0, n, 1]
    nothing, everything, one = candidates_of_images(
        any_session, vectors, maxima, maximum, n_candidates, 50.0, wg
    )
    assert nothing[0].size == 0
    assert everything[0].tolist() == list(range(n))
    assert np.all(everything[1] == 1)
    assert one[0].tolist() == [41]
    assert one[1].tolist() == [[1.0, 0.0]]
