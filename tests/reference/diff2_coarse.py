"""Squared differences of all images with all orientations as a matrix product (E 5.4)."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray


def diff2_coarse(
    images: NDArray[Any],
    projections: NDArray[Any],
    epilogue: Literal["none", "add_norm", "correlation"] = "none",
    norm: NDArray[Any] | None = None,
    inverse_image_norm: NDArray[Any] | None = None,
    n_trans: int = 1,
) -> NDArray[np.float64]:
    """Product of ``images`` (image x translation, depth) and ``projections`` (orientation, depth).

    ``norm`` (image, orientation) is added, or its root divided by; where it is 0 (no projection)
    the correlation is 0.
    """
    product = np.einsum("md,rd->mr", images, projections)
    if epilogue == "none" or norm is None:
        return product
    norm = np.repeat(norm, n_trans, axis=0)
    if epilogue == "add_norm":
        return product + norm
    assert inverse_image_norm is not None
    image_factor = np.repeat(inverse_image_norm, n_trans)[:, None]
    correlation = np.zeros_like(product)
    np.divide(product * image_factor, np.sqrt(norm), out=correlation, where=norm > 0)
    return correlation
