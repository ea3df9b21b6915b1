"""Weighted differences of pairs of slices (specification E C.3)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def slice_differences(
    first: NDArray[np.complex128],
    second: NDArray[np.complex128],
    weight: NDArray[np.float64],
    trial: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Sum of weight |first - second|^2 over the pixels, pair by pair."""
    pairs = zip(trial, second, strict=True)
    return np.array([np.sum(weight[t % len(weight)] * np.abs(first[t] - b) ** 2) for t, b in pairs])


def difference_shells(
    first: NDArray[np.complex128],
    second: NDArray[np.complex128],
    weight: NDArray[np.float64],
    trial: NDArray[np.int64],
    shell: NDArray[np.int64],
    n_shells: int,
) -> NDArray[np.float64]:
    """Sum the same over the pixels of each shell, (pair, shell)."""
    out = np.zeros((len(trial), n_shells))
    for sums, t, b in zip(out, trial, second, strict=True):
        np.add.at(sums, shell, weight[t % len(weight)] * np.abs(first[t] - b) ** 2)
    return out


def trial_weights(
    ctf: NDArray[np.float64], subset: NDArray[np.int64], factor: NDArray[np.float64], n_padded: int
) -> NDArray[np.float64]:
    """Squared CTF of the chosen pixels times their factors; zeros behind."""
    out = np.zeros((len(ctf), n_padded))
    out[:, : len(subset)] = ctf[:, subset] ** 2 * factor
    return out
