"""Parts of a batch: as many images as the plan has room for, each exactly once."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from clrelion.expectation.fine_room import FineRoom

N_LIST, N_PADDED, N_TRANS = 50, 64, 12


def room(
    rng: np.random.Generator, fine_bytes: int, largest: int, is_cpu: bool, has_table: bool
) -> tuple[FineRoom, Any]:
    """Room for 23 images with up to ten blocks of up to four translations."""
    blocks = rng.integers(0, 11, 23)
    samples = np.array([int(rng.integers(1, 5, n).sum()) for n in blocks])
    significant: Any = SimpleNamespace(
        n_significant=samples,
        block_start=np.concatenate([[0], np.cumsum(blocks)]),
        sample_start=np.concatenate([[0], np.cumsum(samples)]),
    )
    session: Any = SimpleNamespace(real=np.float32, is_cpu=is_cpu)
    settings: Any = SimpleNamespace(n_child_orientations=8, n_child_translations=4)
    fine = SimpleNamespace(
        pixels=SimpleNamespace(n_padded=N_PADDED), translations_px=np.zeros((N_TRANS, 2))
    )
    setup: Any = SimpleNamespace(fine=fine, pixels=SimpleNamespace(n=N_LIST))
    plan: Any = SimpleNamespace(fine_bytes=fine_bytes, largest_bytes=largest)
    return FineRoom(session, settings, setup, plan, significant, has_table), significant


def needs(significant: Any, first: int, last: int, stored: bool, has_table: bool) -> list[int]:
    """Bytes of a part in all, and of its largest buffers."""
    n = last - first
    rows = 8 * int(significant.block_start[last] - significant.block_start[first])
    samples = 32 * int(significant.sample_start[last] - significant.sample_start[first])
    slices = 0 if has_table else rows * 2 * N_PADDED * 4
    shifted = n * (N_TRANS if stored else 1) * 2 * N_PADDED * 4
    total = slices + 12 * samples + 96 * rows + shifted + n * 18 * N_LIST * 4
    return [total, slices, 4 * samples, shifted, n * 5 * N_LIST * 4]


@pytest.mark.parametrize("has_table", [False, True])
@pytest.mark.parametrize("is_cpu", [False, True])
@pytest.mark.parametrize(
    ("fine_bytes", "largest"),
    [(1, 1), (100_000, 10**9), (300_000, 40_000), (10**9, 15_000), (10**9, 10**9)],
)
def test_parts_are_as_large_as_there_is_room(
    fine_bytes: int, largest: int, is_cpu: bool, has_table: bool
) -> None:
    rng = np.random.default_rng(fine_bytes + largest)
    for _ in range(20):
        given, significant = room(rng, fine_bytes, largest, is_cpu, has_table)

        def fits(first: int, last: int, of: Any = significant) -> bool:
            total, *single = needs(of, first, last, is_cpu, has_table)
            return total <= fine_bytes and max(single) <= largest

        first = 0
        while first < 23:
            last = given.part_end(first)
            assert last == first + 1 or (last > first and fits(first, last))
            assert last == 23 or not fits(first, last + 1)
            first = last
        assert first == 23

