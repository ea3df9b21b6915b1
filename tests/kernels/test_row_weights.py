"""row_weights: total weight and number of significant translations of each row."""

from __future__ import annotations

import numpy as np
import pytest

from clrelion.device.session import DeviceSession
from tests import tolerances
from tests.kernels.block_inputs import block_vectors, random_blocks
from tests.kernels.launch import Output, rounded, run_kernel
from tests.reference.row_weights import row_weights


@pytest.mark.parametrize("group", [1, 16, 64])
@pytest.mark.parametrize(
    ("rows_per_block", "n_blocks", "n_trans", "n_children"),
    [(8, 7, 5, 4), (1, 3, 1, 1), (32, 1, 3, 9)],
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
        omegas.append(rounded(any_session, rng.random(shape) * (rng.random(shape) < 0.4)))
    omegas[0][:] = 0.0
    n_rows = n_blocks * rows_per_block
    sums = Output(any_session, n_rows)
    counts, kept = (Output(any_session, n_rows, np.int32) for _ in range(2))
    run_kernel(
        any_session, "row_weights", (n_rows,), (group,),
        np.concatenate([o.ravel() for o in omegas]), vectors.out, vectors.n_trans, n_children,
        rows_per_block, n_rows, sums, counts, kept,
    )  # fmt: skip
    expected_sums, expected_counts = row_weights(omegas)
    tolerance = tolerances.of_sum(any_session.real, n_trans * n_children)
    tolerances.assert_close(sums.read(), expected_sums, tolerance)
    np.testing.assert_array_equal(counts.read(), expected_counts)
    np.testing.assert_array_equal(kept.read(), expected_counts > 0)
