"""Lists of orientations that are made before they are asked for."""

from __future__ import annotations

import threading
from dataclasses import fields
from typing import Any

import numpy as np
import pytest

from clrelion.expectation import lists_ahead as module
from clrelion.expectation.lists_ahead import ListsAhead
from clrelion.expectation.search_space import SearchSpace, sparse_search_space
from tests.expectation.test_step import CASES, case


@pytest.fixture
def listed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[int], int]]:
    """Particles of each list that is made, and the thread that makes it."""
    calls: list[tuple[list[int], int]] = []

    def noted(settings: Any, table: Any, ids: Any) -> SearchSpace:
        calls.append((ids.tolist(), threading.get_ident()))
        return sparse_search_space(settings, table, ids)

    monkeypatch.setattr(module, "sparse_search_space", noted)
    return calls


def test_lists_are_those_of_the_particles(listed: list[tuple[list[int], int]]) -> None:
    run, _ = case("local")
    first, second, other = (np.array(ids) for ids in ([0, 2], [4], [1, 3]))
    with ListsAhead(run.settings, run.table) as lists:
        assert lists.are_needed
        lists.begin(first)
        lists.begin(second)
        for ids in (second, first, other):  # the last was not begun
            found = lists.take(ids)
            assert found is not None
            expected = sparse_search_space(run.settings, run.table, ids)
            for field in fields(expected):
                np.testing.assert_array_equal(
                    getattr(found.result(), field.name), getattr(expected, field.name)
                )
    assert [ids for ids, _ in listed] == [[0, 2], [4], [1, 3]]
    assert threading.get_ident() not in {thread for _, thread in listed}


def test_shared_orientations_need_no_lists(listed: list[tuple[list[int], int]]) -> None:
    run, _ = case("normal")
    with ListsAhead(run.settings, run.table) as lists:
        assert not lists.are_needed
        lists.begin(np.array([0]))
        assert lists.take(np.array([0])) is None
    assert listed == []


def test_a_step_lists_every_particle_once(
    session: Any, listed: list[tuple[list[int], int]]
) -> None:
    assert "local" in CASES
    run, _ = case("local")
    run.run(session)
    assert sorted(i for ids, _ in listed for i in ids) == [0, 1, 2, 3, 4]
