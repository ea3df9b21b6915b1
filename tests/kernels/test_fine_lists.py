"""fine_lists: the significant samples as blocks of the fine pass."""

from __future__ import annotations

import numpy as np
import pytest

from clrelion.device.session import DeviceSession
from tests.kernels.launch import Output, int32, rounded, run_kernel
from tests.kernels.list_inputs import N_CLASSES, N_DIR, N_PSI, random_lists
from tests.reference.fine_lists import fine_lists


@pytest.mark.parametrize("group", [1, 16, 64])
@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize(("n_children", "n_child_psi"), [(8, 2), (1, 1), (64, 4)])
@pytest.mark.parametrize("table", [False, True])
def test_random_lists(
    any_session: DeviceSession,
    group: int,
    dense: bool,
    n_children: int,
    n_child_psi: int,
    table: bool,
) -> None:
    """Blocks from the third one on, of images from the second one on."""
    rng = np.random.default_rng(n_children)
    lists = random_lists(rng, (3, 21, 1, 70, 9))
    n_all = N_CLASSES * N_DIR * N_PSI
    if dense:  # all images share one list; each may have log-priors of its own
        lists = random_lists(rng, (n_all,))
    n_images, n_child_trans, first_image, first_block = 5, 4, 1, 2
    counts = np.full(n_images, n_all) if dense else lists.counts
    base = np.arange(n_images) * n_all if dense else lists.base
    log_prior = rounded(any_session, rng.normal(size=int(counts.sum())))
    chosen = [(0, 0), (0, 2), *((i, e) for i in (1, 3, 4) for e in range(0, counts[i], 4))]
    n_trans = rng.integers(1, 5, len(chosen))
    trans = np.cumsum([0, *n_trans])
    significant = []
    for (i, e), first, number in zip(chosen, trans, n_trans, strict=False):
        k, d, psi = lists.images[0][e] if dense else lists.images[i][e]
        significant.append((i, k, d, psi, log_prior[base[i] + e], int(first), int(number)))
    expected = fine_lists(
        significant[first_block:], first_image, N_DIR, n_children, n_child_psi, n_child_trans
    )
    n = len(expected)
    image, row, n_rows, found_trans, found_n_trans, direction = (
        Output(any_session, n, np.int32) for _ in range(6)
    )
    out, prior = Output(any_session, n, np.int64), Output(any_session, n)
    rows = [Output(any_session, n * n_children, np.int32) for _ in range(4)]
    run_kernel(
        any_session, "fine_lists", (n,), (group,),
        int32([i for i, _ in chosen]), int32([e for _, e in chosen]), int32(trans), int32(base),
        log_prior, *lists.columns, int(dense), int(table), N_DIR, N_PSI, n_children, n_child_psi,
        n_child_trans, first_block, first_image, int(trans[first_block]), n,
        image, row, n_rows, found_trans, found_n_trans, out, prior, direction, *rows,
    )  # fmt: skip
    assert row.read().tolist() == [b * n_children for b in range(n)]
    assert set(n_rows.read().tolist()) == {n_children}
    found = zip(
        *(o.read().tolist() for o in (image, found_trans, found_n_trans, out, prior, direction)),
        strict=True,
    )
    assert list(found) == [tuple(block[:6]) for block in expected]
    children = [child for block in expected for child in block.rows]
    assert list(zip(*(o.read().tolist() for o in rows[:3]), strict=True)) == children
    numbers = np.arange(n)
    if table:
        numbers = np.array(
            [(s[1] * N_DIR + s[2]) * N_PSI + s[3] for s in significant[first_block:]]
        )
    slices = numbers[:, None] * n_children + np.arange(n_children)
    np.testing.assert_array_equal(rows[3].read(), slices.ravel())
