"""Noise images that fill the masked part of particle images (specification E 5.2.5)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from clrelion.fourier.shells import half_transform_shells, round_half_away
from clrelion.fourier.transforms import inverse_2d

__all__ = ["NoiseFill"]


class NoiseFill:
    """Makes noise of the present spectrum; a particle has the same pattern in every iteration.

    Parameters
    ----------
    box_px
        n.
    remap
        rho, image shells per model shell.
    variance
        float64, (N/2+1,); variance of one component of a Fourier coefficient of the images, by
        model shell.  Image shells that no model shell maps to stay empty.
    random_seed
        Of the run.
    """

    def __init__(
        self, box_px: int, remap: float, variance: NDArray[np.float64], random_seed: int
    ) -> None:
        shells = half_transform_shells(box_px)
        by_image_shell = np.zeros(int(shells.max()) + 1)
        targets = round_half_away(remap * np.arange(len(variance)))
        kept = targets < len(by_image_shell)
        by_image_shell[targets[kept]] = variance[kept]
        self._deviation = np.sqrt(by_image_shell)[shells]
        self._box = box_px
        self._seed = random_seed

    def images(self, ids: NDArray[np.int64]) -> NDArray[np.float64]:
        """Noise images of particles, float64, (n, box, box) as [y, x]."""
        noise = np.empty((len(ids), self._box, self._box))
        for place, particle in enumerate(ids.tolist()):
            rng = np.random.Generator(np.random.Philox(key=[self._seed, particle]))
            values = rng.standard_normal((2, *self._deviation.shape)) * self._deviation
            noise[place] = inverse_2d(values[0] + 1j * values[1])
        return noise
