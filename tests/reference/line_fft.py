"""Transforms of padded and cropped lines, by the definition."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def line_fft(
    lines: NDArray[Any], length: int, first_in: int, first_out: int, n_out: int, inverse: bool
) -> NDArray[np.complex128]:
    """Transform (n, samples) given from place ``first_in``: (n, n_out) from place ``first_out``."""
    whole = pad_lines(lines, length, first_in)
    places = np.arange(length)
    wanted = np.arange(first_out, first_out + n_out)
    sign = 1 if inverse else -1
    # integer arithmetic keeps the angle exact
    matrix = np.exp(sign * 2j * np.pi * ((places[:, None] * wanted) % length) / length)
    return np.asarray(whole @ matrix)


def pad_lines(lines: NDArray[Any], length: int, first: int) -> NDArray[np.complex128]:
    """Zero lines of ``length`` with the samples at places (first + s) mod length."""
    whole = np.zeros((len(lines), length), dtype=np.complex128)
    whole[:, (first + np.arange(lines.shape[1])) % length] = lines
    return whole


def crop_lines(lines: NDArray[Any], first: int, n: int) -> NDArray[Any]:
    """Samples at places (first + s) mod length."""
    return lines[:, (first + np.arange(n)) % lines.shape[1]]


def hermitian_lines(half: NDArray[Any], length: int) -> NDArray[np.complex128]:
    """Whole Hermitian lines from places 0..length/2 (real at both ends)."""
    whole = np.zeros((len(half), length), dtype=np.complex128)
    whole[:, : half.shape[1]] = half
    whole[:, 0] = half[:, 0].real
    whole[:, length // 2] = half[:, length // 2].real if half.shape[1] > length // 2 else 0
    mates = np.arange(1, length // 2)
    whole[:, length - mates] = whole[:, mates].conj()
    return whole
