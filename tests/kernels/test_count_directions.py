"""count_directions: orientations of local searches below each root pixel."""

from __future__ import annotations

import numpy as np
import pytest

from clrelion.device.session import DeviceSession
from tests.kernels.launch import Output, int32, run_kernel
from tests.kernels.local_inputs import KINDS, LocalInputs, needs
from tests.reference.local_lists import count_directions

CASES = [
    LocalInputs(2, "C1", "cap", 15.0, 15.0),
    LocalInputs(3, "D2", "cap", 7.5, 7.5, top=1),
    LocalInputs(4, "O", "cap", 3.75, 3.75, top=2),
    LocalInputs(3, "C1", "cap", 50.0, 0.0, top=3),
    LocalInputs(3, "C4", "rot", 9.0, 9.0),
    LocalInputs(3, "T", "tilt", 9.0, 9.0, top=1),
    LocalInputs(2, "C2", "rot", 40.0, 40.0),
    LocalInputs(3, "T", "cap", 1e-4, 9.0),
]


@pytest.mark.parametrize(("kind", "group"), [("double", 64), ("pair", 1)])
@pytest.mark.parametrize("inputs", CASES, ids=str)
def test_random_poses(
    any_session: DeviceSession, kind: str, group: int, inputs: LocalInputs
) -> None:
    if not needs(any_session, kind):
        pytest.skip("not used there")
    n_items = inputs.n * inputs.n_roots
    n_entries, weight = Output(any_session, n_items, np.int32), Output(any_session, n_items)
    run_kernel(
        any_session, "count_directions", (n_items,), (group,),
        *inputs.grid_arguments(), inputs.reach(), inputs.limit(any_session, kind), inputs.sigma,
        inputs.centres(any_session, kind), int32(inputs.psi_count), inputs.group.order,
        inputs.n_roots, n_items, n_entries, weight, wide=kind, prior=inputs.prior,
    )  # fmt: skip
    found = n_entries.read().reshape(inputs.n, -1), weight.read().reshape(inputs.n, -1)
    for particle in range(inputs.n):
        counts, weights = count_directions(
            inputs.directions, particle, inputs.sigma, inputs.psi_count
        )
        expected = [
            np.bincount(inputs.roots, weights=of_directions, minlength=inputs.n_roots)
            for of_directions in (counts, weights)
        ]
        assert found[0][particle].tolist() == expected[0].tolist()
        tolerance = 2e-6 if any_session.precision == "single" else 1e-12
        np.testing.assert_allclose(found[1][particle], expected[1], rtol=tolerance, atol=0)


@pytest.mark.parametrize("kind", KINDS)
def test_no_prior(any_session: DeviceSession, kind: str) -> None:
    """All directions, each with weight 1."""
    if not needs(any_session, kind):
        pytest.skip("not used there")
    inputs = LocalInputs(2, "C3", "cap", 60.0, 9.0, n=5)
    n_items = inputs.n * inputs.n_roots
    n_entries, weight = Output(any_session, n_items, np.int32), Output(any_session, n_items)
    run_kernel(
        any_session, "count_directions", (n_items,), (1,),
        *inputs.grid_arguments(), inputs.reach(), inputs.limit(any_session, kind), inputs.sigma,
        inputs.centres(any_session, kind), int32(inputs.psi_count), inputs.group.order,
        inputs.n_roots, n_items, n_entries, weight, wide=kind, prior="none",
    )  # fmt: skip
    by_root = np.bincount(inputs.roots, minlength=inputs.n_roots)
    first = inputs.psi_count[:: inputs.group.order]
    assert n_entries.read().reshape(inputs.n, -1).tolist() == np.outer(first, by_root).tolist()
    assert weight.read().reshape(inputs.n, -1).tolist() == [by_root.tolist()] * inputs.n
