"""MRC maps in and out; also gives the names of the stack reader.

Specification E 2.8; maps written follow MRC2014, with RELION's origin.
"""

import os
from dataclasses import dataclass

import mrcfile
import numpy as np
from numpy.typing import NDArray

from clrelion.constants import PROGRAM_NAME, VERSION
from clrelion.errors import ImageError, NumericalError
from clrelion.io.atomic import replacing
from clrelion.io.mrc_header import StackHeader, copy_pixels, map_memory, read_stack_header
from clrelion.io.mrc_stack import ImageReader

__all__ = ["ImageReader", "MapFile", "StackHeader", "read_map", "read_stack_header", "write_map"]


@dataclass
class MapFile:
    """A map.

    Attributes
    ----------
    data
        float32, (z, y, x); real space, origin at index n // 2.
    pixel_size_angst
        Cell length a divided by mx, Å.
    """

    data: NDArray[np.float32]
    pixel_size_angst: float


def read_map(path: str | os.PathLike[str]) -> MapFile:
    """Read a map.

    Parameters
    ----------
    path
        MRC file, RELION's (``ispg`` 0) or MRC2014; either byte order, modes 0 1 2 6 12 101.

    Raises
    ------
    ImageError
        Missing, truncated, no MRC file, or NaN or infinite voxels.

    Notes
    -----
    Specification E 1.1, E 2.8: no axis is flipped.
    """
    header = read_stack_header(path)
    data = np.empty((header.nz, header.ny, header.nx), dtype=np.float32)
    copy_pixels(map_memory(path, header), header, data)
    if not _is_finite(data):
        raise ImageError(f"{path}: holds NaN or infinite voxels; make this map again")
    return MapFile(data, header.pixel_size_angst)


def write_map(
    path: str | os.PathLike[str],
    data: NDArray[np.floating],
    pixel_size_angst: float,
    label: str = f"{PROGRAM_NAME} {VERSION}",
) -> None:
    """Write a map atomically.

    Parameters
    ----------
    path
        File to write.
    data
        Real, (z, y, x); real space, origin at index n // 2.  Stored as float32.
    pixel_size_angst
        Voxel size, Å.
    label
        Text of the first header label, at most 80 ASCII characters.

    Raises
    ------
    NumericalError
        NaN or infinite voxels.

    Notes
    -----
    Mode 2, ``ispg`` 1, ``nversion`` 20141, origin and start 0, statistics filled, so that RELION,
    ChimeraX and mrcfile all take it for a volume.  No time stamp: equal maps give equal files.
    """
    volume = np.ascontiguousarray(data, dtype=np.float32)
    if not _is_finite(volume):
        raise NumericalError(f"{path}: the map to be written holds NaN or infinite voxels")
    with replacing(path) as temporary, mrcfile.new(temporary, overwrite=True) as mrc:
        mrc.set_data(volume)
        mrc.set_volume()
        mrc.voxel_size = pixel_size_angst
        mrc.header.nlabl = 1
        mrc.header.label[:] = b""
        mrc.header.label[0] = label.encode("ascii", "replace")[:80]


def _is_finite(volume: NDArray[np.float32]) -> bool:
    """Whether all voxels are finite: then, and only then, their float64 sum is."""
    with np.errstate(invalid="ignore"):
        return bool(np.isfinite(volume.sum(dtype=np.float64)))
