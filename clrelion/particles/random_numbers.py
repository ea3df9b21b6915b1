"""Random numbers of the C library that RELION calls: the same seed gives the same choices."""

import numpy as np
from numpy.typing import NDArray

# Additive feedback generator of the C library of Linux (TYPE_3 of random(3)).
_DEGREE = 31
_SEPARATION = 3
_DISCARDED = 310
_LCG_MULTIPLIER = 16807
_LCG_MODULUS = 2**31 - 1

C_LIBRARY_LARGEST = 2**31 - 1
"""The largest number it gives, RAND_MAX."""


def c_library_random(seed: int, n: int) -> NDArray[np.int64]:
    """First n numbers of C's ``rand()`` on Linux after ``srand(seed)``.

    Parameters
    ----------
    seed
        Seed; taken modulo 2**32, 0 counts as 1.
    n
        How many.

    Returns
    -------
    ndarray
        int64, (n,): 0 .. 2**31 - 1.
    """
    return np.asarray(_sequences(np.array([seed % 2**32], dtype=np.int64), n)[:, 0])


def first_random_numbers(seeds: NDArray[np.int64]) -> NDArray[np.int64]:
    """First number of C's ``rand()`` on Linux after ``srand`` with each of the seeds.

    Parameters
    ----------
    seeds
        int64, (n,); taken modulo 2**32, 0 counts as 1.

    Returns
    -------
    ndarray
        int64, (n,): 0 .. 2**31 - 1.
    """
    return np.asarray(_sequences(seeds % 2**32, 1)[0])


def _sequences(seeds: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    """First n numbers for each seed of 0 .. 2**32 - 1, shape (n, n_seeds)."""
    word = np.where(seeds == 0, 1, seeds)
    word = np.where(word >= 2**31, word - 2**32, word)
    n_before = _DEGREE + _SEPARATION + _DISCARDED
    history = np.empty((n_before + n, len(seeds)), dtype=np.uint32)
    for i in range(_DEGREE):
        history[i] = word % 2**32
        # C's remainder has the sign of the dividend, which matters for negative seeds
        word = np.fmod(_LCG_MULTIPLIER * word, _LCG_MODULUS)
        word = np.where(word < 0, word + _LCG_MODULUS, word)
    history[_DEGREE : _DEGREE + _SEPARATION] = history[:_SEPARATION]
    for i in range(_DEGREE + _SEPARATION, n_before + n):
        history[i] = history[i - _SEPARATION] + history[i - _DEGREE]
    return np.asarray(history[n_before:] >> np.uint32(1), dtype=np.int64)
