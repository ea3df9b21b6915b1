"""mark_orientations: which orientations occur."""

from __future__ import annotations

import numpy as np
import pytest

from clrelion.device.session import DeviceSession
from tests.kernels.launch import Output, run_kernel
from tests.kernels.list_inputs import N_CLASSES, N_DIR, N_PSI, random_lists
from tests.reference.mark_orientations import mark_orientations


@pytest.mark.parametrize("group", [1, 16, 64])
@pytest.mark.parametrize("counts", [(3, 11, 1), (1,), (70, 69)])
def test_random_lists(any_session: DeviceSession, group: int, counts: tuple[int, ...]) -> None:
    lists = random_lists(np.random.default_rng(1), counts)
    expected = mark_orientations(lists.entries, N_CLASSES, N_DIR, N_PSI)
    flags = Output(any_session, expected.size, np.int32, start=np.zeros(expected.size))
    run_kernel(
        any_session, "mark_orientations", (sum(counts),), (group,),
        *lists.columns, sum(counts), N_DIR, N_PSI, flags,
    )  # fmt: skip
    np.testing.assert_array_equal(flags.read(), expected)
