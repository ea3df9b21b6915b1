"""The images of the next batch are read and go to the device while the present one is worked on."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from clrelion.errors import DeviceMemoryError
from clrelion.expectation.device_images import DeviceImages
from clrelion.expectation.resident_images import ResidentImages
from clrelion.particles.read_ahead import (
    PART_BYTES,
    HostBatch,
    HostLanding,
    ReadAhead,
    reader_threads,
)

if TYPE_CHECKING:
    from clrelion.device.array import Array
    from clrelion.device.session import DeviceSession
    from clrelion.device.staging import Staging
    from clrelion.device.transfers import PendingRead

__all__ = ["ComingBatch", "LoadedBatch", "ReadOnHost", "UploadAhead"]

_log = logging.getLogger(__name__)

_STAGE = -2
"""Number of the buffer of images that are not held, among those of the images that are."""
_ROOM_TO_VARY = 1.25


@dataclass(frozen=True)
class LoadedBatch:
    """Images of some particles of one optics group, ready to work with.

    Attributes
    ----------
    ids
        int64, (n,); the particles.
    images
        float32, (n, box, box), on the host or the device.
    bad_ids
        int64; particles left out because their image holds NaN or infinity.
    reconstruct_images
        float32, (n, box, box); images for back-projection in place of ``images``, or None.
    """

    ids: NDArray[np.int64]
    images: NDArray[np.float32] | DeviceImages
    bad_ids: NDArray[np.int64]
    reconstruct_images: NDArray[np.float32] | None = None


class ComingBatch(Protocol):
    """A batch on its way."""

    @property
    def ids(self) -> NDArray[np.int64]:
        """Its particles, int64, (n,)."""

    @property
    def is_here(self) -> bool:
        """Nothing is read for it."""

    def result(self) -> LoadedBatch:
        """Wait for it; errors of reading are raised here."""

    def note_use(self) -> None:
        """Take note that the work with its images has been given to the device."""


class ReadOnHost:
    """Reads batches into host memory, which is the device's on CPUs."""

    def __init__(self, ahead: ReadAhead) -> None:
        self._ahead = ahead

    def begin(self, ids: NDArray[np.int64]) -> tuple[ComingBatch, NDArray[np.int64]]:
        """Begin to read a batch; nothing of it is left over."""
        return _BatchOnHost(ids, self._ahead.read(ids)), ids[:0]


@dataclass
class _BatchOnHost:
    """A batch on its way to host memory."""

    ids: NDArray[np.int64]
    read: Future[HostBatch]
    is_here: bool = False

    def result(self) -> LoadedBatch:
        found = self.read.result()
        return LoadedBatch(found.ids, found.images, found.bad_ids, found.reconstruct_images)

    def note_use(self) -> None:
        """Its memory is used by nobody else."""


