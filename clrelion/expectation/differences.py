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
from clrelion.expectation.search_space import SearchSpace
from clrelion.planning.limits import panel_width

if TYPE_CHECKING:
    from pyopencl.array import Array

    from clrelion.device.session import DeviceSession

__all__ = [
    "Blocks",
    "CoarsePanels",
    "CoarseSamples",
    "block_differences",
    "dense_differences",
    "sparse_differences",
]

_BLOCK_GROUP = 64
_ROWS_PER_BLOCK = 8
"""Orientations of one image in a block of the sparse coarse pass."""


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
    """List of small dense comparisons: one image, some slices, some translations each.

    Attributes
    ----------
    image, row, projection, trans, n_trans, out
        int64 host arrays; block b has image[b], rows row[b] .. row[b+1]-1, slices from
        projection[b], translations trans_list[trans[b] : trans[b] + n_trans[b]] and writes from
        out[b].
    trans_list
        int32 device array of coarse translations.
    n_samples
        Length of the result.
    """

    image: NDArray[np.int64]
    row: NDArray[np.int64]
    projection: NDArray[np.int64]
    trans: NDArray[np.int64]
    n_trans: NDArray[np.int64]
    out: NDArray[np.int64]
    trans_list: Array
    n_samples: int

    def part(self, span: slice, projection: NDArray[np.int64]) -> Blocks:
        """Blocks ``span`` with their slices at ``projection``; they write to the same places."""
        return Blocks(
            image=self.image[span],
            row=self.row[span.start : span.stop + 1] - self.row[span.start],
            projection=projection,
            trans=self.trans[span],
            n_trans=self.n_trans[span],
            out=self.out[span],
            trans_list=self.trans_list,
            n_samples=self.n_samples,
        )


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
    n_blocks = len(blocks.image)
    if n_blocks == 0:
        return
    correlate = operands.inverse_norm is not None
    if session.is_cpu:
        vector = 16 if session.precision == "single" else 8
        kernel = session.kernel(
            "expectation/diff2_fine_vector", vector=vector, cross_correlation=correlate
        )
        size, local = (n_blocks,), (1,)
    else:
        kernel = session.kernel(
            "expectation/diff2_fine", wg=_BLOCK_GROUP, cross_correlation=correlate
        )
        size, local = (n_blocks * _BLOCK_GROUP,), (_BLOCK_GROUP,)
    kernel(
        size,
        local,
        operands.shifted,
        operands.ctf_power,
        projections,
        session.to_device(blocks.image, np.int32),
        session.to_device(blocks.row, np.int32),
        session.to_device(blocks.projection, np.int32),
        session.to_device(blocks.trans, np.int32),
        session.to_device(blocks.n_trans, np.int32),
        session.to_device(blocks.out, np.int64),
        blocks.trans_list,
        operands.inverse_norm,
        n_blocks,
        operands.n_trans,
        n_children,
        n_padded,
        values,
    )


def sparse_differences(
    session: DeviceSession,
    operands: ScoringOperands,
    space: SearchSpace,
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
    n_entries = len(space.orientation_class)
    values = session.empty(n_entries * n_trans, session.real)
    trans_list = session.to_device(np.arange(n_trans), np.int32)
    image, first, count = _blocks_of_images(space.n_orientations, space.prior_base)
    block = 0
    while block < len(image):
        start = first[block]
        stop = max(block + 1, int(np.searchsorted(first, start + rows_per_run, side="right")) - 1)
        if start + rows_per_run >= n_entries:
            stop = len(image)
        span = slice(block, stop)
        rows = slice(int(start), int(first[stop - 1] + count[stop - 1]))
        projections = projector.rows(
            tables.coarse_frames,
            tables.coarse_psis,
            space.orientation_class[rows],
            space.orientation_dir[rows],
            space.orientation_psi[rows],
            pixels,
            pixel_xy,
        )
        blocks = Blocks(
            image=image[span],
            row=np.append(first[span], rows.stop) - start,
            projection=first[span] - start,
            trans=np.zeros(stop - block, dtype=np.int64),
            n_trans=np.full(stop - block, n_trans),
            out=first[span] * n_trans,
            trans_list=trans_list,
            n_samples=n_entries * n_trans,
        )
        block_differences(session, operands, projections, blocks, 1, pixels.n_padded, values)
        block = stop
    return CoarseSamples(values, space.prior_base * n_trans, n_trans, 1, n_trans)


def _blocks_of_images(
    n_orientations: NDArray[np.int64], start: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Cut each image's list into blocks: image, first entry and number of entries of each."""
    n_blocks = -(-n_orientations // _ROWS_PER_BLOCK)
    image = np.repeat(np.arange(len(n_orientations)), n_blocks)
    before = np.concatenate([[0], np.cumsum(n_blocks)])[:-1]
    within = np.arange(len(image)) - before[image]
    first = start[image] + within * _ROWS_PER_BLOCK
    count = np.minimum(_ROWS_PER_BLOCK, start[image] + n_orientations[image] - first)
    return image, first, count
