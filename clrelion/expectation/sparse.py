"""Coarse pass of local searches: each image is compared with its own list of orientations.

In: the lists of a batch on the device.  Out: squared differences, image by image (E 5.3, 5.4).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from clrelion.device.prefix_sums import prefix_sums
from clrelion.expectation.device_space import DeviceSpace
from clrelion.expectation.differences import Blocks, CoarseSamples, block_differences
from clrelion.expectation.pixels import PixelList
from clrelion.expectation.projections import Projector, SliceRows
from clrelion.expectation.sampling_tables import OrientationTables
from clrelion.expectation.scoring import ScoringOperands

if TYPE_CHECKING:
    from clrelion.device.array import Array
    from clrelion.device.session import DeviceSession

__all__ = ["sparse_differences"]

_ROWS_PER_BLOCK = 8
"""Orientations of one image in a block."""


@dataclass(frozen=True)
class _Slots:
    """Slices that a batch needs, in the order of each image's list.

    Attributes
    ----------
    rows
        Their orientations.
    slot_of
        int32 device array; slice of each orientation of the grid, or None: every entry of the lists
        has a slice of its own, with its number.
    n_dir, n_psi
        Of the grid, to number its orientations.
    """

    rows: SliceRows
    slot_of: Array | None
    n_dir: int
    n_psi: int


def sparse_differences(
    session: DeviceSession,
    operands: ScoringOperands,
    space: DeviceSpace,
    projector: Projector,
    tables: OrientationTables,
    pixels: PixelList,
    pixel_xy: Array,
    rows_per_run: int,
) -> CoarseSamples:
    """Compare each image with its own list of orientations and all translations.

    Parameters
    ----------
    rows_per_run
        Slices made at a time, from the memory plan.

    Returns
    -------
    CoarseSamples
        values real, flat; image by image, orientation by orientation, translations innermost.
    """
    n_trans = operands.n_trans
    values = session.empty(space.n_entries * n_trans, session.real)
    slots = _slots(session, space, tables, projector.n_classes)
    trans_list = session.to_device(np.arange(n_trans), np.int32)
    row_projection = session.empty(space.n_entries, np.int32)
    for first in range(0, slots.rows.n, rows_per_run):
        last = min(first + rows_per_run, slots.rows.n)
        slices = projector.rows(
            tables.coarse_frames,
            tables.coarse_psis,
            slots.rows.part(session, first, last),
            pixels,
            pixel_xy,
        )
        blocks = _blocks(session, space, slots, first, last, n_trans, trans_list, row_projection)
        block_differences(session, operands, slices, blocks, 1, pixels.n_padded, values)
    start = np.concatenate([[0], np.cumsum(space.n_orientations)[:-1]])
    return CoarseSamples(values, start * n_trans, n_trans, 1, n_trans)


def _slots(
    session: DeviceSession, space: DeviceSpace, tables: OrientationTables, n_classes: int
) -> _Slots:
    """Find the slices to make: images share those of the same orientation where that is likely."""
    n_dir, n_psi = tables.n_dir, tables.n_psi
    own = SliceRows(space.n_entries, space.classes, space.directions, space.psis)
    n_all = n_classes * n_dir * n_psi
    if n_all > space.n_entries:
        return _Slots(own, None, n_dir, n_psi)
    flags = session.zeros(n_all, np.int32)
    session.kernel("expectation/mark_orientations")(
        (space.n_entries,),
        None,
        space.classes,
        space.directions,
        space.psis,
        space.n_entries,
        n_dir,
        n_psi,
        flags,
    )
    slot_of = prefix_sums(session, flags, n_all)
    n = session.read_int(slot_of, n_all)
    rows = SliceRows(n, *(session.empty(n, np.int32) for _ in range(3)))
    session.kernel("expectation/distinct_orientations")(
        (n_all,), None, flags, slot_of, n_all, n_dir, n_psi, rows.classes, rows.frames, rows.psis
    )
    return _Slots(rows, slot_of, n_dir, n_psi)


def _n_own_blocks(space: DeviceSpace, first: int, last: int) -> int:
    """Count the blocks of entries ``first`` to ``last`` - 1, which are the slices too."""
    ends = np.cumsum(space.n_orientations)
    begins = np.maximum(ends - space.n_orientations, first)
    counts = np.maximum(np.minimum(ends, last) - begins, 0)
    return int((-(-counts // _ROWS_PER_BLOCK)).sum())


def _blocks(
    session: DeviceSession,
    space: DeviceSpace,
    slots: _Slots,
    first: int,
    last: int,
    n_trans: int,
    trans_list: Array,
    row_projection: Array,
) -> Blocks:
    """List the comparisons with slices ``first`` to ``last`` - 1."""
    n = len(space.n_orientations)
    entries = (space.classes, space.directions, space.psis, slots.slot_of)
    grid = (slots.n_dir, slots.n_psi)
    begin, count, n_blocks = (session.empty(n, np.int32) for _ in range(3))
    session.kernel("expectation/image_ranges")(
        (n,),
        None,
        space.counts,
        space.prior_base,
        *entries,
        *grid,
        first,
        last,
        _ROWS_PER_BLOCK,
        n,
        begin,
        count,
        n_blocks,
    )
    block_start = prefix_sums(session, n_blocks, n)
    if slots.slot_of is None:
        total = _n_own_blocks(space, first, last)
    else:
        total = session.read_int(block_start, n)
    image, row, n_rows, trans, n_of_trans = (session.empty(total, np.int32) for _ in range(5))
    out = session.empty(total, np.int64)
    session.kernel("expectation/range_blocks")(
        (n,),
        None,
        space.prior_base,
        begin,
        count,
        block_start,
        *entries,
        *grid,
        first,
        _ROWS_PER_BLOCK,
        n_trans,
        n,
        image,
        row,
        n_rows,
        trans,
        n_of_trans,
        out,
        row_projection,
    )
    return Blocks(
        total,
        image,
        row,
        n_rows,
        trans,
        n_of_trans,
        out,
        row_projection,
        trans_list,
        _ROWS_PER_BLOCK,
        n_trans,
    )
