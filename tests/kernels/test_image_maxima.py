"""image_maxima: the largest log-weight of each image and the orientations near it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from clrelion.device.session import DeviceSession
from tests.kernels.launch import rounded
from tests.kernels.posterior_kernels import maxima_of_images
from tests.kernels.score_inputs import ScoreVectors, score_vectors
from tests.reference.image_maxima import image_maxima
from tests.reference.orientation_maxima import Scores


def vectors_of(
    maxima: list[npt.NDArray[np.float64]],
) -> tuple[npt.NDArray[np.float64], ScoreVectors]:
    """Maxima with traps between the images: +inf would be the largest."""
    zeros = [np.zeros((len(m), 1)) for m in maxima]
    vectors = score_vectors(
        Scores(zeros, [z[:, 0] for z in zeros], np.zeros((len(maxima), 1))), "translation_fastest"
    )
    flat = np.full(vectors.n_maxima, np.inf)
    for values, base in zip(maxima, vectors.maxima_base, strict=True):
        flat[base : base + len(values)] = values
    return flat, vectors


@pytest.mark.parametrize("wg", [1, 16, 64])
@pytest.mark.parametrize("counts", [(1,), (3, 200, 0, 64, 65, 15, 1), (63, 7, 130)])
def test_random_maxima(any_session: DeviceSession, wg: int, counts: tuple[int, ...]) -> None:
    rng = np.random.default_rng(len(counts))
    maxima = [rounded(any_session, -300 + 5 * rng.standard_normal(n)) for n in counts]
    for values in maxima:
        values[1::4] = -np.inf
    flat, vectors = vectors_of(maxima)
    maximum, n_candidates = maxima_of_images(any_session, flat, vectors, 4.0, wg)
    expected_maximum, expected_number = image_maxima(maxima, 4.0)
    np.testing.assert_array_equal(maximum, expected_maximum)
    np.testing.assert_array_equal(n_candidates, expected_number)


@pytest.mark.parametrize("wg", [1, 16, 64])
def test_limits(any_session: DeviceSession, wg: int) -> None:
    """Nothing allowed, everything equal, one far ahead, and one exactly at the cutoff."""
    maxima = [
        np.full(70, -np.inf),
        np.full(70, -7.0),
        np.append(np.full(69, -100.0), 0.0),
        np.array([-8.0, 0.0, -8.5]),
    ]
    flat, vectors = vectors_of(maxima)
    maximum, n_candidates = maxima_of_images(any_session, flat, vectors, 8.0, wg)
    assert maximum.tolist() == [-np.inf, -7.0, 0.0, 0.0]
    assert n_candidates.tolist() == [0, 70, 1, 2]
