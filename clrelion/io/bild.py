"""Angular distribution as a BILD file, to be shown with the map in Chimera or ChimeraX."""

import os

import numpy as np
from numpy.typing import NDArray

from clrelion.io.atomic import replacing
from clrelion.orientations.euler import direction_vector

_LONGEST_FRACTION = 0.3
_FULL_RED_AT = 6.0
_CHUNK_ROWS = 1000


def write_angular_distribution(
    path: str | os.PathLike[str],
    rot_deg: NDArray[np.float64],
    tilt_deg: NDArray[np.float64],
    pdf_direction: NDArray[np.float64],
    ori_size: int,
    pixel_size_angst: float,
    angular_step_deg: float,
) -> None:
    """Write one cylinder for each direction that particles were seen from.

    Parameters
    ----------
    path
        File to write.
    rot_deg, tilt_deg
        float64, (n_dir,): directions, degrees.
    pdf_direction
        float64, (n_dir,): prior of each direction; directions of probability 0 are left out.
    ori_size
        Box of the map, px.
    pixel_size_angst
        Å.
    angular_step_deg
        Spacing of the directions, degrees; sets the thickness.

    Notes
    -----
    Specification E 6.1.  The map lies with its corner at the origin, so the centre is at half of
    the box; the cylinders start half a box from it.  Length is proportional to the probability,
    colour goes from blue to red at six times the mean.
    """
    pdf = np.asarray(pdf_direction, dtype=np.float64)
    shown = pdf > 0
    centre = 0.5 * ori_size * pixel_size_angst
    vectors = direction_vector(rot_deg, tilt_deg)[shown]
    lengths = pdf[shown] / pdf.max() if shown.any() else pdf[shown]
    inner = centre + centre * vectors
    outer = centre + (centre * (1 + _LONGEST_FRACTION * lengths))[:, None] * vectors
    red = np.minimum(pdf[shown] / (_FULL_RED_AT * pdf.mean()), 1.0) if shown.any() else lengths
    radius = centre * np.deg2rad(angular_step_deg) / 4
    numbers = np.column_stack([red, 1 - red, inner, outer])
    line = f".color %g 0 %g\n.cylinder %g %g %g %g %g %g {radius:g}\n"
    with replacing(path) as temporary, open(temporary, "w", encoding="ascii") as out:
        for start in range(0, len(numbers), _CHUNK_ROWS):  # one by one takes twice as long
            chunk = numbers[start : start + _CHUNK_ROWS]
            out.write(line * len(chunk) % tuple(chunk.ravel().tolist()))
