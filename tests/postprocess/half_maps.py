"""Two noisy half maps of one phantom, as files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clrelion.fourier.masks import raised_cosine_mask
from tests.reference.phantoms import blob_map
from tests.reference.relion_programs import write_mrc

N, PIXEL = 48, 2.0
HALVES = ("run_half1_class001_unfil.mrc", "run_half2_class001_unfil.mrc")


def write_half_maps(folder: Path, noise: float = 0.15) -> list[NDArray[np.float64]]:
    """Write half maps, mask.mrc and mtf.star (a fine table); return the half maps."""
    rng = np.random.default_rng(1)
    truth = blob_map(N, 60, 1.3, 3)
    halves = [
        write_mrc(folder / name, truth + rng.normal(scale=noise, size=truth.shape), PIXEL)
        for name in HALVES
    ]
    write_mrc(folder / "mask.mrc", raised_cosine_mask(N, 15.0, 5.0), PIXEL)
    frequency = np.linspace(0.0, 0.5, 251)
    rows = "".join(f"{f:.6f} {np.sinc(1.2 * f):.6f}\n" for f in frequency)
    (folder / "mtf.star").write_text(
        f"\ndata_\n\nloop_\n_rlnResolutionInversePixel #1\n_rlnMtfValue #2\n{rows}\n"
    )
    return halves
