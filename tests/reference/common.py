"""NumPy twins of the device functions in clrelion/cl/common."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

RealArray = npt.NDArray[Any]


def complex_functions(a: RealArray, b: RealArray) -> RealArray:
    """(5, n): a b, a conj(b), conj(a), |a|^2, exp(i Re b), of types.cl.mako."""
    a, b = a.astype(np.complex128), b.astype(np.complex128)
    return np.stack([a * b, a * b.conj(), a.conj(), np.abs(a) ** 2 + 0j, np.exp(1j * b.real)])


def atomic_add(cells: RealArray, values: RealArray, n_cells: int) -> RealArray:
    """Sum of ``values`` (n, ...) by cell, of atomics*.cl.mako."""
    sums = np.zeros((n_cells, *values.shape[1:]))
    np.add.at(sums, cells, values.astype(np.float64))
    return sums


def group_reductions(values: RealArray, group: int) -> dict[str, RealArray]:
    """Results of reduce.cl.mako for ``values`` cut into work-groups, one a row."""
    rows = values.reshape(-1, group).astype(np.float64)
    whole = np.floor(rows).astype(np.int64)
    return {
        "sum": rows.sum(axis=1),
        "max": rows.max(axis=1),
        "min": rows.min(axis=1),
        "argmin": np.argmin(rows, axis=1),
        "sum_int": whole.sum(axis=1),
        "exclusive_sum": (np.cumsum(whole, axis=1) - whole).reshape(-1),
    }


def multiply_tiles(A: RealArray, B: RealArray) -> RealArray:
    """Matrix product of tensor.cl.mako; exact for whole numbers whose sums have 24 bits."""
    return A.astype(np.float64) @ B.astype(np.float64)
