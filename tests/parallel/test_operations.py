"""The communicator, the counters, the reduction and the half-sets over several ranks."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.parallel.conftest import ROOT, Launcher

CHECKS = Path(__file__).with_name("check_operations.py")


@pytest.mark.parametrize("n_ranks", [3])
def test_operations(launcher: Launcher, n_ranks: int) -> None:
    done = launcher.run(n_ranks, ROOT, str(CHECKS), str(n_ranks), timeout=60.0)
    assert done.code == 0, done.err[-3000:]
    content = [line for line in done.out.splitlines() if line.endswith("is content")]
    assert sorted(content) == [f"rank {r} of {n_ranks} is content" for r in range(n_ranks)]
