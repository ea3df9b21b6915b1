"""compact_significant: significant samples as one list with index vectors."""

from __future__ import annotations

import numpy as np
import pytest

from clrelion.device.session import DeviceSession
from tests.kernels.launch import int32
from tests.kernels.posterior_kernels import significant_blocks
from tests.kernels.weight_inputs import random_weights
from tests.reference.compact_significant import compact_significant
from tests.reference.significance import significance


@pytest.mark.parametrize("wg", [1, 16, 64])
@pytest.mark.parametrize(
    ("counts", "n_trans"), [((13, 1, 170), 9), ((5,), 1), ((3, 90, 0, 64, 65, 0), 21)]
)
def test_random_weights(
    any_session: DeviceSession, wg: int, counts: tuple[int, ...], n_trans: int
) -> None:
    rng = np.random.default_rng(n_trans)
    weights = [
        random_weights(rng, any_session, (n, n_trans)) if n else np.zeros((0, n_trans))
        for n in counts
    ]
    candidates = [np.sort(rng.permutation(1000)[:n]) for n in counts]
    found = significance(weights, 0.9, -1, float(np.finfo(any_session.real).tiny))
    result = significant_blocks(any_session, weights, candidates, found, wg)
    assert result == compact_significant(weights, candidates, found.threshold)


@pytest.mark.parametrize("wg", [1, 16, 64])
def test_limits(any_session: DeviceSession, wg: int) -> None:
    """All samples of one image, none of the next, the last translation of a third."""
    weights = [np.full((40, 3), 0.5), np.full((40, 3), 0.25), np.zeros((40, 3))]
    weights[2][39, 2] = 1.0
    candidates = [int32(np.arange(40)) * 2] * 3
    found = significance(weights, 0.5, -1, 1e-30)._replace(
        threshold=np.array([0.5, 0.75, 0.75]),
        n_samples=np.array([120, 0, 1]),
        n_orientations=np.array([40, 0, 1]),
    )
    result = significant_blocks(any_session, weights, candidates, found, wg)
    assert result == [(0, 2 * c, [0, 1, 2]) for c in range(40)] + [(2, 78, [2])]
