"""group_rows: the rows of one orientation follow each other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from clrelion.device.session import DeviceSession
from tests.kernels.launch import Output, int32, run_kernel
from tests.kernels.row_inputs import (
    CASES,
    N_FRAMES,
    N_ORIENTATIONS,
    N_PSIS,
    packed_bits,
    random_rows,
)
from tests.reference.count_images import count_images
from tests.reference.group_rows import group_rows
from tests.reference.mark_images import mark_images


@pytest.mark.parametrize("group", [1, 64])
@pytest.mark.parametrize(("blocks_of_image", "rows_per_block", "kept_part"), CASES)
def test_random_rows(
    any_session: DeviceSession,
    group: int,
    blocks_of_image: Sequence[int],
    rows_per_block: int,
    kept_part: float,
) -> None:
    """Images ascending within an orientation: the lists are the same whatever the device does."""
    rows = random_rows(np.random.default_rng(3), blocks_of_image, rows_per_block, kept_part)
    marks = mark_images(rows.kept, N_ORIENTATIONS, rows.n_images)
    counts = count_images(marks)
    expected_place, expected_start = group_rows(rows.kept)
    place = Output(any_session, len(expected_place), np.int32)
    start = Output(any_session, len(expected_start), np.int32)
    run_kernel(
        any_session, "group_rows", (rows.n + 1,), (group,),
        rows.block_image, *rows.columns, rows.is_kept, rows.kept_before, packed_bits(marks),
        int32(np.cumsum([0, *counts])), int32(np.cumsum([0, *(counts > 0)])), rows_per_block,
        rows.n, N_FRAMES, N_PSIS, N_ORIENTATIONS, rows.n_words, place, start,
    )  # fmt: skip
    assert place.read().tolist() == expected_place
    assert start.read().tolist() == expected_start
