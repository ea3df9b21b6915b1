"""local_orientations: whole lists of local searches."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from clrelion.device.session import DeviceSession
from tests.kernels.launch import Output, int32, run_kernel
from tests.kernels.local_inputs import KINDS, LocalInputs, needs
from tests.reference.local_lists import (
    count_directions,
    local_orientations,
    nearest_directions,
)

CASES = [
    LocalInputs(2, "C1", "cap", 15.0, 15.0),
    LocalInputs(3, "D2", "cap", 4.0, 7.5, top=1),
    LocalInputs(3, "O", "cap", 1.5, 7.5, top=2),
    LocalInputs(2, "C3", "rot", 2.0, 0.0),
    LocalInputs(2, "D3", "tilt", 9.0, 70.0, top=1),
]
N_CLASSES = 3
ALIVE = int32([0, 2, 5])


def kept_of(inputs: LocalInputs, particle: int) -> tuple[list[tuple[int, int, float]], Any, bool]:
    """Directions with their blocks and angles, entries of each; is it but the nearest one?"""
    theta, mate = inputs.directions.closest(particle)
    entries, _ = count_directions(inputs.directions, particle, inputs.sigma, inputs.psi_count)
    first = particle * inputs.group.order
    if entries.any():
        kept = [(int(d), first + int(mate[d]), float(theta[d])) for d in np.flatnonzero(entries)]
        return kept, entries, False
    place, own = nearest_directions(inputs.directions, particle)
    entries[place] = inputs.psi_count[first + own]
    return [(place, first + own, 0.0)], entries, True


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("chosen", "group"), [(False, 64), (True, 1)])
@pytest.mark.parametrize("inputs", CASES, ids=str)
def test_random_poses(
    any_session: DeviceSession, kind: str, chosen: bool, group: int, inputs: LocalInputs
) -> None:
    if not needs(any_session, kind):
        pytest.skip("not used there")
    n, n_classes = inputs.n, 1 if chosen else N_CLASSES
    sigma_psi = math.radians(inputs.sigma_psi_deg)
    particles = [kept_of(inputs, i) for i in range(n)]
    by_root = np.concatenate(
        [np.bincount(inputs.roots, entries, inputs.n_roots) for _, entries, _ in particles]
    )
    starts = int32(np.concatenate([[0], np.cumsum(by_root)]))
    lists = [
        local_orientations(kept, inputs.windows, inputs.grid.n_psi, inputs.sigma, sigma_psi)
        for kept, _, _ in particles
    ]
    lengths = int32([n_classes * len(of_class) for of_class in lists])
    lonely = [kept[0] if is_lonely else (-1, 0, 0.0) for kept, _, is_lonely in particles]
    log_sums = [
        np.log(sum(np.exp(-0.5 * (theta / inputs.sigma) ** 2) for _, _, theta in kept))
        for kept, _, _ in particles
    ]
    windows = [np.array(column) for column in zip(*inputs.windows, strict=True)]
    total, n_items = int(lengths.sum()), n * inputs.n_roots
    own_class = np.arange(n) % 4
    prior_base = Output(any_session, n, np.int32)
    log_prior = Output(any_session, total)
    columns = [Output(any_session, total, np.int32) for _ in range(3)]
    run_kernel(
        any_session, "local_orientations", (n_items,), (group,),
        *inputs.grid_arguments(), inputs.reach(), inputs.limit(any_session, kind), inputs.sigma,
        inputs.centres(any_session, kind), int32(windows[0]), int32(windows[1]), windows[2],
        windows[3], math.radians(inputs.grid.psi_step_deg), sigma_psi, inputs.grid.n_psi,
        int32([place for place, _, _ in lonely]),
        int32([block % inputs.group.order for _, block, _ in lonely]), lengths,
        np.array(log_sums), starts, ALIVE, int32(own_class) if chosen else None, n_classes,
        inputs.group.order, inputs.n_roots, n_items, prior_base, log_prior, *columns,
        wide=kind, prior=inputs.prior,
    )  # fmt: skip
    expected = [
        (own_class[i] if chosen else k, place, psi, log)
        for i in range(n)
        for k in ALIVE[:n_classes].tolist()
        for place, psi, log in lists[i]
    ]
    assert prior_base.read().tolist() == (np.cumsum(lengths) - lengths).tolist()
    for found, column in zip(columns, range(3), strict=True):
        assert found.read().tolist() == [entry[column] for entry in expected]
    tolerance = 5e-6 if any_session.precision == "single" else 1e-11
    np.testing.assert_allclose(
        log_prior.read(), [entry[3] for entry in expected], rtol=0, atol=tolerance
    )
