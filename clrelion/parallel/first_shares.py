"""Who owns which particles at first, before speeds are known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["initial_owners"]

_SNAP = 0.05
"""A share that reaches into another half-set by less than this part of a share ends before it."""


def initial_owners(
    orders: Sequence[NDArray[np.int64]], n: int, weights: Sequence[float]
) -> NDArray[np.int32]:
    """Share particles out in proportion to the speeds of the ranks.

    Parameters
    ----------
    orders
        int64; particles of each half-set in processing order.
    n
        Rows of the particle table.
    weights
        Guessed speed of each rank.

    Returns
    -------
    int32, (n,); rank that owns each particle, -1 for those in no half-set.  Half-sets follow one
    another, so that a rank has particles of as few of them as possible.
    """
    owners = np.full(n, -1, dtype=np.int32)
    total = sum(map(len, orders))
    cuts = np.cumsum(weights)[:-1] / np.sum(weights) * total
    borders = np.cumsum([len(order) for order in orders])[:-1]
    for i, cut in enumerate(cuts):
        near = borders[np.abs(borders - cut) <= _SNAP * total / len(weights)]
        cuts[i] = near[0] if len(near) else round(cut)
    everybody = np.concatenate([np.asarray(order) for order in orders])
    owners[everybody] = np.searchsorted(cuts, np.arange(total), side="right")
    return owners
