"""The contrast transfer function; clrelion.fourier.ctf is its float64 definition (E 2.9)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from clrelion.fourier import ctf


def contrast_transfer(
    u: NDArray[np.float64], v: NDArray[np.float64], *, squared: bool = False, **parameters: Any
) -> NDArray[np.float64]:
    """CTF at spatial frequencies (u, v), 1/Å; ``squared`` for CTF-premultiplied data."""
    value = ctf.contrast_transfer(u, v, **parameters)
    return value**2 if squared else value
