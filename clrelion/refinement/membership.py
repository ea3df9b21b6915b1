"""Which particles belong to which model and groups: found out once, as a run does not change it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from clrelion.io.particle_table import ParticleTable

__all__ = ["Membership"]


class Membership:
    """Particles of each model, counted by group.

    It hangs on half-sets, optics groups and scale groups of a table; nobody can write to these
    columns any more.

    Parameters
    ----------
    table
        Particles.
    n_models
        Two where the half-sets have a model each, else one.

    Attributes
    ----------
    rows
        int64; rows of the table that belong to each model, in table order, read-only.
    by_optics_group, by_scale_group
        int64; number of particles of each model in each group, read-only.
    """

    def __init__(self, table: ParticleTable, n_models: int) -> None:
        self._columns = _columns(table)
        self._n_models = n_models
        rows = [np.arange(table.n)]
        if n_models == 2:
            rows = [np.flatnonzero(table.random_subset == half) for half in (1, 2)]
        self.rows = [_fixed(one) for one in rows]
        self.by_optics_group, self.by_scale_group = (
            [_fixed(np.bincount(column[of_model], minlength=n)) for of_model in rows]
            for column, n in (
                (table.optics_group, len(table.optics)),
                (table.scale_group, len(table.group_names)),
            )
        )
        for column in self._columns:
            _fixed(column)

    def is_of(self, table: ParticleTable, n_models: int) -> bool:
        """Whether it is the membership of these."""
        return n_models == self._n_models and all(
            one is other and not one.flags.writeable
            for one, other in zip(_columns(table), self._columns, strict=True)
        )


def _columns(table: ParticleTable) -> list[NDArray[np.int64]]:
    return [table.random_subset, table.optics_group, table.scale_group]


def _fixed(array: NDArray[np.int64]) -> NDArray[np.int64]:
    """Let nobody write to an array any more."""
    array.flags.writeable = False
    return array
