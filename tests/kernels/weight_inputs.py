"""Random weights whose significance does not hang on the last bits of a sum."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from clrelion.device.session import DeviceSession
from tests.kernels.launch import rounded

_MARGIN = 2e-6
"""Part of the total; sums of a thousand float32 weights are good to some 1e-7 of it."""


def random_weights(
    rng: np.random.Generator,
    session: DeviceSession,
    shape: tuple[int, int],
    fractions: Sequence[float] = (),
) -> npt.NDArray[np.float64]:
    """Weights (candidate, translation) in [0, 1], one exactly 1, some underflown to 0.

    Drawn again until no sum over the largest weights comes near one of ``fractions`` of the total.
    """
    for _ in range(100):
        weights = rounded(session, np.exp(-rng.exponential(8, shape)))
        weights[rng.random(shape) < 0.1] = 0.0
        weights[rng.integers(shape[0]), rng.integers(shape[1])] = 1.0
        running = np.cumsum(np.sort(weights.ravel())[::-1]) / weights.sum()
        if all(np.min(np.abs(running - f)) > _MARGIN for f in fractions):
            return weights
    raise AssertionError(f"no weights of shape {shape} keep away from {fractions}")
