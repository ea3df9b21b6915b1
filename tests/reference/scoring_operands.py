"""What images bring to the squared differences (specification E 5.3, 5.4)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def scoring_operands(
    image_ft: NDArray[np.complex128],
    ctf: NDArray[np.float64],
    scale: NDArray[np.float64],
    weight: NDArray[np.float64],
    phases: NDArray[np.complex128],
    power_factor: float,
) -> tuple[NDArray[np.complex128], NDArray[np.float64]]:
    """Linear and quadratic coefficients of diff2 in the projection P.

    diff2 = power_factor sum W |q C P|^2 - sum W Re((q C P)* X S) + const.  Image arrays
    (image, pixel), ``scale`` (image,), ``weight`` (pixel,), ``phases`` S (translation, pixel).
    Returns -W q C X S (image, translation, pixel) and power_factor W (q C)^2 (image, pixel).
    """
    reference_factor = scale[:, None] * ctf
    shifted = image_ft[:, None, :] * phases[None]
    linear = -weight * reference_factor[:, None] * shifted
    return linear, power_factor * weight * reference_factor**2
