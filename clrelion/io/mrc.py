"""MRC maps in and out; also gives the names of the stack reader.

Specification E 2.8; maps written follow MRC2014, with RELION's origin.
"""

import os
from dataclasses import dataclass
from io import FileIO

import mrcfile
import mrcfile.mrcobject
import numpy as np
from numpy.typing import NDArray

from clrelion.constants import PROGRAM_NAME, VERSION
from clrelion.errors import ImageError, NumericalError
from clrelion.io.atomic import replacing
from clrelion.io.mrc_header import StackHeader, copy_pixels, map_memory, read_stack_header
from clrelion.io.mrc_stack import ImageReader

_CHUNK_VOXELS = 1 << 20
"""Stays in the processor's last cache; many small ones ask for Python's lock too often."""

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
    voxels = np.ascontiguousarray(data).reshape(-1)
    header = _MapHeader(data.shape, pixel_size_angst, label)
    with replacing(path) as temporary, open(temporary, "wb", buffering=0) as out:
        out.seek(header.header.nbytes)
        statistics = _Statistics()
        for start in range(0, voxels.size, _CHUNK_VOXELS):
            chunk = voxels[start : start + _CHUNK_VOXELS].astype(np.float32, copy=False)
            if not statistics.add(chunk):
                raise NumericalError(f"{path}: the map to be written holds NaN or infinite voxels")
            _write_whole(out, chunk.data.cast("B"))
        statistics.store(header)
        out.seek(0)
        _write_whole(out, memoryview(header.header.tobytes()))


class _MapHeader(mrcfile.mrcobject.MrcObject):  # type: ignore[misc]
    """Header as mrcfile makes it, of a volume whose voxels are written apart."""

    def __init__(self, shape: tuple[int, ...], pixel_size_angst: float, label: str) -> None:
        super().__init__()
        self._create_default_attributes()
        self._set_new_data(np.broadcast_to(np.float32(0), shape))
        self.update_header_from_data()
        self.set_volume()
        self.voxel_size = pixel_size_angst
        self.header.nlabl = 1
        self.header.label[:] = b""
        self.header.label[0] = label.encode("ascii", "replace")[:80]


class _Statistics:
    """Statistics of a map, chunk by chunk, while a chunk is in the processor's cache."""

    def __init__(self) -> None:
        self._low, self._high = np.inf, -np.inf
        self._n, self._sum, self._sum_of_squares = 0, 0.0, 0.0
        self._exact = np.empty(_CHUNK_VOXELS)

    def add(self, chunk: NDArray[np.float32]) -> bool:
        """Add some voxels; False if one is NaN or infinite."""
        low, high = float(chunk.min()), float(chunk.max())
        if not (np.isfinite(low) and np.isfinite(high)):
            return False
        self._low, self._high = min(self._low, low), max(self._high, high)
        exact = self._exact[: len(chunk)]
        exact[:] = chunk
        self._n += len(chunk)
        self._sum += float(exact.sum())
        self._sum_of_squares += float(np.einsum("i,i->", exact, exact))  # not one thread a core
        return True

    def store(self, mrc: _MapHeader) -> None:
        """Put them into a header."""
        mean = self._sum / self._n
        mrc.header.dmin, mrc.header.dmax, mrc.header.dmean = self._low, self._high, mean
        mrc.header.rms = max(self._sum_of_squares / self._n - mean**2, 0.0) ** 0.5


def _write_whole(out: FileIO, data: memoryview) -> None:
    while data:
        data = data[out.write(data) :]


def _is_finite(volume: NDArray[np.float32]) -> bool:
    """Whether all voxels are finite: then, and only then, their float64 sum is."""
    with np.errstate(invalid="ignore"):
        return bool(np.isfinite(volume.sum(dtype=np.float64)))
