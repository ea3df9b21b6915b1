"""compact_rows: the significant translations of the kept rows."""

from __future__ import annotations

import numpy as np
import pytest

from clrelion.device.session import DeviceSession
from tests.kernels.block_inputs import block_vectors, random_blocks
from tests.kernels.launch import Output, int32, rounded, run_kernel
from tests.reference.compact_rows import compact_rows
from tests.reference.row_weights import row_weights


@pytest.mark.parametrize("group", [1, 16, 64])
@pytest.mark.parametrize(
    ("rows_per_block", "n_blocks", "n_trans", "n_children"),
    [(8, 7, 5, 4), (1, 30, 1, 1), (32, 1, 3, 9)],
)
def test_random_weights(
    any_session: DeviceSession,
    group: int,
    rows_per_block: int,
    n_blocks: int,
    n_trans: int,
    n_children: int,
) -> None:
    rng = np.random.default_rng(n_trans)
    blocks = random_blocks(rng, [n_blocks], 40, n_trans, rows_per_block)
    vectors = block_vectors(blocks, n_children)
    omegas = []
    for block in blocks:
        shape = rows_per_block, len(block.translations) * n_children
        omegas.append(rounded(any_session, rng.random(shape) * (rng.random(shape) < 0.3)))
    _, counts = row_weights(omegas)
    kept = np.flatnonzero(counts)
    start = np.cumsum([0, *counts[kept]])
    trans = Output(any_session, int(start[-1]), np.int32)
    omega = Output(any_session, int(start[-1]))
    run_kernel(
        any_session, "compact_rows", (len(kept),), (group,),
        np.concatenate([o.ravel() for o in omegas]), vectors.out, vectors.trans, vectors.n_trans,
        vectors.trans_list, n_children, rows_per_block, int32(kept), int32(start), len(kept),
        trans, omega,
    )  # fmt: skip
    expected = compact_rows(omegas, blocks, n_children, [int(n) for n in kept])
    entries = [entry for row in expected for entry in row]
    assert trans.read().tolist() == [t for t, _ in entries]
    assert omega.read().tolist() == [w for _, w in entries]
