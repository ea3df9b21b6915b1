"""significance: threshold weight of each image and what reaches it."""

from __future__ import annotations

import numpy as np
import pytest

from clrelion.device.session import DeviceSession
from tests import tolerances
from tests.kernels.posterior_kernels import significance_of_images
from tests.kernels.weight_inputs import random_weights
from tests.reference.significance import significance


@pytest.mark.parametrize("wg", [1, 16, 64])
@pytest.mark.parametrize(("fraction", "max_significants"), [(0.999, -1), (0.5, 0), (0.999, 9)])
@pytest.mark.parametrize(("counts", "n_trans"), [((13, 1, 70), 9), ((5,), 1), ((3, 64, 65), 21)])
def test_random_weights(
    any_session: DeviceSession,
    wg: int,
    fraction: float,
    max_significants: int,
    counts: tuple[int, ...],
    n_trans: int,
) -> None:
    rng = np.random.default_rng(n_trans)
    weights = [random_weights(rng, any_session, (n, n_trans), [fraction]) for n in counts]
    found = significance_of_images(any_session, weights, fraction, max_significants, wg)
    smallest = float(np.finfo(any_session.real).tiny)
    expected = significance(weights, fraction, max_significants, smallest)
    tolerance = tolerances.of_sum(any_session.real, max(counts) * n_trans)
    tolerances.assert_close(found.sum_weight, expected.sum_weight, tolerance)
    np.testing.assert_array_equal(found.threshold, expected.threshold.astype(any_session.real))
    np.testing.assert_array_equal(found.n_samples, expected.n_samples)
    np.testing.assert_array_equal(found.n_orientations, expected.n_orientations)


@pytest.mark.parametrize("wg", [1, 16, 64])
@pytest.mark.parametrize(
    ("weights", "fraction", "max_significants", "threshold", "n_samples", "n_orientations"),
    [
        # the running sum must exceed, not only reach, the fraction
        ([[1.0, 0.5], [0.5, 0.0]], 0.5, -1, 0.5, 3, 2),
        ([[1.0, 0.5], [0.25, 0.25]], 0.5, -1, 0.5, 2, 1),
        ([[1.0, 0.5], [0.25, 0.25]], 0.75, -1, 0.25, 4, 2),
        # the whole sum is never exceeded: everything above zero counts
        ([[1.0, 0.0], [0.25, 0.0]], 1.0, -1, None, 2, 2),
        # the limit on the number; equal weights stay together
        ([[1.0, 0.5], [0.25, 0.125]], 0.999, 2, 0.5, 2, 1),
        ([[1.0, 0.5], [0.5, 0.5]], 0.999, 2, 0.5, 4, 2),
        ([[1.0, 0.5], [0.25, 0.125]], 0.999, 9, 0.125, 4, 2),
        ([[1.0, 1.0], [1.0, 1.0]], 0.5, 1, 1.0, 4, 2),
        # the limit bites only when it is the stricter one
        ([[1.0, 0.5], [0.25, 0.125]], 0.5, 3, 1.0, 1, 1),
        # one sample
        ([[1.0, 0.0]], 0.999, -1, 1.0, 1, 1),
        # weights below the smallest normal number are no samples
        ([[1.0, 1e-310], [1e-310, 0.0]], 1.0, -1, None, 1, 1),
    ],
)
def test_limits(
    any_session: DeviceSession,
    wg: int,
    weights: list[list[float]],
    fraction: float,
    max_significants: int,
    threshold: float | None,
    n_samples: int,
    n_orientations: int,
) -> None:
    smallest = np.finfo(any_session.real).tiny
    given = np.array(weights)
    given[(given > 0) & (given < 1e-300)] = smallest / 2
    empty = given[:0]  # an image without candidates before and behind it
    found = significance_of_images(
        any_session, [empty, given, empty], fraction, max_significants, wg
    )
    assert found.sum_weight.tolist() == [0.0, given.sum(), 0.0]
    assert found.threshold.tolist()[1] == (smallest if threshold is None else threshold)
    assert found.n_samples.tolist() == [0, n_samples, 0]
    assert found.n_orientations.tolist() == [0, n_orientations, 0]


@pytest.mark.parametrize("wg", [4, 16])
def test_work_groups_do_not_share_local_memory(any_session: DeviceSession, wg: int) -> None:
    """Many images at a time, again and again: sums of fixed order are the same to the last bit.

    PoCL lets all work-groups share the local memory of a function that it does not inline.
    """
    rng = np.random.default_rng(1)
    weights = [random_weights(rng, any_session, (20, 9)) for _ in range(100)]
    first, *others = (
        significance_of_images(any_session, weights, 0.999, -1, wg) for _ in range(20)
    )
    tolerance = tolerances.of_sum(any_session.real, 180)
    tolerances.assert_close(first.sum_weight, [w.sum() for w in weights], tolerance)
    for other in others:
        for found, expected in zip(other, first, strict=True):
            np.testing.assert_array_equal(found, expected)
