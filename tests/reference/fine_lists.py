"""Blocks and rows of the fine pass from the significant samples (specification E 4.2, 5.4)."""

from __future__ import annotations

from typing import NamedTuple


class FineBlock(NamedTuple):
    """A significant coarse orientation and its children (class, frame, psi)."""

    image: int
    trans: int
    n_trans: int
    out: int
    log_prior: float
    direction: int
    rows: list[tuple[int, int, int]]


def fine_lists(
    significant: list[tuple[int, int, int, int, float, int, int]],
    first_image: int,
    n_dir: int,
    n_children: int,
    n_child_psi: int,
    n_child_trans: int,
) -> list[FineBlock]:
    """List (image, class, direction, psi, log-prior, first translation, number of them) as blocks.

    Samples count from those of the first block.
    """
    blocks, out = [], 0
    for image, k, direction, psi, log_prior, trans, n_trans in significant:
        per_dir = n_children // n_child_psi
        rows = [
            (k, direction * per_dir + d, psi * n_child_psi + p)
            for d in range(per_dir)
            for p in range(n_child_psi)
        ]
        blocks.append(
            FineBlock(
                image - first_image, trans, n_trans, out, log_prior, k * n_dir + direction, rows
            )
        )
        out += n_children * n_trans * n_child_trans
    return blocks
