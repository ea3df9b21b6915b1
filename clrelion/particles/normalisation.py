"""Check that particle images were normalised when they were extracted."""

import logging
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clrelion.fourier.shells import round_half_away_int
from clrelion.io.particle_table import ParticleTable
from clrelion.particles.loader import HostBatch

_log = logging.getLogger(__name__)

_MAX_MEAN_IN_STDDEV = 0.5
_MIN_STDDEV = 0.5
_MAX_STDDEV = 2.0


@dataclass(frozen=True)
class BadNormalisation:
    """Background of an image that does not look normalised.

    Attributes
    ----------
    index
        Position of the image in the batch.
    mean, stddev
        Of the background pixels; population standard deviation.
    """

    index: int
    mean: float
    stddev: float


def check_normalisation(images: NDArray[np.float32], radius_px: float) -> list[BadNormalisation]:
    """Find images whose background is not about mean 0 and standard deviation 1.

    Parameters
    ----------
    images
        float32, (n, box, box); real space, origin at index box // 2.
    radius_px
        Particle radius, D / (2 pixel size), px; pixels beyond it are background.

    Returns
    -------
    list of BadNormalisation
        Images with |mean / stddev| > 0.5, or stddev outside 0.5..2.  Empty if there is no
        background.

    Notes
    -----
    Specification E 3.3.
    """
    box = images.shape[-1]
    index = np.arange(box) - box // 2
    r2 = index[:, None] ** 2 + index[None, :] ** 2
    background = images[:, r2 > round_half_away_int(radius_px**2)].astype(np.float64)
    if background.shape[1] == 0:
        return []
    means = background.mean(axis=1)
    stddevs = background.std(axis=1)
    is_bad = (
        (np.abs(means) > _MAX_MEAN_IN_STDDEV * stddevs)
        | (stddevs < _MIN_STDDEV)
        | (stddevs > _MAX_STDDEV)
    )
    return [
        BadNormalisation(int(i), float(means[i]), float(stddevs[i])) for i in np.flatnonzero(is_bad)
    ]


class NormalisationCheck:
    """Check batches as they pass and warn once.

    Parameters
    ----------
    table
        Particles.
    particle_diameter_angst
        Å.

    Notes
    -----
    Specification E 3.3; RELION 5 warns once, too (``--dont_check_norm`` switches it off).
    """

    def __init__(self, table: ParticleTable, particle_diameter_angst: float) -> None:
        self._table = table
        self._diameter = particle_diameter_angst
        self.n_bad = 0

    def inspect(self, batch: HostBatch) -> None:
        """Check a batch; the first bad image of all is named in a warning."""
        pixel_size = self._table.optics[batch.optics_group].pixel_size_angst
        bad = check_normalisation(batch.images, self._diameter / (2 * pixel_size))
        if bad and self.n_bad == 0:
            i = int(batch.ids[bad[0].index])
            _log.warning(
                "%s: %s does not look normalised: background mean %.3g, standard deviation %.3g "
                "(expected 0 and 1); normalise at extraction, check --particle_diameter, or give "
                "--dont_check_norm.  Further images are not reported",
                self._table.where(i),
                self._table.image_name[i],
                bad[0].mean,
                bad[0].stddev,
            )
        self.n_bad += len(bad)
