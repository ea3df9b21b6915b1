"""The matrix product of the coarse pass, in the form that is fastest on the device.

In: rows of shifted images and panels of slices.  Out: their products (specification E 5.4;
design.md 3).
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from clrelion.errors import KernelBuildError
from clrelion.planning.limits import panel_width

if TYPE_CHECKING:
    from clrelion.device.array import Array
    from clrelion.device.kernel import Kernel
    from clrelion.device.session import DeviceSession

__all__ = ["CoarseProduct", "TensorProduct", "chosen_product"]

_log = logging.getLogger(__name__)

_ROWS_PER_TILE = 6
_ROWS_PER_GROUP, _ITEMS_PER_GROUP = 64, 128
"""Of both kernels for GPUs."""

_SPLIT_GROUP = 128
_TRIAL_ROWS, _TRIAL_PANELS, _TRIAL_DEPTH = 2048, 16, 1024
_TRIAL_REPEATS = 3
_TRIAL_CHECKED_ROWS = 16
_TRIAL_TOLERANCE = 1e-5
"""Relative error of a product of 1024 terms: a hundred times what single precision leaves."""


@dataclass(frozen=True)
class SplitMatrix:
    """A matrix as sums of two halves.

    Attributes
    ----------
    parts
        uint8; the halves as split_rows or split_panels lays them out.
    inverse_scale
        float32; factor of each row or orientation.
    """

    parts: Array
    inverse_scale: Array


Operand: TypeAlias = "Array | SplitMatrix"


class CoarseProduct:
    """Products in the session's precision: register tiles on CPUs, local memory tiles on GPUs.

    Parameters
    ----------
    session
        Device.

    Attributes
    ----------
    name
        For messages.
    """

    name = "single-precision tiles"

    def __init__(self, session: DeviceSession) -> None:
        self._session = session
        self._width = panel_width(session.is_cpu)

    def images(self, rows: Array) -> Operand:
        """Prepare rows of images, real (..., depth) with ``depth`` the length of a row."""
        return rows

    def panels(self, projections: Array) -> Operand:
        """Prepare packed slices, real (panels, depth, width)."""
        return projections

    def multiply(
        self,
        epilogue: str,
        images: Operand,
        panels: Operand,
        n_panels: int,
        norm: Array | None,
        inverse_image_norm: Array | None,
        out: Array,
        n_rows: int,
        depth: int,
        n_trans: int,
        stride: int,
        first_column: int,
    ) -> None:
        """Multiply and write columns ``first_column`` on of ``out`` (kernel diff2_coarse).

        Parameters
        ----------
        epilogue
            ``none``, ``add_norm`` or ``correlation``.
        images, panels
            From `images` and `panels`.
        norm, inverse_image_norm
            real; for the epilogue.
        out
            real, (n_rows, stride).
        n_trans
            Rows an image.
        stride, first_column
            On GPUs multiples of 4.
        """
        kernel, size, local = self._launch(epilogue, n_rows, n_panels)
        kernel(
            size,
            local,
            *self._arguments(images, panels),
            norm,
            inverse_image_norm,
            out,
            n_rows,
            depth,
            n_trans,
            stride,
            first_column,
        )

    def _launch(
        self, epilogue: str, n_rows: int, n_panels: int
    ) -> tuple[Kernel, tuple[int, int], tuple[int, int]]:
        """Kernel, global size and work-group."""
        session = self._session
        if session.is_cpu:
            kernel = session.kernel(
                "expectation/diff2_coarse_vector",
                panel=self._width,
                vector=16 if session.precision == "single" else 8,
                rows=_ROWS_PER_TILE,
                epilogue=epilogue,
            )
            return kernel, (-(-n_rows // _ROWS_PER_TILE), n_panels), (1, 1)
        kernel = session.kernel("expectation/diff2_coarse", epilogue=epilogue)
        return kernel, *_grid_of_groups(n_rows, n_panels)

    def _arguments(self, images: Operand, panels: Operand) -> tuple[Array, ...]:
        """First arguments of the kernel."""
        assert not isinstance(images, SplitMatrix)
        assert not isinstance(panels, SplitMatrix)
        return images, panels


class TensorProduct(CoarseProduct):
    """Products of halves on tensor cores, summed in single precision."""

    name = "tensor cores, each number as two halves"

    def images(self, rows: Array) -> Operand:
        """See CoarseProduct."""
        depth = rows.shape[-1] * (rows.shape[-2] if rows.ndim > 2 else 1)
        n_rows = rows.size // depth
        split = self._empty(rows, n_rows)
        self._session.kernel("expectation/split_rows", wg=_SPLIT_GROUP)(
            (n_rows * _SPLIT_GROUP,),
            (_SPLIT_GROUP,),
            rows,
            depth,
            split.parts,
            split.inverse_scale,
        )
        return split

    def panels(self, projections: Array) -> Operand:
        """See CoarseProduct."""
        n_panels, depth, width = projections.shape
        split = self._empty(projections, n_panels * width)
        self._session.kernel("expectation/split_panels")(
            (n_panels * 4 * width,),
            (4 * width,),
            projections,
            depth,
            split.parts,
            split.inverse_scale,
        )
        return split

    def _empty(self, matrix: Array, n: int) -> SplitMatrix:
        return SplitMatrix(
            self._session.empty(matrix.nbytes, np.uint8), self._session.empty(n, np.float32)
        )

    def _launch(
        self, epilogue: str, n_rows: int, n_panels: int
    ) -> tuple[Kernel, tuple[int, int], tuple[int, int]]:
        kernel = self._session.kernel("expectation/diff2_coarse_tensor", epilogue=epilogue)
        return kernel, *_grid_of_groups(n_rows, n_panels)

    def _arguments(self, images: Operand, panels: Operand) -> tuple[Array, ...]:
        assert isinstance(images, SplitMatrix)
        assert isinstance(panels, SplitMatrix)
        return images.parts, panels.parts, images.inverse_scale, panels.inverse_scale


def _grid_of_groups(n_rows: int, n_panels: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Global size and work-group of a kernel for GPUs."""
    n_groups = -(-n_rows // _ROWS_PER_GROUP)
    return (n_groups * _ITEMS_PER_GROUP, n_panels), (_ITEMS_PER_GROUP, 1)


def chosen_product(session: DeviceSession) -> CoarseProduct:
    """The fastest form that computes correctly on this device, tried once a session.

    In a deterministic session tensor cores are the fastest, whatever a trial says.
    """
    key = ("coarse product",)
    if key not in session.kept:
        session.kept[key] = _chosen(session)
    product: CoarseProduct = session.kept[key]
    return product


def _chosen(session: DeviceSession) -> CoarseProduct:
    plain = CoarseProduct(session)
    if session.is_cpu or session.precision == "double" or session.capabilities.tensor == "none":
        return plain
    tensor = TensorProduct(session)
    try:
        seconds, error = _trial(session, tensor)
        plain_seconds, _ = _trial(session, plain)
    except KernelBuildError as failure:
        _log.warning("%s; going on with %s", failure, plain.name)
        return plain
    if error > _TRIAL_TOLERANCE:
        _log.warning(
            "%s: the products of its tensor cores are wrong by %.1e; going on with %s",
            session.info.label,
            error,
            plain.name,
        )
        return plain
    chosen = tensor if session.deterministic or seconds < plain_seconds else plain
    _log.debug(
        "coarse comparisons: %s (trial: %.2f ms, with %s %.2f ms)",
        chosen.name,
        1e3 * seconds,
        plain.name,
        1e3 * plain_seconds,
    )
    return chosen


def _trial(session: DeviceSession, product: CoarseProduct) -> tuple[float, float]:
    """Seconds of a small product, and its relative error in some rows."""
    width = panel_width(session.is_cpu)
    rng = np.random.default_rng(1)
    rows = rng.standard_normal((_TRIAL_ROWS, _TRIAL_DEPTH), dtype=np.float32)
    slices = rng.standard_normal((_TRIAL_PANELS, _TRIAL_DEPTH, width), dtype=np.float32)
    n_columns = _TRIAL_PANELS * width
    out = session.empty((_TRIAL_ROWS, n_columns), np.float32)
    images = product.images(session.to_device(rows))
    panels = product.panels(session.to_device(slices))
    best = np.inf
    for _ in range(_TRIAL_REPEATS):
        session.finish()
        start = time.perf_counter()
        product.multiply(
            "none",
            images,
            panels,
            _TRIAL_PANELS,
            None,
            None,
            out,
            _TRIAL_ROWS,
            _TRIAL_DEPTH,
            1,
            n_columns,
            0,
        )
        session.finish()
        best = min(best, time.perf_counter() - start)
    checked = np.linspace(0, _TRIAL_ROWS - 1, _TRIAL_CHECKED_ROWS).astype(np.int64)
    columns = slices.transpose(1, 0, 2).reshape(_TRIAL_DEPTH, n_columns)
    expected = rows[checked].astype(np.float64) @ columns.astype(np.float64)
    error = np.linalg.norm(session.to_host(out)[checked] - expected) / np.linalg.norm(expected)
    return best, float(error)
