"""kept_counts: significant translations of the kept rows in the order of their places."""

from __future__ import annotations

import numpy as np
import pytest

from clrelion.device.session import DeviceSession
from tests.kernels.launch import Output, int32, run_kernel
from tests.reference.kept_counts import kept_counts


@pytest.mark.parametrize("group", [1, 64])
@pytest.mark.parametrize("is_ordered", [False, True])
@pytest.mark.parametrize(("n", "part"), [(1, 1.0), (203, 0.4), (50, 0.0), (64, 1.0)])
def test_random_counts(
    any_session: DeviceSession, group: int, is_ordered: bool, n: int, part: float
) -> None:
    rng = np.random.default_rng(n)
    counts = rng.integers(1, 100, n) * (rng.random(n) < part)
    before = np.cumsum([0, *(counts > 0)])
    place = rng.permutation(int(before[-1])) if is_ordered else None
    out = Output(any_session, int(before[-1]), np.int32)
    run_kernel(
        any_session, "kept_counts", (n,), (group,),
        int32(counts), int32(before), None if place is None else int32(place), n, out,
    )  # fmt: skip
    expected = kept_counts(counts.tolist(), None if place is None else place.tolist())
    assert out.read().tolist() == expected
