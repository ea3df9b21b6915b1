"""Check that particle images were normalised when they were extracted."""

import logging
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clrelion.errors import ImageError
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
    """Check batches as they pass; say once at the end what was found.

    Parameters
    ----------
    table
        Particles.
    particle_diameter_angst
        Å.

    Notes
    -----
    Specification E 3.3: RELION 1.3 stops at the first such image, RELION 5 warns once.  Here a few
    are a warning and a majority is an error (``--dont_check_norm`` switches both off).
    """

    def __init__(self, table: ParticleTable, particle_diameter_angst: float) -> None:
        self._table = table
        self._diameter = particle_diameter_angst
        self._first = ""
        self._n_seen = 0
        self.n_bad = 0

    def inspect(self, batch: HostBatch) -> None:
        """Check a batch."""
        pixel_size = self._table.optics[batch.optics_group].pixel_size_angst
        bad = check_normalisation(batch.images, self._diameter / (2 * pixel_size))
        if bad and self.n_bad == 0:
            i = int(batch.ids[bad[0].index])
            self._first = (
                f"{self._table.where(i)} ({self._table.image_name[i]}): background mean "
                f"{bad[0].mean:.3g}, standard deviation {bad[0].stddev:.3g}"
            )
        self._n_seen += len(batch.ids)
        self.n_bad += len(bad)

    def conclude(self) -> None:
        """Warn of images that are not normalised, the first one by name.

        Raises
        ------
        ImageError
            They are the majority.
        """
        if self.n_bad == 0:
            return
        found = (
            f"{self._table.star_path}: {self.n_bad} of {self._n_seen} images checked are not "
            f"normalised (background mean 0, standard deviation 1 expected), the first at "
            f"{self._first}"
        )
        if 2 * self.n_bad > self._n_seen:
            raise ImageError(
                f"{found}; normalise them at extraction, check --particle_diameter, or give "
                "--dont_check_norm"
            )
        _log.warning("%s", found)
