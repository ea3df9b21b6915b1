"""compact_rows: the kept rows and their significant translations as contiguous lists."""

from __future__ import annotations

import numpy as np
import pytest

from clrelion.device.session import DeviceSession
from tests.kernels.block_inputs import block_vectors, random_blocks
from tests.kernels.launch import Output, int32, rounded, run_kernel
from tests.reference.compact_rows import compact_rows
from tests.reference.row_weights import row_weights


@pytest.mark.parametrize("is_ordered", [False, True])
@pytest.mark.parametrize("group", [1, 16, 64])
@pytest.mark.parametrize(
    ("rows_per_block", "n_blocks", "n_trans", "n_children", "kept_part"),
    [
        (8, (4, 0, 3), 5, 4, 0.3),
        (1, (30,), 1, 1, 0.3),
        (32, (1,), 3, 9, 0.3),
        (1, (0, 1, 0, 0, 0), 3, 1, 1.0),
        (8, (2, 1), 5, 4, 0.0),
    ],
)
def test_random_weights(
    any_session: DeviceSession,
    is_ordered: bool,
    group: int,
    rows_per_block: int,
    n_blocks: tuple[int, ...],
    n_trans: int,
    n_children: int,
    kept_part: float,
) -> None:
    """More images than rows, images without blocks, and no weight at all among them."""
    rng = np.random.default_rng(n_trans)
    blocks = random_blocks(rng, n_blocks, 40, n_trans, rows_per_block)
    vectors = block_vectors(blocks, n_children)
    omegas = []
    for block in blocks:
        shape = rows_per_block, len(block.translations) * n_children
        omegas.append(rounded(any_session, rng.random(shape) * (rng.random(shape) < kept_part)))
    sums, counts = row_weights(omegas)
    kept = np.flatnonzero(counts)
    n_rows, n_images, n_entries = len(counts), len(n_blocks), int(counts.sum())
    rows = [rng.integers(0, 1000, n_rows) for _ in range(4)]
    place = rng.permutation(len(kept)) if is_ordered else np.arange(len(kept))
    order = np.argsort(place)
    entry_start = np.cumsum([0, *counts[kept][order]])
    row_start = Output(any_session, n_images + 1, np.int32)
    kept_rows = [Output(any_session, len(kept), np.int32) for _ in range(5)]
    kept_omega = Output(any_session, len(kept))
    trans, omega = Output(any_session, n_entries, np.int32), Output(any_session, n_entries)
    run_kernel(
        any_session, "compact_rows", (max(n_rows, n_images + 1),), (group,),
        np.concatenate([o.ravel() for o in omegas]), vectors.out, vectors.image, vectors.trans,
        vectors.n_trans, vectors.trans_list, vectors.block_start(n_images),
        *(int32(r) for r in rows), int32(counts > 0), sums, int32(np.cumsum([0, *(counts > 0)])),
        int32(place) if is_ordered else None, int32(entry_start), n_children, rows_per_block,
        n_rows, n_images, row_start, *kept_rows, kept_omega, trans, omega,
    )  # fmt: skip
    expected = compact_rows(omegas, blocks, n_children, [int(n) for n in kept[order]])
    entries = [entry for row in expected for entry in row]
    assert trans.read().tolist() == [t for t, _ in entries]
    assert omega.read().tolist() == [w for _, w in entries]
    image_of_row = np.repeat([block.image for block in blocks], rows_per_block)
    np.testing.assert_array_equal(
        row_start.read(), np.searchsorted(image_of_row[kept], np.arange(n_images + 1))
    )
    for found, given in zip(kept_rows, (image_of_row, *rows), strict=True):
        np.testing.assert_array_equal(found.read(), given[kept[order]])
    np.testing.assert_array_equal(kept_omega.read(), sums[kept[order]].astype(any_session.real))