class UploadAhead:
    """Brings batches to the device, where some of their images may be already.

    The threads that read copy what they have read on a queue of its own: to the images that stay,
    or to one of two buffers that take turns.  When a batch is begun, the last but one must have
    been given to the device, whose work with it is waited for.

    Parameters
    ----------
    session
        Device.
    ahead
        Reads the images.
    resident
        Images that stay on the device, or None.
    box, batch_size
        Size of the images, and the most of them in a batch.
    """

    def __init__(
        self,
        session: DeviceSession,
        ahead: ReadAhead,
        resident: ResidentImages | None,
        box: int,
        batch_size: int,
    ) -> None:
        self._session = session
        self._ahead = ahead
        self._resident = resident
        self._box = box
        self._batch_size = batch_size
        self._run = max(1, PART_BYTES // (4 * box * box))
        self._staging = session.staging(max(PART_BYTES, 4 * box * box))
        self._staging.provide(reader_threads())
        self._stages: list[Array] = []
        self._uses: list[PendingRead | None] = [None, None]
        self._turn = 0

    def begin(self, ids: NDArray[np.int64]) -> tuple[ComingBatch, NDArray[np.int64]]:
        """Begin to bring particles of one optics group to the device.

        Returns
        -------
        coming
            Errors come with its result.
        rest
            int64; the last of the particles, for which there was no memory.

        Raises
        ------
        DeviceMemoryError
            There is no room for a single image.
        """
        n = len(ids)
        buffer, place = (np.full(n, -1, dtype=np.int32) for _ in range(2))
        if self._resident is not None:
            buffer, place = self._resident.find(ids)
        missing = np.flatnonzero(buffer < 0)
        if not len(missing):
            arrays = {} if self._resident is None else self._resident.arrays
            return _BatchOnDevice(DeviceImages(ids, arrays, buffer, place)), ids[:0]
        if self._resident is not None:
            buffer[missing], place[missing] = self._resident.reserve(ids[missing], self._run)
        staged = np.flatnonzero(buffer < 0)
        rest = ids[:0]
        turn = None
        if len(staged):
            capacity = self._make_stages(len(staged))
            if not capacity:
                return self.begin(ids)
            if len(staged) > capacity:
                n = int(staged[capacity])
                ids, rest, staged = ids[:n], ids[n:], staged[:capacity]
                buffer, place, missing = buffer[:n], place[:n], missing[missing < n]
            # those that stay first: neighbours in a buffer are copied at once
            missing = np.concatenate([missing[buffer[missing] >= 0], staged])
            buffer[staged] = _STAGE
            place[staged] = np.arange(len(staged), dtype=np.int32)
            turn, self._turn = self._turn, 1 - self._turn
        arrays = {} if self._resident is None else dict(self._resident.arrays)
        use = None
        if turn is not None:
            arrays[_STAGE] = self._stages[turn]
            use, self._uses[turn] = self._uses[turn], None
        coming = _BatchOnDevice(DeviceImages(ids, arrays, buffer, place), missing, self, turn)
        landing = _DeviceLanding(
            self._session, self._staging, coming.images[missing], self._box, use
        )
        other_landing = None
        if self._ahead.reads_others:
            coming.others = np.empty((len(ids), self._box, self._box), dtype=np.float32)
            other_landing = HostLanding(coming.others)
        coming.read = self._ahead.read_to(ids[missing], landing, other_landing)
        return coming, rest

    def arrived(self, images: DeviceImages) -> None:
        """Take note that images have been copied to their places."""
        if self._resident is not None:
            self._resident.confirm(images.ids, images.buffer, images.place)

    def used(self, turn: int) -> None:
        """Take note that the work with a stage has been given to the device."""
        self._uses[turn] = self._session.to_host_later()

    def _make_stages(self, n: int) -> int:
        """Provide two buffers for so many images, or for as many as there is room.

        Returns
        -------
        int
            Images there is room for; 0: images that stayed have made way, look again for those.
        """
        if self._stages and self._stages[0].shape[0] >= n:
            return n
        n_rows = max(n, min(self._batch_size, int(_ROOM_TO_VARY * n)))
        while True:
            try:
                shape = (n_rows, self._box, self._box)
                stages = [self._session.empty(shape, np.float32) for _ in range(2)]
                break
            except DeviceMemoryError as error:
                self._session.release_unused()
                if self._resident is not None and self._resident.give_up():
                    return 0
                if self._stages:
                    return int(self._stages[0].shape[0])
                if n_rows == 1:
                    raise
                n_rows = max(1, n_rows // 2)
                _log.warning("%s; going on with batches of %d particles", error, n_rows)
        self._stages, self._uses = stages, [None, None]
        # work that is under way may still use the memory they were given
        self._session.finish()
        return min(n, n_rows)


@dataclass
class _BatchOnDevice:
    """A batch on its way to the device; ``missing`` are the places of what is read for it."""

    images: DeviceImages
    missing: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    uploads: UploadAhead | None = None
    turn: int | None = None
    others: NDArray[np.float32] | None = None
    read: Future[NDArray[np.bool_]] | None = None

    @property
    def ids(self) -> NDArray[np.int64]:
        return self.images.ids

    @property
    def is_here(self) -> bool:
        return self.read is None

    def result(self) -> LoadedBatch:
        images, others, ids = self.images, self.others, self.images.ids
        if self.read is None or self.uploads is None:
            return LoadedBatch(ids, images, ids[:0])
        good = np.ones(len(ids), dtype=np.bool_)
        good[self.missing] = self.read.result()
        is_missing = np.zeros(len(ids), dtype=np.bool_)
        is_missing[self.missing] = True
        self.uploads.arrived(images[good & is_missing])
        if good.all():
            return LoadedBatch(ids, images, ids[:0], others)
        others = None if others is None else others[good]
        return LoadedBatch(ids[good], images[good], ids[~good], others)

    def note_use(self) -> None:
        if self.turn is not None and self.uploads is not None:
            self.uploads.used(self.turn)


class _DeviceLanding:
    """Images go through pinned memory to their places on the device."""

    def __init__(
        self,
        session: DeviceSession,
        staging: Staging,
        images: DeviceImages,
        box: int,
        use: PendingRead | None,
    ) -> None:
        self._session = session
        self._staging = staging
        self._images = images
        self._shape = (box, box)
        self._use = use

    @contextmanager
    def part(self, span: slice) -> Iterator[NDArray[np.float32]]:
        """Lend memory for some images and copy what is in there at the end."""
        images = self._images[span]
        with self._staging.buffer() as buffer:
            n_bytes = 4 * len(images.ids) * self._shape[0] * self._shape[1]
            rows = buffer[:n_bytes].view(np.float32).reshape(-1, *self._shape)
            yield rows
            if self._use is not None:
                self._use.result()
            follows = (np.diff(images.buffer) == 0) & (np.diff(images.place) == 1)
            starts = np.append(0, np.flatnonzero(~follows) + 1).tolist()
            for first, last in zip(starts, [*starts[1:], len(rows)], strict=True):
                target = images.buffers[int(images.buffer[first])]
                self._session.write_rows_beside(target, int(images.place[first]), rows[first:last])
