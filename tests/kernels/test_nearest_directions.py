"""nearest_directions: lengths of lists, and the nearest direction of those that are empty."""

from __future__ import annotations

import numpy as np
import pytest

from clrelion.device.session import DeviceSession
from tests.kernels.launch import Output, int32, run_kernel
from tests.kernels.local_inputs import LocalInputs, needs
from tests.reference.local_lists import nearest_directions

CASES = [
    LocalInputs(2, "C1", "cap", 1.0, 15.0, n=23),
    LocalInputs(3, "D2", "cap", 1.0, 7.5, n=23, top=1),
    LocalInputs(4, "O", "cap", 1.0, 3.75, n=23),
    LocalInputs(3, "C4", "rot", 1.0, 9.0, n=23),
    LocalInputs(3, "D3", "tilt", 1.0, 9.0, n=23, top=2),
    LocalInputs(0, "C1", "cap", 1.0, 9.0, n=23),
]


@pytest.mark.parametrize(("kind", "group"), [("double", 64), ("pair", 1)])
@pytest.mark.parametrize("inputs", CASES, ids=str)
def test_random_poses(
    any_session: DeviceSession, kind: str, group: int, inputs: LocalInputs
) -> None:
    if not needs(any_session, kind):
        pytest.skip("not used there")
    n, n_mates, n_roots = inputs.n, inputs.group.order, inputs.n_roots
    rng = np.random.default_rng(5)
    counts = rng.integers(0, 9, (n, n_roots))
    counts[rng.random(n) < 0.7] = 0
    weights = rng.uniform(0, 2, (n, n_roots))
    n_entries = Output(any_session, (n, n_roots), np.int32, start=counts)
    nearest, mates, lengths = (Output(any_session, n, np.int32) for _ in range(3))
    log_sum = Output(any_session, n)
    run_kernel(
        any_session, "nearest_directions", (n,), (group,),
        *inputs.grid_arguments(), inputs.radius(), inputs.centres(any_session, kind),
        int32(inputs.psi_count), n_mates, n_roots, n, 3, weights, n_entries, nearest, mates,
        lengths, log_sum, wide=kind, prior=inputs.prior,
    )  # fmt: skip
    expected = np.full((4, n), -1.0)
    for i in range(n):
        expected[:, i] = -1, 0, 3 * counts[i].sum(), np.log(weights[i].sum())
        if not counts[i].any():
            place, mate = nearest_directions(inputs.directions, i)
            counts[i, inputs.roots[place]] = inputs.psi_count[i * n_mates + mate]
            expected[:, i] = place, mate, 3 * counts[i].sum(), 0.0
    np.testing.assert_array_equal(n_entries.read(), counts)
    for found, wanted in zip((nearest, mates, lengths), expected, strict=False):
        np.testing.assert_array_equal(found.read(), wanted)
    tolerance = 2e-6 if any_session.precision == "single" else 1e-12
    np.testing.assert_allclose(log_sum.read(), expected[3], rtol=0, atol=tolerance)
