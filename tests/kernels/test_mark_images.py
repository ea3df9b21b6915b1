"""mark_images: which images have kept rows of which orientations."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from clrelion.device.session import DeviceSession
from tests.kernels.launch import Output, run_kernel
from tests.kernels.row_inputs import (
    CASES,
    N_FRAMES,
    N_ORIENTATIONS,
    N_PSIS,
    packed_bits,
    random_rows,
)
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
    rng = np.random.default_rng(1)
    rows = random_rows(rng, blocks_of_image, rows_per_block, kept_part)
    expected = packed_bits(mark_images(rows.kept, N_ORIENTATIONS, rows.n_images))
    # bits that are set stay
    there = packed_bits(rng.random((N_ORIENTATIONS, rows.n_images)) < 0.1)
    marks = Output(any_session, expected.shape, np.uint32, start=there)
    run_kernel(
        any_session, "mark_images", (rows.n,), (group,),
        rows.block_image, *rows.columns, rows.is_kept, rows_per_block, rows.n, N_FRAMES, N_PSIS,
        rows.n_words, marks,
    )  # fmt: skip
    np.testing.assert_array_equal(marks.read(), expected | there)
