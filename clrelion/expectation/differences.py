"""getDiff: squared differences of images and projections, for all samples or for listed blocks.

Specification E 5.3, 5.4; design.md 3.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from clrelion.expectation.coarse_product import CoarseProduct, Operand
from clrelion.expectation.pixels import PixelList
from clrelion.expectation.projections import Projector
from clrelion.expectation.sampling_tables import OrientationTables
from clrelion.expectation.scoring import ScoringOperands
from clrelion.planning.limits import panel_width

if TYPE_CHECKING:
    from clrelion.device.array import Array
    from clrelion.device.session import DeviceSession

__all__ = [
    "Blocks",
    "CoarsePanels",
    "CoarseSamples",
    "block_differences",
    "dense_differences",
]

_MOST_TILE_ROWS = 8
_MOST_TILE_TRANSLATIONS = 9
"""Sums that a work-item of diff2_fine holds at a time; more would not fit its registers."""


@dataclass(frozen=True)
class CoarseSamples:
    """Squared differences of the coarse pass and how they lie in memory.

    Sample (image i, orientation e, translation t) is ``values[sample_base[i] + e *
    orientation_stride + t * translation_stride]``.
    """

    values: Array
    sample_base: NDArray[np.int64]
    orientation_stride: int
    translation_stride: int
    n_trans: int


class CoarsePanels:
    """Packed projections of the coarse grid, made in runs of orientations.

    If they all fit they are made once for the whole expectation step; otherwise each batch makes
    them again, run by run.

    Parameters
    ----------
    product
        Matrix product they are for.
    columns_per_run
        Orientations in a run, from the memory plan.
    keep
        All runs stay on the device.
    """

    def __init__(
        self,
        product: CoarseProduct,
        projector: Projector,
        tables: OrientationTables,
        n_orientations: int,
        pixels: PixelList,
        pixel_xy: Array,
        columns_per_run: int,
        keep: bool,
    ) -> None:
        self.product = product
        self._projector = projector
        self._tables = tables
        self._n = n_orientations
        self._pixels = pixels
        self._xy = pixel_xy
        self._run = columns_per_run
        self._keep = keep
        self._kept: dict[int, tuple[Operand, Array, int]] = {}

    def for_each_run(self, work: Callable[[int, Operand, Array, int], None]) -> None:
        """Call ``work(first column, projections, powers, number of columns)`` for each run."""
        for first in range(0, self._n, self._run):
            made = self._kept.get(first)
            if made is None:
                n = min(self._run, self._n - first)
                projections, powers, n_columns = self._projector.grid_panels(
                    self._tables.coarse_frames,
                    self._tables.coarse_psis,
                    first,
                    n,
                    self._pixels,
                    self._xy,
                )
                made = (self.product.panels(projections), powers, n_columns)
                if self._keep:
                    self._kept[first] = made
            work(first, *made)


def dense_differences(
    session: DeviceSession,
    operands: ScoringOperands,
    n_images: int,
    n_orientations: int,
    panels: CoarsePanels,
    n_padded: int,
) -> CoarseSamples:
    """Compare all images with all coarse orientations: two matrix products a run.

    Returns
    -------
    CoarseSamples
        values real, (n_images, n_trans, stride), orientations innermost.
    """
    width = panel_width(session.is_cpu)
    stride = -(-n_orientations // width) * width
    n_trans = operands.n_trans
    values = session.empty((n_images, n_trans, stride), session.real)
    norm = session.empty((n_images, stride), session.real)
    epilogue = "add_norm" if operands.inverse_norm is None else "correlation"
    # the norms reach over more orders of magnitude than halves do
    plain = CoarseProduct(session)
    images = panels.product.images(operands.shifted)

    def compare(first: int, projections: Operand, powers: Array, n_columns: int) -> None:
        place = (stride, first)
        plain.multiply(
            "none",
            operands.ctf_power,
            powers,
            n_columns // width,
            None,
            None,
            norm,
            n_images,
            n_padded,
            1,
            *place,
        )
        panels.product.multiply(
            epilogue,
            images,
            projections,
            n_columns // width,
            norm,
            operands.inverse_norm,
            values,
            n_images * n_trans,
            2 * n_padded,
            n_trans,
            *place,
        )

    panels.for_each_run(compare)
    base = np.arange(n_images, dtype=np.int64) * n_trans * stride
    return CoarseSamples(values, base, 1, stride, n_trans)


@dataclass(frozen=True)
class Blocks:
    """List of small dense comparisons on the device: one image, some slices, some translations.

    Attributes
    ----------
    n
        Number of blocks.
    image, row, n_rows, trans, n_trans, out
        int32 device arrays, (n,), ``out`` int64; block b has image[b], the rows from row[b] on,
        n_rows[b] of them, translations trans_list[trans[b] : trans[b] + n_trans[b]] and writes
        from out[b].
    row_projection
        int32 device array; slice of each row.
    trans_list
        int32 device array of coarse translations.
    most_rows, mean_trans
        Rows of a block at most, and coarse translations on average: for the choice of tiles.
    """

    n: int
    image: Array
    row: Array
    n_rows: Array
    trans: Array
    n_trans: Array
    out: Array
    row_projection: Array
    trans_list: Array
    most_rows: int
    mean_trans: float


def block_differences(
    session: DeviceSession,
    operands: ScoringOperands,
    projections: Array,
    blocks: Blocks,
    n_children: int,
    n_padded: int,
    values: Array,
) -> None:
    """Compare the blocks; their results are written to ``values``."""
    if blocks.n == 0:
        return
    correlate = operands.inverse_norm is not None
    phases = operands.phases or ()
    if session.is_cpu:
        vector = 16 if session.precision == "single" else 8
        kernel = session.kernel(
            "expectation/diff2_fine_vector", vector=vector, cross_correlation=correlate
        )
        size, local = (blocks.n,), (1,)
    else:
        wg = 128 if session.precision == "single" else 64
        kernel = session.kernel(
            "expectation/diff2_fine",
            wg=wg,
            rows=min(_MOST_TILE_ROWS, blocks.most_rows),
            trans=_translations_of_tile(blocks.mean_trans * n_children, n_children),
            cross_correlation=correlate,
            makes_shifts=bool(phases),
        )
        size, local = (blocks.n * wg,), (wg,)
    kernel(
        size,
        local,
        operands.shifted,
        operands.ctf_power,
        projections,
        blocks.image,
        blocks.row,
        blocks.n_rows,
        blocks.row_projection,
        blocks.trans,
        blocks.n_trans,
        blocks.out,
        blocks.trans_list,
        operands.inverse_norm,
        *phases,
        blocks.n,
        operands.n_trans,
        n_children,
        n_padded,
        values,
    )


def _translations_of_tile(n_trans: float, n_children: int) -> int:
    """Translations that a work-item takes at a time, so that the last pass is about full."""
    most = _MOST_TILE_TRANSLATIONS
    unit = -(-n_children // -(-n_children // most))
    n_units = max(1, round(n_trans / unit))
    n_passes = -(-n_units // (most // unit))
    return unit * -(-n_units // n_passes)
