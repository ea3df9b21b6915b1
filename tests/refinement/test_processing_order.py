"""Half-sets, groups and the order of the particles, which are found out once."""

from __future__ import annotations

import copy

import numpy as np
import pytest

from clrelion.particles.half_sets import processing_order
from clrelion.refinement.processing_order import order_of_run
from tests.refinement.small_state import half_model, run_state


@pytest.mark.parametrize("is_split", [False, True])
def test_order_and_membership(is_split: bool) -> None:
    state = run_state(is_split=is_split)
    table = state.table
    order = order_of_run(state, 5)
    expected = processing_order(table, 6)
    np.testing.assert_array_equal(order.everybody, expected)
    assert len(order.halves) == len(state.models)
    for i, half in enumerate(order.halves):
        is_member = table.random_subset == i + 1 if is_split else np.ones(table.n, dtype=np.bool_)
        np.testing.assert_array_equal(half, expected[is_member[expected]])
        np.testing.assert_array_equal(state.membership.rows[i], np.flatnonzero(is_member))
        for column, counts in (
            (table.optics_group, state.membership.by_optics_group[i]),
            (table.scale_group, state.membership.by_scale_group[i]),
        ):
            np.testing.assert_array_equal(counts, np.bincount(column[is_member], minlength=2))
    membership = state.membership
    assert order_of_run(state, 5) is order
    assert state.snapshot().membership is membership
    for array in (table.random_subset, table.optics_group, table.scale_group, *order.halves):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1


def test_what_a_run_changes_is_found_out_anew() -> None:
    state = run_state(is_split=True)
    both, membership = order_of_run(state, 5), state.membership
    state.models = state.models[:1]  # the half-sets are joined
    joined = order_of_run(state, 5)
    np.testing.assert_array_equal(joined.everybody, both.everybody)
    np.testing.assert_array_equal(joined.halves[0], both.everybody)
    assert state.membership.rows[0].tolist() == list(range(state.table.n))
    state.models.append(half_model(1))
    assert state.membership is not membership
    other = copy.copy(state.table)
    other.scale_group = np.array([1, 1, 1, 1, 1, 0])
    state.table = other
    assert [counts.tolist() for counts in state.membership.by_scale_group] == [[1, 2], [0, 3]]
