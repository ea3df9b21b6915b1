"""The order in which a run goes through its particles."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from clrelion.particles.half_sets import processing_order
from clrelion.refinement.state import RunState

__all__ = ["orders_of_halves", "shuffled_order"]


def shuffled_order(state: RunState, random_seed: int) -> NDArray[np.int64]:
    """Processing order of the particles: shuffled once a run, half 1 first.

    The same in a continued run, so that it goes on as if it had not been interrupted.
    """
    if state.order is None:
        state.order = processing_order(state.table, random_seed + 1 if random_seed else 0)
    return state.order


def orders_of_halves(state: RunState, random_seed: int) -> list[NDArray[np.int64]]:
    """Processing order of the particles of each half-set."""
    order = shuffled_order(state, random_seed)
    orders = []
    for i_half in range(len(state.models)):
        is_member = np.zeros(state.table.n, dtype=np.bool_)
        is_member[state.members(i_half)] = True
        orders.append(order[is_member[order]])
    return orders
