"""best_rows: orientation and translation of the best sample of each image."""

from __future__ import annotations

import numpy as np
import pytest

from clrelion.device.session import DeviceSession
from tests.kernels.block_inputs import block_vectors, random_blocks
from tests.kernels.launch import Output, int32, run_kernel
from tests.reference.best_rows import best_rows


@pytest.mark.parametrize("group", [1, 16])
@pytest.mark.parametrize(("rows_per_block", "n_children"), [(8, 4), (1, 1), (3, 9)])
def test_every_sample(
    any_session: DeviceSession, group: int, rows_per_block: int, n_children: int
) -> None:
    """Each sample of an image in turn; another image has none."""
    rng = np.random.default_rng(rows_per_block)
    blocks = random_blocks(rng, (2, 0, 4), 40, 5, rows_per_block)
    vectors = block_vectors(blocks, n_children)
    sizes = np.diff(vectors.sample_start(3))
    rows = [rng.integers(0, 1000, len(blocks) * rows_per_block) for _ in range(3)]
    counts = [5, 0, 17]
    for place in range(int(sizes.max())):
        best = [place % int(sizes[0]), -1, place % int(sizes[2])]
        found = np.column_stack([best, counts])
        pose = Output(any_session, (3, 5), np.int32)
        run_kernel(
            any_session, "best_rows", (3,), (group,),
            int32(found), vectors.block_start(3), vectors.out, vectors.trans, vectors.n_trans,
            vectors.trans_list, *(int32(r) for r in rows), rows_per_block, n_children, 3, pose,
        )  # fmt: skip
        expected = [
            (*(int(r[row]) for r in rows), t, n) if row >= 0 else (-1, -1, -1, -1, n)
            for (row, t), n in zip(best_rows(best, blocks, n_children), counts, strict=True)
        ]
        assert [tuple(p) for p in pose.read().tolist()] == expected
