"""Batches of particle images, read ahead of their use."""

import threading
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from clrelion.errors import ImageError
from clrelion.io.image_names import ImageNames
from clrelion.io.mrc_stack import ImageReader
from clrelion.io.particle_table import ParticleTable
from clrelion.particles.read_ahead import HostBatch, ImageSource, ReadAhead, reader_threads

__all__ = [
    "BatchLoader",
    "HostBatch",
    "ImageSource",
    "ParticleImages",
    "PrereadImages",
    "split_into_batches",
]

_PREREAD_CHUNK = 256


class ParticleImages:
    """The images of a particle table, read from the stacks at each request.

    Parameters
    ----------
    table
        Particles.
    reader
        Access to the stacks.
    use_reconstruct_images
        Give the images of rlnReconstructImageName (last iteration of auto-refine).

    Notes
    -----
    Specification E 2.2, 2.8.
    """

    def __init__(
        self, table: ParticleTable, reader: ImageReader, use_reconstruct_images: bool = False
    ) -> None:
        names = table.reconstruct_image_name if use_reconstruct_images else table.image_name
        if names is None:
            raise ImageError(f"{table.star_path}: has no rlnReconstructImageName column; add it")
        self._strings = names
        self._names: ImageNames | None = None
        self._lock = threading.Lock()
        self._table = table
        self._reader = reader
        self._boxes = table.boxes_px

    def _located(self) -> ImageNames:
        """Give the names in parts, which takes a moment for many particles."""
        with self._lock:
            if self._names is None:
                self._names = ImageNames(self._strings)
            return self._names

    def verify(self) -> None:
        """Check that every image exists with the box of its optics group; reads no pixel.

        Raises
        ------
        ImageError
            Names the file and the row of the first image that does not.
        """
        self._reader.verify(self._located(), self._table.source_row, self._boxes)

    def read(
        self, ids: NDArray[np.int64], out: NDArray[np.float32] | None = None
    ) -> NDArray[np.float32]:
        """Read the images of some particles of one optics group.

        Parameters
        ----------
        ids
            int64, (b,): particle indices.
        out
            float32, (b, box, box), to be filled; allocated if None.

        Returns
        -------
        ndarray
            float32, (b, box, box).

        Raises
        ------
        ImageError
            As :meth:`clrelion.io.mrc_stack.ImageReader.read_some`.
        """
        box = int(self._boxes[ids[0]]) if len(ids) else None
        rows = self._table.source_row
        return self._reader.read_some(self._located(), ids, rows, box, out)


class PrereadImages:
    """Images held in memory once (``--preread_images``); others are read when asked for.

    Parameters
    ----------
    images
        Where to read them from.
    table
        Particles.
    ids
        int64: particles to hold, such as the share of this process.

    Raises
    ------
    ImageError
        They do not fit into memory, or cannot be read.
    """

    def __init__(
        self, images: ImageSource, table: ParticleTable, ids: NDArray[np.int64]
    ) -> None:
        self._images = images
        self._group = table.optics_group
        self._position = np.full(table.n, -1, dtype=np.int64)
        self._stored: dict[int, NDArray[np.float32]] = {}
        for group, optics in enumerate(table.optics):
            members = ids[table.optics_group[ids] == group]
            shape = (len(members), optics.box_px, optics.box_px)
            try:
                stored = np.empty(shape, dtype=np.float32)
            except MemoryError as error:
                raise ImageError(
                    f"{table.star_path}: {np.prod(shape) * 4 / 2**30:.1f} GiB of images do not fit "
                    "into memory; leave out --preread_images"
                ) from error
            starts = range(0, len(members), _PREREAD_CHUNK)
            parts = [slice(start, start + _PREREAD_CHUNK) for start in starts]
            with ThreadPoolExecutor(reader_threads()) as pool:
                list(pool.map(lambda part: images.read(members[part], stored[part]), parts))  # noqa: B023
            self._stored[group] = stored
            self._position[members] = np.arange(len(members))

    @property
    def n_bytes(self) -> int:
        """Memory held, bytes."""
        return sum(stored.nbytes for stored in self._stored.values())

    def read(
        self, ids: NDArray[np.int64], out: NDArray[np.float32] | None = None
    ) -> NDArray[np.float32]:
        """Copy the images of some particles of one optics group.

        Parameters
        ----------
        ids
            int64, (b,): particle indices.
        out
            float32, (b, box, box), to be filled; allocated if None.

        Returns
        -------
        ndarray
            float32, (b, box, box).
        """
        positions = self._position[ids]
        if (positions < 0).any():  # of another process's share
            return self._images.read(ids, out)
        stored = self._stored[int(self._group[ids[0]]) if len(ids) else 0]
        # with this mode NumPy fills ``out`` directly; all positions are inside
        return np.take(stored, positions, axis=0, out=out, mode="clip")


class BatchLoader:
    """Iterate over batches of images; a background thread reads the next one meanwhile.

    Parameters
    ----------
    table
        Particles.
    order
        int64: particle indices in processing order.
    batch_size
        Largest number of particles of a batch.
    images
        Source of the images: :class:`ParticleImages`, :class:`PrereadImages`, or a plain
        :class:`~clrelion.io.mrc_stack.ImageReader`.
    reconstruct_images
        Source of other images for back-projection, or None.

    Notes
    -----
    A batch never mixes optics groups.  Errors of reading are raised to the consumer, at the batch
    they belong to.
    """

    def __init__(
        self,
        table: ParticleTable,
        order: NDArray[np.int64],
        batch_size: int,
        images: ImageSource | ImageReader,
        reconstruct_images: ImageSource | None = None,
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}; it must be at least 1")
        if isinstance(images, ImageReader):
            images = ParticleImages(table, images)
        self._source = table, images, reconstruct_images
        self._batches = split_into_batches(order, table.optics_group, batch_size)

    def __len__(self) -> int:
        """Number of batches."""
        return len(self._batches)

    def __iter__(self) -> Generator[HostBatch, None, None]:
        """Yield the batches in order."""
        if not self._batches:
            return
        with ReadAhead(*self._source) as ahead:
            pending = ahead.read(self._batches[0])
            for following in self._batches[1:]:
                batch = pending.result()
                pending = ahead.read(following)
                yield batch
            yield pending.result()


def split_into_batches(
    order: NDArray[np.int64], optics_group: NDArray[np.int64], batch_size: int
) -> list[NDArray[np.int64]]:
    """Cut a processing order into batches of one optics group each.

    Parameters
    ----------
    order
        int64: particle indices.
    optics_group
        int64, (n,): optics group of every particle of the table.
    batch_size
        Largest number of particles of a batch.

    Returns
    -------
    list of ndarray
        int64 each, in the order given.
    """
    changes = np.flatnonzero(np.diff(optics_group[order])) + 1
    return [
        run[start : start + batch_size]
        for run in np.split(order, changes)
        for start in range(0, len(run), batch_size)
    ]
