"""Factors of the images in the back-projection sums (specification E 5.6, Q20; M 1.1)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class BackprojectionWeights(NamedTuple):
    """(image, pixel) each: factor of the data, weight, factor of the reference."""

    data: NDArray[np.float64]
    weight: NDArray[np.float64]
    compared: NDArray[np.float64]


def backprojection_weights(
    ctf: NDArray[np.float64],
    scoring_ctf: NDArray[np.float64],
    scale: NDArray[np.float64],
    inverse_sigma2: NDArray[np.float64],
    premultiplied: bool,
) -> BackprojectionWeights:
    """Least squares of U = q C P + noise: sum of q C W U over sum of (q C)^2 W.

    In premultiplied data U and ``ctf`` have one C in them already.
    """
    q = scale[:, None]
    if premultiplied:
        data, weight = q * inverse_sigma2, q**2 * ctf * inverse_sigma2
    else:
        data, weight = q * ctf * inverse_sigma2, (q * ctf) ** 2 * inverse_sigma2
    return BackprojectionWeights(np.broadcast_to(data, ctf.shape), weight, q * scoring_ctf)
