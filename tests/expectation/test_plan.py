"""Sizes handed to the memory planner, and what a step really allocates."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from clrelion.device.memory import MemoryBudget
from clrelion.device.session import DeviceSession
from clrelion.expectation.plan import _orientations_per_image
from clrelion.expectation.settings import LocalSearch
from clrelion.orientations.sampling import OrientationGrid
from clrelion.orientations.symmetry import PointGroup
from tests.expectation.small_run import claims_on_all, particle_table, room_for_results, small_run
from tests.reference.local_lists import sparse_search_space

LOCAL = LocalSearch(3.75, 3.75, 3.75, centre_on_current=True)
MB = 10**6


@pytest.mark.parametrize("changes", [{}, {"oversampling": 0}, {"local_search": LOCAL}])
def test_what_is_allocated_stays_within_the_plan(
    session: DeviceSession, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]
) -> None:
    """Measured at every allocation of a step with 40 copies of each particle."""
    run = small_run(**changes)
    run.run(session)  # the transforms are chosen, which takes memory for a moment
    n_bytes = 4 * MB
    start = session.allocated_bytes
    peak = 0
    original = session.empty

    def counted(shape: Any, dtype: Any) -> Any:
        nonlocal peak
        array = original(shape, dtype)
        peak = max(peak, session.allocated_bytes - start)
        return array

    monkeypatch.setattr(session, "empty", counted)
    budget = MemoryBudget(n_bytes, n_bytes, 0, None, n_bytes // 2)
    # the same particles again and again
    order = np.array(40 * [0, 2, 4] + 40 * [1, 3])
    claims = claims_on_all(order, run.table.optics_group)
    run.step(session, budget).run(claims, room_for_results(run.table))
    assert n_bytes / 4 < peak <= n_bytes


@pytest.mark.parametrize("symmetry", ["C1", "D2"])
@pytest.mark.parametrize(
    "search",
    [LOCAL, LocalSearch(20.0, 10.0, 0.0, True), LocalSearch(0.0, 10.0, 10.0, True)],
)
def test_lists_of_local_searches_are_foreseen(search: LocalSearch, symmetry: str) -> None:
    """The plan's number of orientations is enough for nearly every particle, and not idle."""
    run = small_run(symmetry=symmetry, local_search=search)
    grid = OrientationGrid.create(3, None, PointGroup.from_name(symmetry), oversampling=1)
    settings = replace(run.settings, orientation_grid=grid)
    table = particle_table([run.table.optics[0]], [0] * 60)
    space = sparse_search_space(settings, table, np.arange(60))
    foreseen = _orientations_per_image(settings)
    assert np.percentile(space.n_orientations, 90) <= foreseen
    if min(search.sigma_rot_deg, search.sigma_tilt_deg) > 0:
        assert foreseen < 4 * space.n_orientations.mean()
