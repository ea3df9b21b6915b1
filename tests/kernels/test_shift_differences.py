"""shift_differences: signal-to-noise ratios of wrong shifts."""

from __future__ import annotations

import numpy as np
import pytest

from clrelion.device.session import DeviceSession
from tests import tolerances
from tests.kernels.launch import Output, int32, rounded, run_kernel
from tests.kernels.scoring_kernels import split_complex
from tests.reference.shift_differences import shift_differences


@pytest.mark.parametrize("wg", [1, 16, 64])
@pytest.mark.parametrize("n_weights", [1, 2])
@pytest.mark.parametrize(("n_trials", "n_shifts", "n_list"), [(1, 1, 1), (3, 7, 353), (5, 2, 90)])
def test_random_shifts(
    any_session: DeviceSession, wg: int, n_weights: int, n_trials: int, n_shifts: int, n_list: int
) -> None:
    rng = np.random.default_rng(n_list)
    slices = rounded(any_session, rng.standard_normal((n_trials, n_list, 2)) @ [1, 1j])
    weight = rounded(any_session, rng.uniform(0, 2, (n_weights, n_list)))
    kxy = rng.integers(-40, 41, (n_list, 2))
    trial = rng.integers(0, n_trials, n_shifts)
    shift = rounded(any_session, rng.uniform(-0.1, 0.1, (n_shifts, 2)))
    out = Output(any_session, (n_shifts,))
    run_kernel(
        any_session, "shift_differences", (n_shifts * wg,), (wg,),
        split_complex(slices), weight, int32(kxy), int32(trial), shift, n_weights, n_list,
        out, wg=wg,
    )  # fmt: skip
    expected = shift_differences(slices, weight, kxy, trial, shift)
    # the phase itself is rounded: up to 40 * 0.1 * 2 turns
    tolerance = 50 * tolerances.of_sum(any_session.real, n_list)
    tolerances.assert_close(out.read(), expected, tolerance)


def test_half_a_box_flips_odd_pixels(any_session: DeviceSession) -> None:
    """A shift by half the box turns odd frequencies by half a turn: |P - (-P)|^2 = 4 |P|^2."""
    out = Output(any_session, (1,))
    kxy = np.array([[0, 0], [1, 0], [2, 0], [3, 5]])
    slices = split_complex(np.array([[1, 2, 3, 4j]]))
    run_kernel(
        any_session, "shift_differences", (1,), (1,),
        slices, np.ones((1, 4)), int32(kxy), int32([0]), np.array([[0.5, 0.0]]), 1, 4, out, wg=1,
    )  # fmt: skip
    np.testing.assert_allclose(out.read(), [4 * (4 + 16)], rtol=1e-6)
