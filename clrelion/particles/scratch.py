"""Copies of particle images on a fast disk of this node.

`ScratchImages` fills a file without a name as images are read for the first time: it vanishes with
its process, however that ends.  `copy_to_scratch` makes a copy that stays, for several runs.
"""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
import threading
from pathlib import Path

import mrcfile
import numpy as np
from numpy.typing import NDArray

from clrelion.errors import ImageError, OptionsError
from clrelion.io.particle_table import ParticleTable
from clrelion.io.star import read_star
from clrelion.io.star_writer import Column, StarTable, write_star
from clrelion.particles.loader import ImageSource, ParticleImages

__all__ = [
    "FOLDER",
    "ScratchImages",
    "copy_to_scratch",
    "names_in_scratch",
    "remove_scratch",
]

_log = logging.getLogger(__name__)

FOLDER = "clrelion_scratch"
"""Folder of a copy that stays, within the scratch folder."""

_INDEX = "particles.star"
_ORIGINAL = "rlnImageOriginalName"
_CHUNK = 256


class ScratchImages:
    """Images that are copied to a scratch file when they are first read, as far as it has room.

    Parameters
    ----------
    images
        Where to read them from.
    table
        Particles.
    n_expected
        Particles that this process will read, about.
    folder
        On a local disk (``--scratch_dir``).
    keep_free_bytes
        Space to leave on that disk.
    n_sharing
        Processes of this node that write there.

    Raises
    ------
    OptionsError
        Nothing can be written into the folder.
    """

    def __init__(
        self,
        images: ImageSource,
        table: ParticleTable,
        n_expected: int,
        folder: str,
        keep_free_bytes: int,
        n_sharing: int = 1,
    ) -> None:
        self._images = images
        self._boxes = table.boxes_px
        self._start = np.full(table.n, -1, dtype=np.int64)  # of each image, in pixels
        try:
            self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  (lives as long as we)
            room = (_free_bytes(folder) - keep_free_bytes) // n_sharing
            wanted = 4 * int((self._boxes.astype(np.int64) ** 2).mean() * n_expected)
            size = max(0, min(wanted, room) // 4 * 4)
            if size:
                os.posix_fallocate(self._file.fileno(), 0, size)
        except OSError as error:
            raise OptionsError(
                f"--scratch_dir {folder}: nothing can be written there ({error.strerror}); give a "
                "folder on a local disk"
            ) from error
        self._pixels = np.empty(0, dtype=np.float32)
        if size:
            self._pixels = np.memmap(self._file, dtype=np.float32, mode="r+")
        self._n_used = 0
        self._lock = threading.Lock()
        self.part = min(1.0, size / max(1, wanted))
        _log.info(
            "Scratch: %.1f GB in %s for %d %% of the images%s",
            size / 1e9,
            folder,
            round(100 * self.part),
            "" if self.part == 1.0 else "; the others are read in place",
        )

    def read(
        self, ids: NDArray[np.int64], out: NDArray[np.float32] | None = None
    ) -> NDArray[np.float32]:
        """Give the images of some particles of one optics group, float32, (b, box, box).

        Parameters
        ----------
        out
            To be filled; allocated if None.
        """
        starts = self._start[ids]
        box = int(self._boxes[ids[0]]) if len(ids) else 0
        if out is None:
            out = np.empty((len(ids), box, box), dtype=np.float32)
        missing = np.flatnonzero(starts < 0)
        if len(missing) == len(ids):
            self._images.read(ids, out)
            self._keep(ids, out)
            return out
        if len(missing):
            fresh = self._images.read(ids[missing])
            self._keep(ids[missing], fresh)
            out[missing] = fresh
        for place in np.flatnonzero(starts >= 0).tolist():
            start = int(starts[place])
            out[place] = self._pixels[start : start + box * box].reshape(box, box)
        return out

    def _keep(self, ids: NDArray[np.int64], images: NDArray[np.float32]) -> None:
        """Write images to the scratch file, as many as it has room for."""
        n_pixels = int(np.prod(images.shape[1:]))
        with self._lock:
            first = self._n_used
            n = min(len(ids), (self._pixels.size - first) // max(1, n_pixels))
            if n <= 0:
                return
            self._n_used += n * n_pixels
        self._pixels[first : first + n * n_pixels] = images[:n].ravel()
        # whoever sees these reads what has been written
        self._start[ids[:n]] = first + n_pixels * np.arange(n)


def copy_to_scratch(
    table: ParticleTable, images: ParticleImages, folder: str, keep_free_bytes: int
) -> int:
    """Copy images into a folder where they stay until `remove_scratch`, as many as fit.

    Parameters
    ----------
    folder
        Scratch folder; the copy is in a folder of its own within it.
    keep_free_bytes
        Space to leave on that disk.

    Returns
    -------
    int
        Number of images copied.  A STAR file beside them names all images, copied or not.

    Raises
    ------
    OptionsError
        The folder cannot be written to.
    ImageError
        An image cannot be read.
    """
    place = Path(folder) / FOLDER
    remove_scratch(folder)
    try:
        place.mkdir(parents=True)
        room = _free_bytes(folder) - keep_free_bytes
        names = list(table.image_name)
        n_copied = 0
        for group, optics in enumerate(table.optics):
            ids = np.flatnonzero(table.optics_group == group)
            ids = ids[: max(0, room // (4 * optics.box_px**2))]
            if not len(ids):
                continue
            room -= 4 * optics.box_px**2 * len(ids)
            path = place / f"opticsgroup{group + 1}_particles.mrcs"
            _copy_stack(images, ids, optics.box_px, optics.pixel_size_angst, path)
            for number, i in enumerate(ids.tolist(), start=1):
                names[i] = f"{number:06d}@{path.resolve()}"
            n_copied += len(ids)
    except OSError as error:
        remove_scratch(folder)
        raise OptionsError(
            f"--scratch_dir {folder}: cannot be written to ({error.strerror or error})"
        ) from error
    raw = table.raw["particles"].columns
    columns: dict[str, Column] = {**raw, "rlnImageName": names, _ORIGINAL: table.image_name}
    write_star(place / _INDEX, [table.raw["optics"], StarTable("particles", columns)])
    return n_copied


def _copy_stack(
    images: ParticleImages, ids: NDArray[np.int64], box: int, pixel_size: float, path: Path
) -> None:
    with mrcfile.new_mmap(path, (len(ids), box, box), mrc_mode=2, overwrite=True) as stack:
        for first in range(0, len(ids), _CHUNK):
            stack.data[first : first + _CHUNK] = images.read(ids[first : first + _CHUNK])
        stack.voxel_size = pixel_size
        stack.update_header_stats()


def names_in_scratch(table: ParticleTable, folder: str) -> list[str]:
    """Names of the images, of the copy where there is one (``--reuse_scratch``).

    Raises
    ------
    ImageError
        There is no copy in the folder, or it holds none of these particles.
    """
    index = Path(folder) / FOLDER / _INDEX
    if not index.is_file():
        raise ImageError(
            f"--reuse_scratch: there is no {index}; make the copy on each node with `clrelion "
            "scratch copy`"
        )
    block = read_star(index)["particles"]
    copies = dict(zip(block.strings(_ORIGINAL), block.strings("rlnImageName"), strict=True))
    names = [copies.get(name, name) for name in table.image_name]
    n = sum(new != old for new, old in zip(names, table.image_name, strict=True))
    if n == 0:
        raise ImageError(f"--reuse_scratch: {index} holds none of the images of {table.star_path}")
    _log.info("Scratch: %d of %d images are read from %s", n, len(names), index.parent)
    return names


def remove_scratch(folder: str) -> bool:
    """Remove a copy; tells whether there was one."""
    place = Path(folder) / FOLDER
    if not place.is_dir():
        return False
    shutil.rmtree(place)
    return True


def _free_bytes(folder: str) -> int:
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize
