"""How far a kernel may be from its float64 twin, each bound with its reason, in one place.

Errors are relative L2 norms over a whole result; the largest single deviation is in the message.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

_DOUBLE = 1e-12
"""Double precision: any mistake in a formula is far above this, any rounding far below."""


def _is_double(real: type) -> bool:
    return np.dtype(real) == np.float64


def of_sum(real: type, n_terms: int) -> float:
    """Sums of ``n_terms`` products of either sign: rounding grows like a random walk."""
    return _DOUBLE if _is_double(real) else 2e-6 * math.sqrt(max(n_terms, 1))


def of_product(real: type) -> float:
    """A handful of multiplications and additions an element, a few ulp."""
    return _DOUBLE if _is_double(real) else 1e-6


def of_interpolation(real: type, centre: int, n_terms: int = 1) -> float:
    """Slices of a volume: coordinates reach ``centre`` and carry a few of its ulp each.

    In white noise the value changes by its own size from voxel to voxel, so the error of the
    coordinate is the relative error of the value.
    """
    return max(of_sum(real, n_terms), 4 * centre * float(np.finfo(real).eps))


def of_exponential(real: type, largest_exponent: float, n_terms: int = 1) -> float:
    """Sums of exp(x): the absolute error of x, a few ulp of its parts, is the relative error."""
    return of_sum(real, n_terms) + 4 * largest_exponent * float(np.finfo(real).eps)


def of_phase(real: type, largest_phase: float) -> float:
    """Sines of large phases: the absolute error of the phase, some ulp of its largest term."""
    return of_product(real) + 4 * largest_phase * float(np.finfo(real).eps)


def adjointness(real: type) -> float:
    """Two inner products over thousands of terms that must agree (conventions 5.3: 1e-5)."""
    return _DOUBLE if _is_double(real) else 1e-5


def assert_close(result: npt.ArrayLike, expected: npt.ArrayLike, tolerance: float) -> None:
    """Compare by relative L2 norm; infinities must be the same, NaN is always wrong."""
    found, wanted = np.asarray(result), np.asarray(expected)
    assert found.shape == wanted.shape, f"shape {found.shape}, expected {wanted.shape}"
    assert not np.isnan(found).any(), f"{np.isnan(found).sum()} of {found.size} values are NaN"
    finite = np.isfinite(wanted)
    np.testing.assert_array_equal(found[~finite], wanted[~finite])
    deviation = _wide(found[finite]) - _wide(wanted[finite])
    norm = float(np.linalg.norm(_wide(wanted[finite])))
    error = float(np.linalg.norm(deviation)) / (norm or 1.0)
    largest = float(np.max(np.abs(deviation), initial=0.0))
    assert error <= tolerance, (
        f"relative L2 error {error:.2e} above {tolerance:.1e}; largest deviation {largest:.2e}"
    )


def _wide(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return values.astype(np.complex128 if np.iscomplexobj(values) else np.float64).ravel()
