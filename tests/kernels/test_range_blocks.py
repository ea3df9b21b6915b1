"""range_blocks: blocks over a range of each image's list."""

from __future__ import annotations

import numpy as np
import pytest

from clrelion.device.session import DeviceSession
from tests.kernels.launch import Output, int32, run_kernel
from tests.kernels.list_inputs import N_DIR, N_PSI, random_lists
from tests.reference.image_ranges import image_ranges
from tests.reference.range_blocks import range_blocks


@pytest.mark.parametrize("group", [1, 16, 64])
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("run", [(0, 10**6), (3, 4), (5, 17)])
def test_random_lists(
    any_session: DeviceSession, group: int, shared: bool, run: tuple[int, int]
) -> None:
    lists = random_lists(np.random.default_rng(4), (3, 21, 1, 70, 9))
    n, n_trans, slots = len(lists.images), 9, lists.slots(shared)
    ranges = image_ranges(slots, *run)
    expected = range_blocks(ranges, lists.base.tolist(), 8)
    starts = np.cumsum([0, *(-(-count // 8) for _, count in ranges)])
    found = [Output(any_session, len(expected), np.int32) for _ in range(5)]
    out = Output(any_session, len(expected), np.int64)
    projection = Output(any_session, len(lists.entries), np.int32)
    run_kernel(
        any_session, "range_blocks", (n,), (group,),
        lists.base, int32([r[0] for r in ranges]), int32([r[1] for r in ranges]), int32(starts),
        *lists.columns, lists.slot_of if shared else None, N_DIR, N_PSI, run[0], 8, n_trans, n,
        *found, out, projection,
    )  # fmt: skip
    image, row, n_rows, trans, n_of_trans = (f.read() for f in found)
    assert list(zip(image.tolist(), row.tolist(), n_rows.tolist(), strict=True)) == expected
    assert not trans.any()
    assert (n_of_trans == n_trans).all()
    np.testing.assert_array_equal(out.read(), row.astype(np.int64) * n_trans)
    flat = np.concatenate([np.array(of_image) for of_image in slots])
    inside = (flat >= run[0]) & (flat < run[1])
    np.testing.assert_array_equal(projection.read_untouched(), ~inside)
    np.testing.assert_array_equal(projection.read()[inside], flat[inside] - run[0])
