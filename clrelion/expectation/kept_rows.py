"""The orientations of a part of a batch that have weight, and which images share them.

In: posterior weights of the fine samples.  Out: rows, one an image and orientation, with their
significant translations as contiguous lists on the device.  Specification E 5.6.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from clrelion.device.prefix_sums import prefix_sums
from clrelion.expectation.fine import FineLists
from clrelion.expectation.sampling_tables import OrientationTables

if TYPE_CHECKING:
    from clrelion.device.array import Array
    from clrelion.device.session import DeviceSession

__all__ = ["KeptRows", "RowGroups", "RowWeights", "keep_rows"]

_MARK_BYTES = 48
"""Spent on finding the rows of each orientation, a row of the part: what the lists have not yet
taken.  With fewer rows in proportion to all orientations there is little to share."""

@dataclass(frozen=True)
class RowGroups:
    """Rows of one orientation, next to each other in the lists.

    Attributes
    ----------
    n
        Groups.
    start
        int32 device array, (n + 1,); first row of each group.
    place
        int32 device array, (n_rows,); where the rows are, image after image.
    """

    n: int
    start: Array
    place: Array


class RowWeights:
    """Of every row of a part: weight, significant translations, whether it is kept.

    Attributes
    ----------
    sums
        real device array, (n,); posterior weight.
    counts, is_kept, kept_before
        int32 device arrays; translations with weight, 1 for the rows that are kept, and how many
        of them are before each, (n + 1,).
    """

    def __init__(
        self, session: DeviceSession, sums: Array, counts: Array, is_kept: Array, n: int
    ) -> None:
        self._session = session
        self._n = n
        self.sums = sums
        self.counts = counts
        self.is_kept = is_kept
        self.kept_before = prefix_sums(session, is_kept, n)

    @classmethod
    def of(
        cls, session: DeviceSession, omega: Array, lists: FineLists, n_children: int
    ) -> RowWeights:
        """Sum the weights of the translations of each row."""
        blocks, n = lists.blocks, lists.rows.n
        sums = session.empty(n, session.real)
        counts, is_kept = session.empty(n, np.int32), session.empty(n, np.int32)
        session.kernel("expectation/row_weights")(
            (n,),
            None,
            *(omega, blocks.out, blocks.n_trans, n_children, lists.per_block, n),
            *(sums, counts, is_kept),
        )
        return cls(session, sums, counts, is_kept, n)

    @cached_property
    def n_kept(self) -> int:
        """Rows that are kept; waits for the device."""
        return self._session.read_int(self.kept_before, self._n)


@dataclass(frozen=True)
class KeptRows:
    """Rows with weight, and their significant translations as one list, on the device.

    Attributes
    ----------
    weights
        Of all rows of the part.
    groups
        How they are grouped by orientation; None: image after image, each row on its own.
    row_start
        int32, (n_images + 1,); number of rows of the images before each.
    image, classes, frames, psis, projection
        int32; image, orientation and slice of each row.
    omega
        real; their weights.
    entries
        Where the translations of each row begin (int32), translations and weights.
    """

    weights: RowWeights
    groups: RowGroups | None
    row_start: Array
    image: Array
    classes: Array
    frames: Array
    psis: Array
    projection: Array
    omega: Array
    entries: tuple[Array, Array, Array]

    @property
    def n(self) -> int:
        """Rows; waits for the device."""
        return self.weights.n_kept

    @property
    def row_sum(self) -> Array:
        """Weight of every row of the part, kept or not; real device array."""
        return self.weights.sums

    @property
    def n_groups(self) -> int:
        """Slices that are scattered; may wait for the device."""
        return self.n if self.groups is None else self.groups.n

    @property
    def group_start(self) -> Array | None:
        """First row of each group, or None: each row is a group of its own."""
        return None if self.groups is None else self.groups.start

    @property
    def place(self) -> Array | None:
        """Where the rows are, image after image, or None: in this order."""
        return None if self.groups is None else self.groups.place


def keep_rows(
    session: DeviceSession,
    omega: Array,
    lists: FineLists,
    block_start: NDArray[np.int64],
    n_children: int,
    n_classes: int,
    tables: OrientationTables,
) -> KeptRows:
    """List the rows with weight; those of one orientation together if there are enough of them.

    Parameters
    ----------
    omega
        real device array; posterior weights of the samples of the part.
    lists, block_start
        Blocks of the part and those of each image, (n + 1,).
    n_children
        Fine translations of a coarse one.

    Raises
    ------
    DeviceMemoryError
        The lists do not fit.
    """
    weights = RowWeights.of(session, omega, lists, n_children)
    n_images = len(block_start) - 1
    groups = _groups(session, lists, weights, n_images, n_classes, tables)
    place = None if groups is None else groups.place
    n, real = lists.rows.n, session.real
    # room for all rows where asking how many there are would keep the device waiting
    room = max(1, n if session.works_ahead else weights.n_kept)
    kept_counts = session.zeros(room, np.int32)
    session.kernel("expectation/kept_counts")(
        (n,), None, weights.counts, weights.kept_before, place, n, kept_counts
    )
    entry_start = prefix_sums(session, kept_counts, room)
    entries = omega.shape[0]
    if not session.works_ahead:
        entries = max(1, session.read_int(entry_start, room))
    row_start = session.empty(n_images + 1, np.int32)
    kept = [session.empty(room, np.int32) for _ in range(5)]
    kept_omega = session.empty(room, real)
    entry_trans = session.empty(entries, np.int32)
    entry_omega = session.empty(entries, real)
    blocks, rows = lists.blocks, lists.rows
    session.kernel("expectation/compact_rows")(
        (max(n, n_images + 1),),
        None,
        *(omega, blocks.out, blocks.image, blocks.trans, blocks.n_trans, blocks.trans_list),
        session.to_device(block_start, np.int32),
        *(rows.classes, rows.frames, rows.psis, blocks.row_projection),
        *(weights.is_kept, weights.sums, weights.kept_before, place, entry_start),
        *(n_children, lists.per_block, n, n_images),
        *(row_start, *kept, kept_omega, entry_trans, entry_omega),
    )
    image, classes, frames, psis, projection = kept
    return KeptRows(
        weights=weights,
        groups=groups,
        row_start=row_start,
        image=image,
        classes=classes,
        frames=frames,
        psis=psis,
        projection=projection,
        omega=kept_omega,
        entries=(entry_start, entry_trans, entry_omega),
    )



def _shared_rows(session: DeviceSession) -> float:
    """Rows of an orientation, on average, from which on they are put beside each other.

    Where adding them up before the scatter begins to pay (docs/performance.md).
    """
    return 1.25 if session.is_cpu else 2.0


def _groups(
    session: DeviceSession,
    lists: FineLists,
    weights: RowWeights,
    n_images: int,
    n_classes: int,
    tables: OrientationTables,
) -> RowGroups | None:
    """Put the rows of each orientation together, or None where few images share orientations."""
    n_frames, n_psis = tables.fine_frames.shape[0], tables.fine_psis.shape[0]
    n_all, n_words = n_classes * n_frames * n_psis, -(-n_images // 32)
    rows = lists.rows
    # the marks, and four lists of numbers
    if n_images == 1 or 4 * n_all * (n_words + 4) > _MARK_BYTES * rows.n:
        return None
    of_rows = lists.blocks.image, rows.classes, rows.frames, rows.psis, weights.is_kept
    marks = session.zeros((n_all, n_words), np.uint32)
    session.kernel("expectation/mark_images")(
        (rows.n,), None, *of_rows, lists.per_block, rows.n, n_frames, n_psis, n_words, marks
    )
    counts, flags = session.empty(n_all, np.int32), session.empty(n_all, np.int32)
    session.kernel("expectation/count_images")((n_all,), None, marks, n_all, n_words, counts, flags)
    group_of = prefix_sums(session, flags, n_all)
    n_groups = session.read_int(group_of, n_all)
    if weights.n_kept < _shared_rows(session) * n_groups:
        return None
    first_place = prefix_sums(session, counts, n_all)
    groups = RowGroups(
        n_groups, session.empty(n_groups + 1, np.int32), session.empty(weights.n_kept, np.int32)
    )
    session.kernel("expectation/group_rows")(
        (rows.n + 1,),
        None,
        *of_rows,
        weights.kept_before,
        marks,
        first_place,
        group_of,
        lists.per_block,
        rows.n,
        n_frames,
        n_psis,
        n_all,
        n_words,
        groups.place,
        groups.start,
    )
    return groups
