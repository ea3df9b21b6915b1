"""Rows that share an orientation: when they are grouped, and that it changes nothing else."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from clrelion.device.session import DeviceSession
from clrelion.expectation import kept_rows, store
from clrelion.expectation.kept_rows import KeptRows
from tests.expectation.test_deterministic_step import assert_same_bits, card, run_on_host
from tests.expectation.test_step import case, deviations

Grouping = Callable[[float], list[KeptRows]]


@pytest.fixture
def grouping(monkeypatch: pytest.MonkeyPatch) -> Grouping:
    """Set from how many rows of an orientation on they are grouped; gives the rows to come."""
    keep = kept_rows.keep_rows

    def change(shared_rows: float) -> list[KeptRows]:
        seen: list[KeptRows] = []

        def keep_rows(*args: Any) -> KeptRows:
            seen.append(keep(*args))
            return seen[-1]

        monkeypatch.setattr(store, "keep_rows", keep_rows)
        monkeypatch.setattr(kept_rows, "_shared_rows", lambda _session: shared_rows)
        monkeypatch.setattr(kept_rows, "_MARK_BYTES", 10**6)
        return seen

    return change


@pytest.mark.parametrize(
    ("name", "is_card"),
    [("normal", False), ("normal", True), ("local", True), ("premultiplied", False)],
)
def test_grouped_or_not(
    session_double: DeviceSession, grouping: Grouping, name: str, is_card: bool
) -> None:
    run, twin = case(name)
    session, results_of = session_double, run.run
    if is_card:
        session = DeviceSession(session_double.info, "double")
        session.is_cpu = False
        results_of = partial(run_on_host, run)
    for shared_rows, are_grouped in ((0.0, True), (1e9, False)):
        seen = grouping(shared_rows)
        found, particles = results_of(session)
        assert [rows.groups is not None for rows in seen] == [are_grouped] * len(seen)
        assert len(seen) > 1
        wrong = {k: v for k, v in deviations(found, particles, twin).items() if not v < 1e-9}
        assert wrong == {}


def test_deterministic_sums_do_not_depend_on_it(
    session: DeviceSession, grouping: Grouping
) -> None:
    run, _ = case("normal")
    results = []
    for shared_rows in (0.0, 1e9):
        grouping(shared_rows)
        results.append(run_on_host(run, card(session)))
    assert_same_bits(*results)


def test_the_counts_decide(
    session: DeviceSession, grouping: Grouping, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows of an orientation on average, and no room for the marks of very many orientations."""
    run, _ = case("normal")
    seen = grouping(0.0)
    run.run(session)
    shared = seen[0].n / seen[0].n_groups
    assert shared > 1.05
    for factor in (0.99, 1.01):
        seen = grouping(factor * shared)
        run.run(session)
        assert (seen[0].groups is not None) == (factor < 1)
        assert seen[0].n_groups < seen[0].n if factor < 1 else seen[0].n_groups == seen[0].n
    seen = grouping(0.0)
    monkeypatch.setattr(kept_rows, "_MARK_BYTES", 0)
    run.run(session)
    assert all(rows.groups is None for rows in seen)
