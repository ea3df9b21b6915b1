"""Pixel sums added up over Fourier shells (specification E 5.6)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def shell_sums(
    pixel_sums: NDArray[np.float64], shell: NDArray[Any], n_shells: int
) -> NDArray[np.float64]:
    """Sum (image, pixel, value) over the pixels of each shell: (value, image, shell).

    Pixels whose shell is not one of ``n_shells`` do not count.
    """
    by_shell = [pixel_sums[:, shell == s].sum(axis=1).T for s in range(n_shells)]
    return np.stack(by_shell, axis=2)
