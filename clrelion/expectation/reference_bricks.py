"""The references once more, brick by brick, for slices of orientations that are near each other.

In: the references of all classes on the device.  Out: slices of a list of orientations, to the bit
those of the references as they lie (specification E 1.6).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from clrelion.planning.volumes import REFERENCE_BRICK, brick_counts

if TYPE_CHECKING:
    from clrelion.device.array import Array
    from clrelion.device.session import DeviceSession

__all__ = ["ReferenceBricks"]

_ROWS = 16
"""Orientations of a work-item (docs/performance.md)."""

_GROUP = (512, 1)
"""Work-items along pixels and along rows where the device can have so many; elsewhere fewer."""


class ReferenceBricks:
    """A copy of the references on a GPU, stored brick by brick.

    Parameters
    ----------
    session
        Device.
    references
        complex device array, (n_classes * M, M, P+2); all planes of all classes.

    Raises
    ------
    DeviceMemoryError
        The copy does not fit.
    """

    def __init__(self, session: DeviceSession, references: Array) -> None:
        n_planes, edge, nx = references.shape
        n_classes = n_planes // edge
        self._centre = edge // 2
        self._n_x, self._n_y, n_z = brick_counts(edge, nx)
        bx, by, bz = REFERENCE_BRICK
        self._class_voxels = self._n_x * self._n_y * n_z * bx * by * bz
        self._values = session.empty((n_classes, self._class_voxels), session.complex)
        session.kernel("expectation/brick_layout", brick=REFERENCE_BRICK)(
            (self._n_x * bx, self._n_y * by, n_classes * n_z * bz),
            None,
            references,
            edge,
            nx,
            self._n_x,
            self._n_y,
            n_z,
            n_classes,
            self._values,
        )
        self._kernel = session.kernel(
            "expectation/project_rows_bricks", brick=REFERENCE_BRICK, rows=_ROWS
        )
        largest = self._kernel.max_work_group_size()
        self._group = _GROUP if math.prod(_GROUP) <= largest else (largest, 1)

    def project(
        self,
        frames: Array,
        psis: Array,
        row_class: Array,
        row_frame: Array,
        row_psi: Array,
        pixel_xy: Array,
        n_projected: int,
        projections: Array,
    ) -> None:
        """Slice the references.

        Parameters
        ----------
        frames, psis
            real device arrays, (., 6) and (., 2); tables of orientations.
        row_class, row_frame, row_psi
            int32 device arrays, (n_rows,); class, and indices into the tables.
        pixel_xy
            real device array, (n_padded, 2); pixels in padded Fourier units.
        n_projected
            Pixels that are projected; the others are 0.
        projections
            real device array, (n_rows, 2, n_padded); filled.
        """
        n_rows, _, n_padded = projections.shape
        items = n_padded, -(-n_rows // _ROWS)
        self._kernel(
            tuple(-(-n // g) * g for n, g in zip(items, self._group, strict=True)),
            self._group,
            self._values,
            self._n_x,
            self._n_y,
            self._class_voxels,
            self._centre,
            frames,
            psis,
            row_class,
            row_frame,
            row_psi,
            pixel_xy,
            n_projected,
            n_padded,
            n_rows,
            projections,
        )
