"""difference_shells: which shells tell a wrong rotation."""

from __future__ import annotations

import numpy as np
import pytest

from clrelion.device.session import DeviceSession
from tests import tolerances
from tests.kernels.launch import Output, int32, rounded, run_kernel
from tests.kernels.scoring_kernels import split_complex
from tests.reference.slice_differences import difference_shells


@pytest.mark.parametrize(("n_trials", "n_pairs", "n_list"), [(1, 1, 1), (3, 7, 353), (6, 2, 90)])
def test_random_pairs(any_session: DeviceSession, n_trials: int, n_pairs: int, n_list: int) -> None:
    rng = np.random.default_rng(n_list)
    n_shells, n_weights = 11, min(2, n_trials)
    first = rounded(any_session, rng.standard_normal((n_trials, n_list, 2)) @ [1, 1j])
    second = rounded(any_session, rng.standard_normal((n_pairs, n_list, 2)) @ [1, 1j])
    weight = rounded(any_session, rng.uniform(0, 2, (n_weights, n_list)))
    trial = rng.integers(0, n_trials, n_pairs)
    shell = rng.integers(0, n_shells - 2, n_list)  # none on the last
    starts = np.concatenate([[0], np.cumsum(np.bincount(shell, minlength=n_shells))])
    out = Output(any_session, (n_pairs, n_shells))
    run_kernel(
        any_session, "difference_shells", (n_shells, n_pairs), None,
        split_complex(first), split_complex(second), weight, int32(trial), n_weights,
        int32(starts), int32(np.argsort(shell, kind="stable")), n_list, n_shells, n_pairs, out,
    )  # fmt: skip
    expected = difference_shells(first, second, weight, trial, shell, n_shells)
    tolerances.assert_close(out.read(), expected, tolerances.of_sum(any_session.real, n_list))
