"""Results of the particles, in memory that all ranks see."""

from __future__ import annotations

import copy

import numpy as np

from clrelion.expectation.results import RESULT_TYPES, ParticleResults
from clrelion.parallel.common_columns import CommonColumns
from clrelion.parallel.communicator import Communicator
from tests.expectation.small_run import optics_group, particle_table


def test_results_become_the_table() -> None:
    """Iteration after iteration; what nobody did keeps its values, the table stays meanwhile."""
    n = 11
    table = particle_table([optics_group("a", 16, 2.0)], [0] * n)
    columns = CommonColumns(Communicator(), n, RESULT_TYPES)
    for iteration in range(4):
        present = copy.deepcopy(table)
        results = ParticleResults.in_columns(columns.begin(table.rot_deg), 3)
        assert not results.is_done.any()
        assert results.rank == 3
        ids = np.array([1, 4, 9]) + iteration % 2
        for column in vars(results).values():
            if isinstance(column, np.ndarray):
                column[ids] = 100 * iteration + ids
        results.keep_others(table)
        others = np.setdiff1d(np.arange(n), ids)
        np.testing.assert_array_equal(np.flatnonzero(results.is_done), ids)
        assert not results.turned_deg[others].any()
        for name, column in vars(present).items():
            if isinstance(column, np.ndarray):
                np.testing.assert_array_equal(getattr(table, name), column, err_msg=name)
        results.write_to(table)
        for name, column in vars(present).items():
            if isinstance(column, np.ndarray):
                found = getattr(table, name)
                assert found.dtype == column.dtype
                np.testing.assert_array_equal(found[others], column[others], err_msg=name)
        for name in ("rot_deg", "origin_y_angst", "class_number", "n_significant", "pmax"):
            np.testing.assert_array_equal(getattr(table, name)[ids], 100 * iteration + ids)
