"""The next batch's images go to the device while the present batch is worked on."""

from __future__ import annotations

import logging
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np

from clrelion.errors import DeviceMemoryError
from clrelion.expectation.resident_images import ResidentSlice
from clrelion.particles.loader import HostBatch

if TYPE_CHECKING:
    from pyopencl.array import Array

    from clrelion.device.session import DeviceSession
    from clrelion.device.transfers import PendingRead

__all__ = ["UploadAhead"]

_log = logging.getLogger(__name__)

Uploaded = tuple[HostBatch, ResidentSlice | None]


class UploadAhead:
    """Copies batches in a thread and on a queue of its own; a context that ends with the thread.

    Two buffers take turns: when a batch is sent, the last but one must have been given to the
    device, whose work with it is waited for.

    Parameters
    ----------
    session
        Device.  On CPUs nothing is copied: the images are in its memory already.
    box, batch_size
        Size of the images, and the most of them in a batch.
    is_on
        False: nothing is copied, the images are held on the device by others.
    """

    def __init__(
        self, session: DeviceSession, box: int, batch_size: int, is_on: bool = True
    ) -> None:
        self._session = session
        self._stages: list[Array] = []
        self._uses: dict[int, PendingRead] = {}
        self._turn = 0
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="upload-ahead")
        if session.is_cpu or not is_on:
            return
        try:
            self._stages = [
                session.empty((batch_size, box, box), np.float32) for _ in range(2)
            ]
            # work that is under way may still use the memory they were given
            session.finish()
        except DeviceMemoryError as error:
            self._stages = []
            _log.warning("%s; images are copied to the device between the batches", error)

    def __enter__(self) -> UploadAhead:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def send(self, read: Future[HostBatch]) -> Future[Uploaded]:
        """Begin to copy a batch once it has been read; errors come with the result.

        Returns
        -------
        Future
            The batch, and its images on the device or None: they are in host memory alone.
        """
        stage, use = None, None
        if self._stages:
            stage = self._stages[self._turn]
            use = self._uses.pop(id(stage), None)
            self._turn = 1 - self._turn
        return self._pool.submit(self._copy, read, stage, use)

    def note_use(self, images: ResidentSlice | None) -> None:
        """Take note that the work with a batch's images has been given to the device."""
        if images is not None:
            self._uses[id(images.images)] = self._session.to_host_later()

    def _copy(
        self, read: Future[HostBatch], stage: Array | None, use: PendingRead | None
    ) -> Uploaded:
        batch = read.result()
        if stage is None or not len(batch.ids):
            return batch, None
        if use is not None:
            use.result()
        self._session.copy_beside(batch.images, stage)
        places = np.arange(len(batch.ids), dtype=np.int32)
        return batch, ResidentSlice(batch.ids, stage, places)
