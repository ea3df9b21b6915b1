"""Arithmetic and memory traffic of a kernel launch, from its arguments.

Operations are counted for the kernels that matter, with the formulae below; a fused multiply-add is
two. Bytes are every array argument once, which is the least that a launch moves unless it leaves
parts of its arrays alone; a kernel that reads in many places has a formula of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Arguments = dict[str, Any]

# coordinates, eight weights, eight complex multiply-adds
_INTERPOLATION_FLOPS = 64.0
# coordinates, eight weights, three products and additions for each of eight neighbours
_SCATTER_FLOPS = 80.0
_ENTRY_FLOPS = 12.0  # a translation of a slice: phase, weight
_ROW_FLOPS = 16.0  # a slice of an image: power, cross product, back-projected data


def work_of(kernel: str, arguments: Arguments) -> tuple[float, float]:
    """Operations and bytes of one launch.

    Parameters
    ----------
    kernel
        Name; variants for CPUs count as the plain one.
    arguments
        Values by parameter name.

    Returns
    -------
    tuple of float
        Operations (0: not counted for this kernel) and bytes.
    """
    stem = kernel.removesuffix("_vector").removesuffix("_workers").removesuffix("_tensor")
    n_bytes = float(sum(getattr(value, "nbytes", 0) for value in arguments.values()))
    counter = _COUNTERS.get(stem)
    if counter is None:
        return 0.0, n_bytes
    try:
        return counter(arguments, n_bytes)
    except (KeyError, AttributeError, TypeError):
        # the kernel's arguments have changed their names: its rate is then shown as unknown
        return 0.0, n_bytes


def _coarse(a: Arguments, n_bytes: float) -> tuple[float, float]:
    # a pair of halves has the room of one value in single precision
    value_bytes = 4 if a["projections"].dtype.itemsize == 1 else a["projections"].dtype.itemsize
    columns = a["projections"].nbytes // value_bytes // a["depth"]
    written = 4.0 * a["n_rows"] * columns
    operands = a["images"].nbytes + a["projections"].nbytes
    return 2.0 * a["n_rows"] * a["depth"] * columns, operands + written


def _fine(a: Arguments, n_bytes: float) -> tuple[float, float]:
    rows = a["projections"].size / (2 * a["n_padded"])
    return a["n_padded"] * (4.0 * a["out"].size + 5.0 * rows), n_bytes


def _slices(a: Arguments, n_bytes: float) -> tuple[float, float]:
    n_pixels = a["projections"].size / 2
    item = a["projections"].dtype.itemsize
    # eight complex neighbours read, one complex value written
    return _INTERPOLATION_FLOPS * n_pixels, 18.0 * item * n_pixels


def _sums(a: Arguments, n_bytes: float) -> tuple[float, float]:
    rows, entries, n_list = a["row_omega"].size, a["entry_trans"].size, a["n_list"]
    item = a["row_omega"].dtype.itemsize
    flops = n_list * (_ROW_FLOPS * rows + _ENTRY_FLOPS * entries)
    # a complex slice or image and a weight
    moved = 3.0 * item * rows * n_list
    if "volumes" not in a:
        return flops, moved
    # images of an orientation are scattered together
    scattered = n_list * float(a.get("n_groups", rows))
    # eight neighbours of (re, im, weight) read and written
    return flops + _SCATTER_FLOPS * scattered, moved + 8.0 * 3 * 2 * item * scattered


_COUNTERS: dict[str, Callable[[Arguments, float], tuple[float, float]]] = {
    "backproject_orientations": _sums,
    "diff2_coarse": _coarse,
    "diff2_fine": _fine,
    "project_grid": _slices,
    "project_rows": _slices,
    "project_rows_bricks": _slices,
    "weighted_sums": _sums,
}
