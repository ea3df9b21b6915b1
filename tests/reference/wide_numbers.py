"""Arithmetic in more than single precision (common/wide_numbers): what it must find."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from numpy.typing import NDArray


def arithmetic(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.longdouble]:
    """Sum, difference, product, quotient, root of \\|a\\|; (n, 5)."""
    x, y = a.astype(np.longdouble), b.astype(np.longdouble)
    return np.stack([x + y, x - y, x * y, x / y, np.sqrt(np.abs(x))], axis=-1)


def cos_sin_pi(numerators: NDArray[np.int64], denominator: int) -> NDArray[np.float64]:
    """Cosine and sine of pi numerators / denominator, (n, 2)."""
    turns = [float(Fraction(int(k), denominator)) for k in numerators]
    angles = np.pi * np.array(turns)
    return np.stack([np.cos(angles), np.sin(angles)], axis=-1)
