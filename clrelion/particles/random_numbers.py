"""Random numbers of the C library that RELION calls: the same seed gives the same choices."""

from functools import lru_cache

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
    n_before = _DEGREE + _SEPARATION + _DISCARDED
    history = np.empty((n_before + n, 1), dtype=np.uint32)
    history[:_DEGREE] = _beginnings(np.array([seed], dtype=np.int64))
    history[_DEGREE : _DEGREE + _SEPARATION] = history[:_SEPARATION]
    _go_on(history)
    return np.asarray(history[n_before:, 0] >> np.uint32(1), dtype=np.int64)


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
    # each number is a sum of the first ones, modulo 2^32
    terms = _weights_of_first()[:, None] * _beginnings(seeds)
    return np.asarray(terms.sum(axis=0, dtype=np.uint32) >> np.uint32(1), dtype=np.int64)


@lru_cache(maxsize=1)
def _weights_of_first() -> NDArray[np.uint32]:
    """How often each of the first words is in the first number that is given, modulo 2^32."""
    weights = np.zeros((_DEGREE + _SEPARATION + _DISCARDED + 1, _DEGREE), dtype=np.uint32)
    weights[:_DEGREE] = np.eye(_DEGREE, dtype=np.uint32)
    weights[_DEGREE : _DEGREE + _SEPARATION] = weights[:_SEPARATION]
    _go_on(weights)
    return np.asarray(weights[-1])


def _beginnings(seeds: NDArray[np.int64]) -> NDArray[np.uint32]:
    """Words that the generator begins with for each seed, (31, n)."""
    word = seeds % 2**32
    word = np.where(word == 0, 1, word)
    # C takes it for a number with a sign, but no remainder that follows is negative
    word = np.where(word >= 2**31, word - 2**32, word)
    powers = [pow(_LCG_MULTIPLIER, i, _LCG_MODULUS) for i in range(_DEGREE)]
    words = np.array(powers)[:, None] * (word % _LCG_MODULUS) % _LCG_MODULUS
    words[0] = word
    return np.asarray(words % 2**32, dtype=np.uint32)


def _go_on(words: NDArray[np.uint32]) -> None:
    """Fill in all words but the first ones, from those before."""
    for i in range(_DEGREE + _SEPARATION, len(words)):
        words[i] = words[i - _SEPARATION] + words[i - _DEGREE]
