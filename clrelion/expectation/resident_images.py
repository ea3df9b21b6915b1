"""Particle images that stay on the device from the first iteration on, as many as have room."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from clrelion.device.memory import format_bytes
from clrelion.errors import DeviceMemoryError
from clrelion.io.particle_table import ParticleTable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from clrelion.device.array import Array
    from clrelion.device.session import DeviceSession

__all__ = ["ResidentImages"]

_log = logging.getLogger(__name__)

_ROOM_FOR_MORE = 1.25
"""Room for images relative to those of the share as it is at first."""

_N_BUFFERS = 16
_SMALLEST_BUFFER_BYTES = 2**28
"""Memory is taken and given up in so many pieces, if they are not too small or too large."""

_SMALLEST_GROWTH = 0.125
"""Part of the images wanted that is worth more memory in a later iteration."""

_GOLDEN = 0.6180339887498949


@dataclass
class _Buffer:
    """Room for images of one optics group; ``free`` are places without an image."""

    images: Array
    group: int
    free: NDArray[np.int32]

    @property
    def part_free(self) -> float:
        return len(self.free) / max(1, self.images.shape[0])


class ResidentImages:
    """Images of this rank's share on the device, filled as they are read for the first time.

    Where there is no room for all of them, those that are held are spread evenly over the set, so
    that every batch has some of them: the device works on these while others are read.

    Parameters
    ----------
    session
        Device; on CPUs nothing is held, since the files are in the same memory already.
    table
        Particles.
    own
        int64; particles of this rank's share.
    largest_bytes
        Largest single buffer.
    """

    def __init__(
        self,
        session: DeviceSession,
        table: ParticleTable,
        own: NDArray[np.int64],
        largest_bytes: int,
    ) -> None:
        self._session = session
        self._table = table
        self._sizes = [4 * optics.box_px**2 for optics in table.optics]
        self._largest = largest_bytes
        self._buffers: dict[int, _Buffer] = {}
        self._n_made = 0
        self._buffer = np.full(table.n, -1, dtype=np.int32)
        self._place = np.full(table.n, -1, dtype=np.int32)
        self._room = 0
        self._most_bytes: int | None = None
        self._told_bytes = 0
        # evenly spread over any part of the particles
        self._draw = (_GOLDEN * np.arange(table.n)) % 1.0
        self._chosen = np.zeros(table.n, dtype=np.bool_)
        # who is chosen and which places are free is found out only where images are read
        self._is_settled = False
        self._own = own
        self._is_own = self._mask(own)
        self._holds_others = False
        n_groups = len(table.optics)
        everybody = np.bincount(table.optics_group, minlength=n_groups)
        # shares move a little with the speeds of the devices
        counts = np.ceil(_ROOM_FOR_MORE * self._own_counts()).astype(np.int64)
        self._wanted = np.minimum(everybody, counts)

    @property
    def is_on(self) -> bool:
        """Images are held."""
        return bool(self._buffers)

    @property
    def is_empty(self) -> bool:
        """Whether no image has been read yet."""
        return bool((self._buffer < 0).all())

    @property
    def n_bytes(self) -> int:
        """Bytes that are taken from the device."""
        return sum(int(buffer.images.nbytes) for buffer in self._buffers.values())

    @property
    def arrays(self) -> Mapping[int, Array]:
        """Buffers by number."""
        return {number: buffer.images for number, buffer in self._buffers.items()}

    def leave_room(self, n_bytes: int) -> None:
        """Let images take so much device memory from now on; what is more is given back.

        Before a step and what is allocated for it.
        """
        self._room = n_bytes
        while self.n_bytes > n_bytes:
            self._drop(max(self._buffers))

    def fill_room(self) -> None:
        """Take the memory that images may have, at the beginning of a step.

        Places of images that were to be read and were not are free again.
        """
        if self._session.is_cpu:
            return
        room = self._room if self._most_bytes is None else min(self._room, self._most_bytes)
        wanted = int(np.dot(self._wanted, self._sizes))
        target = min(room, wanted)
        if target - self.n_bytes >= _SMALLEST_GROWTH * wanted or not self._buffers:
            self._grow(target, target / max(1, wanted))
        if self.n_bytes != self._told_bytes:
            self._told_bytes = self.n_bytes
            _log.info(
                "Particle images: %s stay on the device, room for %d %% of them",
                format_bytes(self.n_bytes),
                round(100 * min(1.0, self._rows().sum() / max(1, self._own_counts().sum()))),
            )
        self._is_settled = False

    def find(self, ids: NDArray[np.int64]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Tell where images are.

        Returns
        -------
        buffer, place
            int32, (n,); number of the buffer, -1 for images that are not held, and place in it.
        """
        return self._buffer[ids], self._place[ids]

    def is_waiting(self, group: int) -> bool:
        """Tell whether some images of an optics group are not held, if only for now."""
        own = self._own[self._table.optics_group[self._own] == group]
        return bool((self._buffer[own] < 0).any())

    def reserve(
        self, ids: NDArray[np.int64], run: int
    ) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Give places to images of one optics group that will be read now.

        They count as held only once `confirm` is told so.

        Parameters
        ----------
        run
            Images in a row that are copied at once: they get places in a row if they can.

        Returns
        -------
        buffer, place
            int32, (n,); -1 for those that will not be held.
        """
        if not self._is_settled:
            self._choose()
            self._find_free()
            self._is_settled = True
        number, place = (np.full(len(ids), -1, dtype=np.int32) for _ in range(2))
        group = int(self._table.optics_group[ids[0]]) if len(ids) else -1
        buffers = {i: b for i, b in self._buffers.items() if b.group == group}
        chosen = np.flatnonzero(self._chosen[ids])
        while len(chosen):
            # buffers are filled alike, so that giving one up hits no batch more than others
            most = max(buffers, key=lambda i: buffers[i].part_free, default=-1)
            if most < 0 or not len(buffers[most].free):
                break
            buffer = buffers[most]
            part = chosen[: min(run, len(buffer.free))]
            chosen = chosen[len(part) :]
            number[part], place[part] = most, buffer.free[: len(part)]
            buffer.free = buffer.free[len(part) :]
        return number, place

    def confirm(
        self, ids: NDArray[np.int64], number: NDArray[np.int32], place: NDArray[np.int32]
    ) -> None:
        """Hold images that have arrived at their places."""
        there = np.isin(number, list(self._buffers))
        held = ids[there]
        self._buffer[held] = number[there]
        self._place[held] = place[there]
        self._holds_others |= not self._is_own[held].all()

    def retain(self, own: NDArray[np.int64]) -> None:
        """Make room: particles that are not of this rank's share any more are held no longer."""
        # mostly the share stays as it is, and this rank has helped nobody
        is_other_share = not np.array_equal(own, self._own)
        if is_other_share:
            self._own, self._is_own = own, self._mask(own)
        if is_other_share or self._holds_others:
            self._forget(~self._is_own)
        self._holds_others = False
        self._is_settled = False

    def _mask(self, ids: NDArray[np.int64]) -> NDArray[np.bool_]:
        mask = np.zeros(self._table.n, dtype=np.bool_)
        mask[ids] = True
        return mask

    def give_up(self) -> bool:
        """Give half of the memory back for good; tells whether there was any."""
        if not self._buffers:
            return False
        before = self.n_bytes
        for number in sorted(self._buffers)[len(self._buffers) // 2 :]:
            self._drop(number)
        self._most_bytes = self.n_bytes
        _log.info(
            "Particle images: %s of %s stay on the device, the other memory is needed",
            format_bytes(self.n_bytes),
            format_bytes(before),
        )
        self._choose()
        return True

    def _own_counts(self) -> NDArray[np.int64]:
        groups = self._table.optics_group[self._own]
        return np.bincount(groups, minlength=len(self._table.optics))

    def _rows(self) -> NDArray[np.int64]:
        """Images that there is room for, by optics group."""
        rows = np.zeros(len(self._sizes), dtype=np.int64)
        for buffer in self._buffers.values():
            rows[buffer.group] += buffer.images.shape[0]
        return rows

    def _grow(self, n_bytes: int, part: float) -> None:
        """Take memory for a part of the images of each optics group, if it is there."""
        piece = min(self._largest, max(_SMALLEST_BUFFER_BYTES, n_bytes // _N_BUFFERS))
        n_before = len(self._buffers)
        try:
            for group, rows in self._rows_to_add(part, piece):
                box = self._table.optics[group].box_px
                images = self._session.empty((rows, box, box), np.float32)
                self._buffers[self._n_made] = _Buffer(images, group, np.empty(0, np.int32))
                self._n_made += 1
        except DeviceMemoryError as error:
            _log.warning("%s; going on with fewer images on the device", error)
            self._most_bytes = self.n_bytes
        if len(self._buffers) > n_before:
            # work that is under way may still use the memory they were given
            self._session.finish()

    def _rows_to_add(self, part: float, piece: int) -> Iterator[tuple[int, int]]:
        """Sizes of buffers to make: optics group and images."""
        missing = np.floor(part * self._wanted).astype(np.int64) - self._rows()
        for group, size in enumerate(self._sizes):
            most = max(piece, min(size, self._largest)) // size
            while most and missing[group] > 0:
                rows = min(most, int(missing[group]))
                missing[group] -= rows
                yield group, rows

    def _drop(self, number: int) -> None:
        del self._buffers[number]
        self._forget(self._buffer == number)

    def _forget(self, gone: NDArray[np.bool_]) -> None:
        self._buffer[gone] = -1
        self._place[gone] = -1

    def _choose(self) -> None:
        """Choose the particles to hold."""
        share = (self._rows() / np.maximum(1, self._own_counts()))[self._table.optics_group]
        # others' images take no place that own ones need
        self._chosen = (self._draw < share) & (self._is_own | (share >= 1.0))

    def _find_free(self) -> None:
        for number, buffer in self._buffers.items():
            is_free = np.ones(buffer.images.shape[0], dtype=np.bool_)
            is_free[self._place[self._buffer == number]] = False
            buffer.free = np.flatnonzero(is_free).astype(np.int32)
