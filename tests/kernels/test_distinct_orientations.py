"""distinct_orientations: the marked orientations as a list."""

from __future__ import annotations

import numpy as np
import pytest

from clrelion.device.session import DeviceSession
from tests.kernels.launch import Output, run_kernel
from tests.kernels.list_inputs import N_DIR, N_PSI, random_lists
from tests.reference.distinct_orientations import distinct_orientations


@pytest.mark.parametrize("group", [1, 16, 64])
@pytest.mark.parametrize("counts", [(3, 11, 1), (1,), (70, 69)])
def test_random_lists(any_session: DeviceSession, group: int, counts: tuple[int, ...]) -> None:
    lists = random_lists(np.random.default_rng(2), counts)
    expected = distinct_orientations(lists.entries)
    found = [Output(any_session, len(expected), np.int32) for _ in range(3)]
    run_kernel(
        any_session, "distinct_orientations", (lists.flags.size,), (group,),
        lists.flags, lists.slot_of, lists.flags.size, N_DIR, N_PSI, *found,
    )  # fmt: skip
    assert list(zip(*(f.read().tolist() for f in found), strict=True)) == expected
