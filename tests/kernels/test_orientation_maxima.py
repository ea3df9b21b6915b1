"""orientation_maxima: the largest log-weight of each orientation."""

from __future__ import annotations

import numpy as np
import pytest

from clrelion.device.session import DeviceSession
from tests import tolerances
from tests.kernels.posterior_kernels import maxima_of_orientations
from tests.kernels.score_inputs import LAYOUTS, Layout, random_scores, score_vectors
from tests.reference.orientation_maxima import Scores, orientation_maxima


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    ("counts", "n_trans", "group"),
    [((13, 1, 70), 9, (1, 1)), ((5,), 1, (16, 1)), ((3, 90, 0, 7, 64, 65, 1), 21, (64, 1))],
)
def test_random_scores(
    any_session: DeviceSession,
    layout: Layout,
    counts: tuple[int, ...],
    n_trans: int,
    group: tuple[int, int],
) -> None:
    scores = random_scores(np.random.default_rng(n_trans), any_session, counts, n_trans)
    vectors = score_vectors(scores, layout)
    result = maxima_of_orientations(any_session, vectors, group)
    for image, expected in enumerate(orientation_maxima(scores)):
        found = vectors.of_image(result, image)
        tolerances.assert_close(found, expected, tolerances.of_product(any_session.real))


def test_priors_of_zero_rule_out(any_session: DeviceSession) -> None:
    """An orientation without prior, translations without prior, and both, give -inf."""
    prior = [np.array([0.0, -np.inf, 0.0]), np.array([0.0, 0.0])]
    log_translation = np.array([[0.0, -np.inf], [-np.inf, -np.inf]])
    diff2 = [np.array([[5.0, -50.0], [1.0, 1.0], [4.0, 3.0]]), np.zeros((2, 2))]
    vectors = score_vectors(Scores(diff2, prior, log_translation), "translation_fastest")
    result = maxima_of_orientations(any_session, vectors)
    assert vectors.of_image(result, 0).tolist() == [-5.0, -np.inf, -4.0]
    assert vectors.of_image(result, 1).tolist() == [-np.inf, -np.inf]
