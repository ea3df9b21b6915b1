"""Modulation transfer functions of detectors, from STAR files (Specification E 2.10)."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clrelion.errors import StarError
from clrelion.io.optics import OpticsGroup
from clrelion.io.star import read_star

__all__ = ["MtfCurve", "read_mtf", "read_mtfs"]

_FREQUENCY, _VALUE = "rlnResolutionInversePixel", "rlnMtfValue"


@dataclass(frozen=True, eq=False)
class MtfCurve:
    """Modulation transfer function of a detector.

    Attributes
    ----------
    frequency_inv_angst
        float64, (n,), increasing; spatial frequency, 1/Å.
    value
        float64, (n,), positive.
    """

    frequency_inv_angst: NDArray[np.float64]
    value: NDArray[np.float64]

    def at(self, frequency_inv_angst: NDArray[np.float64]) -> NDArray[np.float64]:
        """Interpolate linearly; the first and the last value hold beyond the table."""
        return np.interp(frequency_inv_angst, self.frequency_inv_angst, self.value)


@lru_cache(maxsize=64)
def read_mtf(path: str, pixel_size_angst: float) -> MtfCurve:
    """Read an MTF.

    Parameters
    ----------
    path
        STAR file with rlnResolutionInversePixel and rlnMtfValue.
    pixel_size_angst
        Pixel size of the detector that its frequencies refer to, Å.

    Raises
    ------
    StarError
        A column is missing, or holds what is no MTF.
    """
    blocks = read_star(path).values()
    block = next((b for b in blocks if _FREQUENCY in b and _VALUE in b), None)
    if block is None or block.n_rows == 0:
        raise StarError(f"{path}: no table with {_FREQUENCY} and {_VALUE}; is this an MTF file?")
    frequency, value = block.floats(_FREQUENCY), block.floats(_VALUE)
    if not (np.diff(frequency) > 0).all():
        raise StarError(f"{path}: {_FREQUENCY} must increase from row to row; sort the table")
    bad = ~(np.isfinite(value) & (value > 0))
    if bad.any():
        row = int(np.argmax(bad))
        raise StarError(
            f"{path}: row {row + 1}: {_VALUE} is {value[row]:g}; images are divided by it, so it "
            "must be positive: cut the table before this row"
        )
    return MtfCurve(frequency / pixel_size_angst, value)


def read_mtfs(optics: list[OpticsGroup], star_path: str, folder: str = "") -> list[MtfCurve] | None:
    """Read the MTFs of the optics groups.

    Parameters
    ----------
    optics
        Optics groups.
    star_path
        The particle file, for messages.
    folder
        Where MTF files are looked for if the working directory has none; empty: the folder of
        the particle file.

    Returns
    -------
    list of MtfCurve or None
        One a group; None if all groups have the same file or none: nothing is to be done.

    Raises
    ------
    StarError
        A file is missing or wrong, or only some groups have one.
    """
    files = [group.mtf_file for group in optics]
    if len(set(files)) == 1:
        return None
    curves = []
    beside = str(Path(star_path).parent)
    for group in optics:
        if group.mtf_file is None:
            raise StarError(
                f"{star_path}: optics group '{group.name}' has no rlnMtfFileName but others have; "
                "give one for every group, or remove the column"
            )
        pixel_size = group.detector_pixel_size_angst or group.pixel_size_angst
        curves.append(read_mtf(_found(group.mtf_file, folder or beside), pixel_size))
    return curves


def _found(name: str, folder: str) -> str:
    """Path of a file named in a STAR file: from here, or else from ``folder``."""
    other = Path(folder) / name
    return str(other) if not Path(name).is_file() and other.is_file() else name
