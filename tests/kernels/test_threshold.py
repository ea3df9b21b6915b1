"""common/threshold: threshold weights by bisection, in a kernel of this test."""

from __future__ import annotations

import numpy as np
import pytest

from clrelion.device.session import DeviceSession
from tests.kernels.launch import Output
from tests.kernels.weight_inputs import random_weights
from tests.reference.threshold import significance_threshold

_SOURCE = """<%include file="/common/threshold.cl.mako"/>
__kernel void thresholds(__global const real* weights, const long n, const real goal,
                         const int count, __global real* result)
{
    __local real scratch[${wg}];
    __local int counts[${wg}];
    result[get_local_id(0)] = significance_threshold(weights, n, goal, count, scratch, counts);
}
"""


@pytest.mark.parametrize("wg", [1, 7, 64])
def test_all_work_items_get_the_threshold(any_session: DeviceSession, wg: int) -> None:
    kernel = any_session.kernel_from_source("thresholds", _SOURCE, wg=wg)
    rng = np.random.default_rng(wg)
    for n in (1, 3, 63, 500):
        weights = random_weights(rng, any_session, (n, 1), [0.9]).ravel()
        weights_d = any_session.to_device(weights.astype(any_session.real))
        for goal in (0.9 * float(weights.sum()), 1e9):
            for count in (-1, 0, 1, 2, n, n + 1):
                result = Output(any_session, wg)
                kernel((wg,), (wg,), weights_d, n, goal, count, result.array)
                expected = significance_threshold(weights, goal, count)
                assert np.all(result.read() == any_session.real(expected))
