"""The order in which a run goes through its particles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from clrelion.particles.half_sets import processing_order

if TYPE_CHECKING:
    from clrelion.refinement.state import RunState

__all__ = ["ProcessingOrder", "order_of_run"]


@dataclass(frozen=True)
class ProcessingOrder:
    """Processing order of the particles, in read-only arrays.

    Attributes
    ----------
    everybody
        int64, (n,); half 1 first.
    halves
        int64; of the particles of each model.
    """

    everybody: NDArray[np.int64]
    halves: list[NDArray[np.int64]]

    def __post_init__(self) -> None:
        for order in (self.everybody, *self.halves):
            order.flags.writeable = False


def order_of_run(state: RunState, random_seed: int) -> ProcessingOrder:
    """Processing order of the particles: shuffled once a run.

    The same in a continued run, so that it goes on as if it had not been interrupted.  It hangs on
    the seed, half-sets and optics groups, which a run does not change, and on the number of models,
    which it changes where it joins the half-sets.
    """
    if state.order is None or len(state.order.halves) != len(state.models):
        everybody = processing_order(state.table, random_seed + 1 if random_seed else 0)
        halves = []
        for rows in state.membership.rows:
            is_member = np.zeros(state.table.n, dtype=np.bool_)
            is_member[rows] = True
            halves.append(everybody[is_member[everybody]])
        state.order = ProcessingOrder(everybody, halves)
    return state.order
