"""best_sample: the smallest score of each image."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from clrelion.device.session import DeviceSession
from tests.kernels.launch import Output, run_kernel
from tests.kernels.score_inputs import LAYOUTS, Layout, random_scores, score_vectors
from tests.reference.best_sample import best_sample
from tests.reference.orientation_maxima import Scores


def best(
    session: DeviceSession, scores: Scores, layout: Layout, wg: int
) -> list[tuple[float, int]]:
    v = score_vectors(scores, layout)
    score, index = Output(session, v.n_images), Output(session, v.n_images, np.int32)
    run_kernel(
        session, "best_sample", (v.n_images * wg,), (wg,),
        v.diff2, v.log_orientation, v.n_orientations, v.prior_base, v.sample_base, v.n_trans,
        v.orientation_stride, v.translation_stride, score, index, wg=wg,
    )  # fmt: skip
    return list(zip(score.read().tolist(), index.read().tolist(), strict=True))


@pytest.mark.parametrize("wg", [1, 16, 64])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    ("counts", "n_trans"), [((13, 1, 70), 9), ((5,), 1), ((3, 90, 0, 7, 64, 65, 1), 21)]
)
def test_random_scores(
    any_session: DeviceSession, wg: int, layout: Layout, counts: tuple[int, ...], n_trans: int
) -> None:
    scores = random_scores(np.random.default_rng(n_trans), any_session, counts, n_trans)
    found = best(any_session, scores, layout, wg)
    assert found == best_sample(scores.diff2, scores.log_orientation)


@pytest.mark.parametrize("wg", [1, 16, 64])
def test_limits(any_session: DeviceSession, wg: int) -> None:
    """Ties go to the first sample in loop order; without prior or finite score there is none."""
    n, n_trans = 70, 3
    tie = np.zeros((n, n_trans))
    tie[[20, 37, 5, 5], [0, 1, 2, 1]] = -1.0
    no_prior: npt.NDArray[np.float64] = np.full(n, -np.inf)
    only_last = np.append(no_prior[1:], 0.0)
    scores = Scores(
        [tie, tie, tie, np.full((n, n_trans), np.inf)],
        [np.zeros(n), no_prior, only_last, np.zeros(n)],
        np.zeros((4, n_trans)),
    )
    found = best(any_session, scores, "orientation_fastest", wg)
    assert found == [(-1.0, 16), (np.inf, -1), (0.0, 207), (np.inf, -1)]
    assert best_sample(scores.diff2, scores.log_orientation) == found
