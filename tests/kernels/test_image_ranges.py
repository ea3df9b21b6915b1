"""image_ranges: the entries of each image in a run of slices."""

from __future__ import annotations

import numpy as np
import pytest

from clrelion.device.session import DeviceSession
from tests.kernels.launch import Output, run_kernel
from tests.kernels.list_inputs import N_DIR, N_PSI, random_lists
from tests.reference.image_ranges import image_ranges


@pytest.mark.parametrize("group", [1, 16, 64])
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("run", [(0, 10**6), (3, 4), (5, 17), (0, 1), (40, 60)])
def test_random_lists(
    any_session: DeviceSession, group: int, shared: bool, run: tuple[int, int]
) -> None:
    lists = random_lists(np.random.default_rng(3), (3, 21, 1, 70, 9))
    n = len(lists.images)
    first, count, blocks = (Output(any_session, n, np.int32) for _ in range(3))
    run_kernel(
        any_session, "image_ranges", (n,), (group,),
        lists.counts, lists.base, *lists.columns, lists.slot_of if shared else None,
        N_DIR, N_PSI, *run, 8, n, first, count, blocks,
    )  # fmt: skip
    expected = image_ranges(lists.slots(shared), *run)
    assert list(zip(first.read().tolist(), count.read().tolist(), strict=True)) == expected
    assert blocks.read().tolist() == [-(-c // 8) for _, c in expected]
