"""Images are read by several threads, in parts, while others are worked on."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from clrelion.fourier.transforms import workers_or_default
from clrelion.io.particle_table import ParticleTable

__all__ = ["PART_BYTES", "HostBatch", "ImageSource", "Landing", "ReadAhead", "reader_threads"]

_log = logging.getLogger(__name__)

PART_BYTES = 2**22
"""Images that a thread reads at a time: they are checked while they are in its cache."""

_MOST_THREADS = 4
"""More were no faster (docs/performance.md): they wait for each other and for the memory."""


def reader_threads() -> int:
    """Threads that read images: half of the cores of this process at most."""
    return max(1, min(_MOST_THREADS, workers_or_default() // 2))


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
    """Gives the images of particles; may be asked by several threads at a time."""

    def read(
        self, ids: NDArray[np.int64], out: NDArray[np.float32] | None = None
    ) -> NDArray[np.float32]:
        """Images of some particles of one optics group, float32, (b, box, box)."""


class Landing(Protocol):
    """Where images go that are read in parts."""

    def part(self, span: slice) -> AbstractContextManager[NDArray[np.float32]]:
        """Memory for the images of a part, float32, (n, box, box), to be filled in the context.

        Called by the threads that read.  What leaves the context without an error has arrived.
        """


class HostLanding:
    """Images that stay where they are read into."""

    def __init__(self, images: NDArray[np.float32]) -> None:
        self._images = images

    @contextmanager
    def part(self, span: slice) -> Iterator[NDArray[np.float32]]:
        """Give the part itself."""
        yield self._images[span]


class _Reading:
    """A batch that is being read in parts, whose errors and findings are told in its order."""

    def __init__(self, n: int, n_parts: int, conclude: Callable[[list[NDArray[np.bool_]]], None]):
        self.future: Future[NDArray[np.bool_]] = Future()
        self.good = np.ones((2, n), dtype=np.bool_)
        self._left = n_parts
        self._failed: tuple[int, BaseException] | None = None
        self._lock = threading.Lock()
        self._conclude = conclude

    @property
    def has_failed(self) -> bool:
        """Whether a part has: what is begun later than that is read for nobody."""
        with self._lock:
            return self._failed is not None

    def fail(self, first: int, error: BaseException) -> None:
        """Take note of an error; the first one of the batch counts."""
        with self._lock:
            if self._failed is None or first < self._failed[0]:
                self._failed = first, error

    def count_part(self) -> None:
        """Take note that a part is done; the last one gives the result."""
        with self._lock:
            self._left -= 1
            if self._left:
                return
        if self._failed is not None:
            self.future.set_exception(self._failed[1])
            return
        self._conclude(list(self.good))
        self.future.set_result(self.good[0] & self.good[1])


class ReadAhead:
    """Reads batches of images in threads of its own; a context that ends with the threads.

    Parameters
    ----------
    table
        Particles.
    images
        Source of the images.
    reconstruct_images
        Source of other images for back-projection, or None.
    n_threads
        Default: `reader_threads`.
    """

    def __init__(
        self,
        table: ParticleTable,
        images: ImageSource,
        reconstruct_images: ImageSource | None = None,
        n_threads: int | None = None,
    ) -> None:
        self._table = table
        self._images = images
        self._reconstruct_images = reconstruct_images
        self._pool = ThreadPoolExecutor(
            max_workers=n_threads or reader_threads(), thread_name_prefix="read-ahead"
        )

    def __enter__(self) -> ReadAhead:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    @property
    def reads_others(self) -> bool:
        """Other images are back-projected."""
        return self._reconstruct_images is not None

    def read(self, ids: NDArray[np.int64]) -> Future[HostBatch]:
        """Begin to read particles of one optics group; errors come with the result."""
        batch: Future[HostBatch] = Future()
        group = int(self._table.optics_group[ids[0]])
        box = self._table.optics[group].box_px
        try:
            images, others = (
                np.empty((len(ids), box, box), dtype=np.float32) if wanted else None
                for wanted in (True, self.reads_others)
            )
        except MemoryError as error:
            batch.set_exception(error)
            return batch
        assert images is not None

        def finish(reading: Future[NDArray[np.bool_]]) -> None:
            error = reading.exception()
            if error is not None:
                batch.set_exception(error)
                return
            good = reading.result()
            if good.all():
                batch.set_result(HostBatch(ids, images, group, ids[:0], others))
                return
            left = None if others is None else others[good]
            batch.set_result(HostBatch(ids[good], images[good], group, ids[~good], left))

        other_landing = None if others is None else HostLanding(others)
        self.read_to(ids, HostLanding(images), other_landing).add_done_callback(finish)
        return batch

    def read_to(
        self, ids: NDArray[np.int64], landing: Landing, others: Landing | None = None
    ) -> Future[NDArray[np.bool_]]:
        """Begin to read particles of one optics group to where they are wanted.

        Parameters
        ----------
        ids
            int64, (n,), one at least.
        landing, others
            Where the images go, and the other images for back-projection if there are any.

        Returns
        -------
        Future
            bool, (n,); which images hold only finite pixels; others have been warned of.
        """
        box = self._table.optics[int(self._table.optics_group[ids[0]])].box_px
        step = max(1, PART_BYTES // (4 * box * box))
        spans = [slice(first, first + step) for first in range(0, len(ids), step)]
        reading = _Reading(len(ids), len(spans), lambda good: self._warn(ids, good))
        for span in spans:
            self._pool.submit(self._read_part, reading, ids, span, landing, others)
        return reading.future

    def _read_part(
        self,
        reading: _Reading,
        ids: NDArray[np.int64],
        span: slice,
        landing: Landing,
        others: Landing | None,
    ) -> None:
        try:
            if not reading.has_failed:
                with landing.part(span) as images:
                    self._images.read(ids[span], images)
                    reading.good[0, span] = _are_finite(images)
                if self._reconstruct_images is not None and others is not None:
                    with others.part(span) as images:
                        self._reconstruct_images.read(ids[span], images)
                        reading.good[1, span] = _are_finite(images)
        except BaseException as error:
            reading.fail(span.start, error)
        reading.count_part()

    def _warn(self, ids: NDArray[np.int64], good: list[NDArray[np.bool_]]) -> None:
        """Name the images with pixels that are no numbers."""
        for names, of_kind in zip(
            (self._table.image_name, self._table.reconstruct_image_name), good, strict=True
        ):
            for i in ids[~of_kind].tolist():
                assert names is not None
                _log.warning(
                    "%s: %s holds NaN or infinite pixels; this particle is left out",
                    self._table.where(i),
                    names[i],
                )


def _are_finite(images: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Tell which images have only finite pixels."""
    pixels = images.reshape(len(images), -1)
    with np.errstate(invalid="ignore"):
        # both are NaN if any pixel is
        low, high = pixels.min(axis=1), pixels.max(axis=1)
    return np.asarray(np.isfinite(low) & np.isfinite(high))
