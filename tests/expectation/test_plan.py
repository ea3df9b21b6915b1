"""The memory plan of the expectation step: it fits what it is given, and more gives more."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from clrelion.device.memory import MemoryBudget
from clrelion.device.session import DeviceSession
from clrelion.expectation.plan import (
    ExpectationPlan,
    _orientations_per_image,
    plan_expectation,
)
from clrelion.expectation.results import ParticleResults
from clrelion.expectation.search_space import sparse_search_space
from clrelion.expectation.settings import ExpectationSettings, LocalSearch
from clrelion.maximization.sums import centred_shape
from clrelion.orientations.sampling import OrientationGrid, TranslationGrid
from clrelion.orientations.symmetry import PointGroup
from tests.expectation.small_run import particle_table, small_run

LOCAL = LocalSearch(3.75, 3.75, 3.75, centre_on_current=True)
MB = 10**6
BUDGETS = [64 * MB, 128 * MB, 256 * MB, 1000 * MB, 4000 * MB, 16000 * MB, 64000 * MB, 140000 * MB]
N_PARTICLES = 10**5


def settings_of(order: int, current_size: int, **changes: Any) -> ExpectationSettings:
    """Settings as in a run of ordinary size; the references are not looked at."""
    grid = OrientationGrid.create(order, None, PointGroup.from_name("C1"), oversampling=1)
    trans = TranslationGrid.create(6.0, 2.0, 1)
    base = small_run().settings
    return replace(
        base, ori_size=128, current_size=current_size, orientation_grid=grid,
        translation_grid=trans, **changes,
    )  # fmt: skip


def plan(
    session: DeviceSession, settings: ExpectationSettings, n_bytes: int, largest: int | None = None
) -> ExpectationPlan:
    budget = MemoryBudget(n_bytes, n_bytes, 0, None, largest or max(n_bytes // 4, 1))
    radius = settings.r_max
    n_list = int(np.pi * radius**2 / 2)
    coarse = int(np.pi * (radius // 2) ** 2 / 2) // 16 * 16
    fine = n_list // 16 * 16
    return plan_expectation(
        session, settings, budget, N_PARTICLES, 128, n_list, coarse, fine, "test"
    )


CASES: dict[str, Any] = {
    "dense, small": lambda: settings_of(2, 20),
    "dense": lambda: settings_of(3, 24),
    "local": lambda: settings_of(4, 36, local_search=LOCAL),
    "kept": lambda: settings_of(3, 36, skip_align=True),
}


@pytest.mark.parametrize("name", CASES)
def test_plans_fit_their_budgets(session: DeviceSession, name: str) -> None:
    settings = CASES[name]()
    real = np.dtype(session.real).itemsize
    volume = int(np.prod(centred_shape(2.0, settings.r_max)))
    for n_bytes in BUDGETS:
        made = plan(session, settings, n_bytes)
        assert made.batch.fits, f"{name}: {n_bytes}"
        assert made.batch.total_bytes <= n_bytes
        assert 1 <= made.batch.batch_size <= 8192
        assert made.batch.buffers[0].bytes_fixed >= settings.n_classes * volume * real * 6
        assert made.fine_bytes <= n_bytes // 2
        largest = n_bytes // 4
        for buffer in made.batch.buffers:
            if buffer.name in ("squared differences", "candidate weights", "shifted images"):
                assert buffer.total(made.batch.batch_size) <= largest
            if buffer.name in ("coarse slices", "fine slices (table)"):
                assert buffer.total(1) <= largest


@pytest.mark.parametrize("name", CASES)
def test_more_memory_gives_larger_launches(session: DeviceSession, name: str) -> None:
    settings = CASES[name]()
    plans = [plan(session, settings, n) for n in BUDGETS]
    for smaller, larger in pairwise(plans):
        assert smaller.columns_per_run <= larger.columns_per_run
        assert smaller.rows_per_run <= larger.rows_per_run
        assert smaller.fine_bytes <= larger.fine_bytes
        assert smaller.keep_panels <= larger.keep_panels
        assert smaller.table_fits <= larger.table_fits
        if smaller.keep_panels == larger.keep_panels and smaller.table_fits == larger.table_fits:
            assert smaller.batch.batch_size <= larger.batch.batch_size
    assert plans[0].batch.batch_size < plans[-1].batch.batch_size
    assert plans[-1].keep_panels == settings.is_dense or not settings.is_dense


def test_the_largest_buffer_limits_the_batch(session: DeviceSession) -> None:
    settings = CASES["dense"]()
    free = plan(session, settings, 16000 * MB)
    limited = plan(session, settings, 16000 * MB, 32 * MB)
    assert limited.batch.batch_size < free.batch.batch_size
    assert limited.columns_per_run < free.columns_per_run
    assert limited.largest_bytes == 32 * MB
    # also where the references and sums together are larger, in several buffers
    tiny = plan(session, CASES["dense, small"](), 16000 * MB, 2 * MB)
    assert tiny.batch.buffers[0].bytes_fixed > 2 * MB
    for buffer in tiny.batch.buffers:
        if buffer.name in ("squared differences", "shifted images"):
            assert buffer.total(tiny.batch.batch_size) <= 2 * MB


def test_a_budget_for_nothing_says_so(session: DeviceSession) -> None:
    made = plan(session, CASES["dense"](), 3 * MB)
    assert made.batch.batch_size == 1
    assert not made.batch.fits
    assert "MORE than the budget" in made.lines()[0]
    assert any("coarse orientations a launch" in line for line in made.lines())
    sparse = plan(session, CASES["local"](), MB)
    assert any("coarse slices a launch" in line for line in sparse.lines())


@pytest.mark.parametrize("changes", [{}, {"oversampling": 0}, {"local_search": LOCAL}])
def test_what_is_allocated_stays_within_the_plan(
    session: DeviceSession, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]
) -> None:
    """Measured at every allocation of a step with 40 copies of each particle."""
    run = small_run(**changes)
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
    run.step(session, budget).run(order, ParticleResults.of(run.table))
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
