"""Batches of particle images, read ahead of their use."""

import logging
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from clrelion.errors import ImageError
from clrelion.io.mrc_stack import ImageReader
from clrelion.io.particle_table import ParticleTable

_log = logging.getLogger(__name__)

_PREREAD_CHUNK = 256


@dataclass
class HostBatch:
    """Images of some particles of one optics group, in host memory.

    Attributes
    ----------
    ids
        int64, (b,): particle indices; b may be 0 if all particles of the batch were bad.
    images
        float32, (b, box, box); real space, [y, x], origin at index box // 2.
    optics_group
        0-based optics group of all of them.
    bad_ids
        int64: particles left out because their image holds NaN or infinity.
    reconstruct_images
        Images for back-projection in place of ``images``, shaped like them; None: the same.
    """

    ids: NDArray[np.int64]
    images: NDArray[np.float32]
    optics_group: int
    bad_ids: NDArray[np.int64]
    reconstruct_images: NDArray[np.float32] | None = None


class ImageSource(Protocol):
    """Gives the images of particles."""

    def read(self, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """Images of some particles of one optics group, float32, (b, box, box)."""


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
        self._names = names
        self._table = table
        self._reader = reader
        self._boxes = table.boxes_px

    def verify(self) -> None:
        """Check that every image exists with the box of its optics group; reads no pixel.

        Raises
        ------
        ImageError
            Names the file and the row of the first image that does not.
        """
        self._reader.verify(self._names, self._table.source_row, self._boxes)

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
            As :meth:`clrelion.io.mrc_stack.ImageReader.read`.
        """
        names = [self._names[i] for i in ids.tolist()]
        box = int(self._boxes[ids[0]]) if len(ids) else None
        return self._reader.read(names, self._table.source_row[ids], box, out)


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
            for start in range(0, len(members), _PREREAD_CHUNK):
                part = slice(start, start + _PREREAD_CHUNK)
                stored[part] = images.read(members[part])
            self._stored[group] = stored
            self._position[members] = np.arange(len(members))

    @property
    def n_bytes(self) -> int:
        """Memory held, bytes."""
        return sum(stored.nbytes for stored in self._stored.values())

    def read(self, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """Copy the images of some particles of one optics group.

        Parameters
        ----------
        ids
            int64, (b,): particle indices.

        Returns
        -------
        ndarray
            float32, (b, box, box).
        """
        positions = self._position[ids]
        if (positions < 0).any():  # of another process's share
            return self._images.read(ids)
        group = int(self._group[ids[0]]) if len(ids) else 0
        return self._stored[group][positions]


class ReadAhead:
    """Reads batches of images in a thread of its own; a context that ends with the thread.

    Parameters
    ----------
    table
        Particles.
    images
        Source of the images.
    reconstruct_images
        Source of other images for back-projection, or None.
    """

    def __init__(
        self,
        table: ParticleTable,
        images: ImageSource,
        reconstruct_images: ImageSource | None = None,
    ) -> None:
        self._table = table
        self._images = images
        self._reconstruct_images = reconstruct_images
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="read-ahead")

    def __enter__(self) -> "ReadAhead":
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def read(self, ids: NDArray[np.int64]) -> "Future[HostBatch]":
        """Begin to read particles of one optics group; errors come with the result."""
        return self._pool.submit(self._read, ids)

    def _read(self, ids: NDArray[np.int64]) -> HostBatch:
        """Read one batch and leave out particles whose images are no numbers."""
        images = self._images.read(ids)
        good = self._finite(images, ids, self._table.image_name)
        others = None
        if self._reconstruct_images is not None:
            others = self._reconstruct_images.read(ids)
            assert self._table.reconstruct_image_name is not None
            good &= self._finite(others, ids, self._table.reconstruct_image_name)
        bad_ids = ids[~good]
        if bad_ids.size:
            ids, images = ids[good], images[good]
            others = None if others is None else others[good]
        group = int(self._table.optics_group[(ids if ids.size else bad_ids)[0]])
        return HostBatch(ids, images, group, bad_ids, others)

    def _finite(
        self, images: NDArray[np.float32], ids: NDArray[np.int64], names: list[str]
    ) -> NDArray[np.bool_]:
        """Tell which images have only finite pixels; warn of the others."""
        # A float64 sum over an image is finite exactly when all its float32 pixels are.
        with np.errstate(invalid="ignore"):
            good = np.isfinite(images.sum(axis=(1, 2), dtype=np.float64))
        for i in ids[~good].tolist():
            _log.warning(
                "%s: %s holds NaN or infinite pixels; this particle is left out",
                self._table.where(i),
                names[i],
            )
        return np.asarray(good, dtype=np.bool_)


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
