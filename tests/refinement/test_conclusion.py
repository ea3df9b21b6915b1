"""The end of an iteration: ranks whose results differ are noticed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from clrelion.errors import ClrelionError, PeerFailed, RanksDisagreeError
from clrelion.parallel.communicator import Communicator
from clrelion.refinement.conclusion import conclude_iteration
from clrelion.refinement.maximization_step import MaximizationResult
from tests.expectation.small_run import room_for_results
from tests.parallel.test_sharing import ThreadRank, run_ranks
from tests.refinement.small_state import options_of, run_state


class AskingRank(ThreadRank):
    """A rank that tells the others what it has."""

    def allgather(self, value: Any) -> list[Any]:
        board = self._board
        board.results[self.rank] = value
        board.barrier.wait()
        found = list(board.results)
        board.barrier.wait()
        return found


@pytest.mark.parametrize(("wrong", "moves"), [(None, True), (0, True), (2, True), (1, False)])
def test_ranks_with_other_poses_end_the_run(wrong: int | None, moves: bool) -> None:
    """Two particles are swapped on one of three ranks, even if all came from the same pose."""

    def work(comm: Communicator) -> Any:
        comm = AskingRank(comm.rank, comm.size, comm._board)  # type: ignore[attr-defined]
        comm.hosts = ["a", "b", "c"]
        state = run_state()
        results = room_for_results(state.table)
        n = state.table.n
        results.done_by[:] = np.arange(n) % 3
        results.turned_deg[:] = np.arange(n)
        results.origin_x_angst[:] = 0.5 * np.arange(n)
        if not moves:
            for name in ("origin_x_angst", "origin_y_angst", "class_number"):
                getattr(state.table, name)[:] = 0
        if comm.rank == wrong:
            for column in vars(results).values():
                if isinstance(column, np.ndarray):
                    column[[1, 4]] = column[[4, 1]]
        made = MaximizationResult(state.models, None, [])
        try:
            conclude_iteration(state, made, results, 14, 3, options_of(), comm)
        except ClrelionError as error:
            assert comm.has_agreed_to_fail
            return error
        return state.schedule

    found = run_ranks(3, work)
    if wrong is None:
        assert found[0] == found[1] == found[2]
        assert found[0].current_changes_orientations_deg == 2.5
        return
    assert isinstance(found[0], RanksDisagreeError)
    strange = {0: "rank 1 on b, rank 2 on c", 1: "rank 1 on b", 2: "rank 2 on c"}[wrong]
    assert f"after iteration 3 other poses are known to {strange} than to rank 0 on a" in str(
        found[0]
    )
    assert all(isinstance(one, PeerFailed) for one in found[1:])
