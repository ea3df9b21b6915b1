"""slice_differences: signal-to-noise ratios of wrong rotations."""

from __future__ import annotations

import numpy as np
import pytest

from clrelion.device.session import DeviceSession
from tests import tolerances
from tests.kernels.launch import Output, int32, rounded, run_kernel
from tests.kernels.scoring_kernels import split_complex
from tests.reference.slice_differences import slice_differences


@pytest.mark.parametrize("wg", [1, 16, 64])
@pytest.mark.parametrize("n_weights", [1, 2])
@pytest.mark.parametrize(("n_trials", "n_pairs", "n_list"), [(1, 1, 1), (3, 7, 353), (5, 2, 90)])
def test_random_pairs(
    any_session: DeviceSession, wg: int, n_weights: int, n_trials: int, n_pairs: int, n_list: int
) -> None:
    rng = np.random.default_rng(n_list)
    first = rounded(any_session, rng.standard_normal((n_trials, n_list, 2)) @ [1, 1j])
    second = rounded(any_session, rng.standard_normal((n_pairs, n_list, 2)) @ [1, 1j])
    weight = rounded(any_session, rng.uniform(0, 2, (n_weights, n_list)))
    trial = rng.integers(0, n_trials, n_pairs)
    out = Output(any_session, (n_pairs,))
    run_kernel(
        any_session, "slice_differences", (n_pairs * wg,), (wg,),
        split_complex(first), split_complex(second), weight, int32(trial), n_weights, n_list, out,
        wg=wg,
    )  # fmt: skip
    expected = slice_differences(first, second, weight, trial)
    tolerances.assert_close(out.read(), expected, tolerances.of_sum(any_session.real, n_list))


def test_equal_slices_do_not_differ(any_session: DeviceSession) -> None:
    slices = split_complex(np.arange(1, 33).reshape(2, 16) * np.complex128(1 + 2j))
    out = Output(any_session, (2,))
    run_kernel(
        any_session, "slice_differences", (2,), (1,),
        slices, slices, np.ones((2, 16)), int32([0, 1]), 2, 16, out, wg=1,
    )  # fmt: skip
    assert not out.read().any()
