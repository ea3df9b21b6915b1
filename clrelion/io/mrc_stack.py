"""Random access to the images of MRC stacks.

Images are read from their places in the files straight into the caller's memory: there is never a
second copy of a stack.  Specification E 2.8.
"""

import logging
import math
import os
import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clrelion.errors import ImageError
from clrelion.io.image_names import ImageNames, parse_image_name, resolve_image_path
from clrelion.io.mrc_header import StackHeader, copy_pixels, map_memory, read_stack_header

_log = logging.getLogger(__name__)

_FEWEST_FROM_MAP = 8
"""Images of a stack that are worth a map of its memory."""
_CONVERTED_BYTES = 2**22
"""Stored pixels that are converted at a time."""


class ImageReader:
    """Random access to the images of many stacks, whose files stay open.

    Parameters
    ----------
    star_path
        Particle STAR file: named in messages, and its folder is searched for stacks that are not
        found from the working directory (with one warning).
    max_open
        Number of stacks kept open.
    folder
        Another folder to search before that of the STAR file (a continued run's first one).

    Notes
    -----
    Specification E 2.8.  May be used from several threads.
    """

    def __init__(
        self,
        star_path: str | os.PathLike[str] | None = None,
        max_open: int = 256,
        folder: str | None = None,
    ) -> None:
        self._folder = folder
        self._star_path = star_path
        self._max_open = max_open
        self._open: OrderedDict[str, _OpenStack] = OrderedDict()
        self._headers: dict[str, tuple[Path, StackHeader]] = {}
        self._lock = threading.Lock()
        self._has_warned = False

    def read(
        self,
        image_names: Sequence[str],
        rows: Sequence[int] | NDArray[np.int64] | None = None,
        box_px: int | None = None,
        out: NDArray[np.float32] | None = None,
    ) -> NDArray[np.float32]:
        """Read images.

        Parameters
        ----------
        image_names
            n rlnImageName values.
        rows
            Their 1-based rows in the STAR file, for messages; default 1..n.
        box_px
            Box size that all must have; default: that of the first image.
        out
            float32, (n, box, box), to be filled; allocated if None.

        Returns
        -------
        ndarray
            float32, (n, box, box); real space, [y, x], origin at index box // 2.

        Raises
        ------
        ImageError
            Missing or truncated stack, number beyond its end, or wrong box; names file and row.
        """
        names = ImageNames(image_names)
        return self.read_some(names, np.arange(len(names)), rows, box_px, out)

    def read_some(
        self,
        names: ImageNames,
        ids: NDArray[np.int64],
        rows: Sequence[int] | NDArray[np.int64] | None = None,
        box_px: int | None = None,
        out: NDArray[np.float32] | None = None,
    ) -> NDArray[np.float32]:
        """Read some images of a list, those that follow each other in a stack at once.

        Parameters
        ----------
        names
            The list.
        ids
            int64, (n,); which of them.
        rows
            1-based rows in the STAR file of the whole list, for messages; default 1, 2 ...
        box_px, out
            As in :meth:`read`.

        Returns
        -------
        ndarray
            float32, (n, box, box); as :meth:`read`.

        Raises
        ------
        ImageError
            As :meth:`read`.
        """
        if not len(ids):
            return np.empty((0, box_px or 0, box_px or 0), np.float32) if out is None else out
        files, numbers = names.file[ids], np.maximum(0, names.number[ids])
        starts = [0, *(np.flatnonzero(np.diff(files)) + 1).tolist()]
        for first, last in zip(starts, [*starts[1:], len(ids)], strict=True):
            stack = self._located(names, ids[first:last], rows, box_px)
            if out is None:
                box_px = stack.header.nx
                out = np.empty((len(ids), box_px, box_px), dtype=np.float32)
            if box_px is None:
                box_px = out.shape[-1]
            if (stack.header.ny, stack.header.nx) != (box_px, box_px):
                raise self._wrong_box(names, int(ids[first]), rows, stack.header, box_px)
            try:
                stack.read(numbers[first:last], out[first:last])
            except ImageError as error:
                raise ImageError(f"{self._where(rows, int(ids[first]))}: {error}") from error
        assert out is not None
        return out

    def verify(
        self,
        names: ImageNames,
        rows: Sequence[int] | NDArray[np.int64] | None,
        boxes_px: NDArray[np.int64],
    ) -> None:
        """Check that all images exist with their box, without reading a pixel.

        Parameters
        ----------
        names
            n images.
        rows
            Their 1-based rows in the STAR file, for messages; None: 1..n.
        boxes_px
            int64, (n,): expected box of each.

        Raises
        ------
        ImageError
            As :meth:`read`.
        """
        if not len(names):
            return
        order = np.lexsort((boxes_px, names.file))
        keys = np.stack([names.file[order], boxes_px[order]])
        cuts = np.flatnonzero((np.diff(keys) != 0).any(axis=0)) + 1
        # in the order of the list, so that the first mistake is told
        members = sorted(np.split(order, cuts), key=lambda ids: int(ids.min()))
        for ids in members:
            self._located(names, np.sort(ids), rows, int(boxes_px[ids[0]]))

    def close(self) -> None:
        """Forget all open stacks."""
        with self._lock:
            self._open.clear()
            self._headers.clear()

    def _located(
        self,
        names: ImageNames,
        ids: NDArray[np.int64],
        rows: Sequence[int] | NDArray[np.int64] | None,
        box_px: int | None,
    ) -> "_OpenStack":
        """Open the stack of images that have one in common, and check that it holds them."""
        first = int(ids[0])
        try:
            if names.file[first] < 0:
                parse_image_name(names.names[first])  # says what is wrong with it
            file = names.files[names.file[first]]
            stack = self._stack(file)
        except ImageError as error:
            raise ImageError(f"{self._where(rows, first)}: {error}") from error
        header = stack.header
        if names.fit(int(names.file[first]), header.nz) and (
            box_px is None or (header.ny, header.nx) == (box_px, box_px)
        ):
            return stack
        number = names.number[ids]
        if header.nz > 1 and (number < 0).any():
            where = self._where(rows, int(ids[number < 0][0]))
            raise ImageError(
                f"{where}: {file} holds {header.nz} images; name one of them, as 000001@{file}"
            )
        if (number >= header.nz).any():
            beyond = int(ids[number >= header.nz][0])
            raise ImageError(
                f"{self._where(rows, beyond)}: {names.names[beyond]}: {file} holds only "
                f"{header.nz} images; remove this row or restore the stack it was written for"
            )
        if box_px is not None and (header.ny, header.nx) != (box_px, box_px):
            raise self._wrong_box(names, first, rows, header, box_px)
        return stack

    def _stack(self, file: str) -> "_OpenStack":
        """Give an open stack; the files used last stay open."""
        with self._lock:
            stack = self._open.get(file)
            if stack is not None:
                self._open.move_to_end(file)
                return stack
            known = self._headers.get(file)
        # threads need not wait for what another one opens
        path, header = known or self._found(file)
        stack = _OpenStack(path, header)
        with self._lock:
            self._headers[file] = path, header
            stack = self._open.setdefault(file, stack)
            self._open.move_to_end(file)
            while len(self._open) > self._max_open:
                self._open.popitem(last=False)
        return stack

    def _found(self, file: str) -> tuple[Path, StackHeader]:
        path, is_beside_star = resolve_image_path(file, self._star_path, self._folder)
        if is_beside_star and not self._has_warned:
            self._has_warned = True
            _log.warning(
                "Images such as %s are not in the working directory; reading them from %s",
                file,
                path.parent,
            )
        return path, read_stack_header(path)

    def _where(self, rows: Sequence[int] | NDArray[np.int64] | None, i: int) -> str:
        return f"{self._star_path or 'image list'} row {i + 1 if rows is None else int(rows[i])}"

    def _wrong_box(
        self,
        names: ImageNames,
        i: int,
        rows: Sequence[int] | NDArray[np.int64] | None,
        header: StackHeader,
        box_px: int,
    ) -> ImageError:
        return ImageError(
            f"{self._where(rows, i)}: {names.names[i]} is {header.nx} x {header.ny} px, but its "
            f"optics group has rlnImageSize {box_px}; correct the optics table or give it an "
            "optics group of its own"
        )


class _OpenStack:
    """A stack's file, open for as long as anybody has this object."""

    def __init__(self, path: Path, header: StackHeader) -> None:
        self.header = header
        self._path = path
        self._image_bytes = math.prod(header.stored_shape[1:]) * header.dtype.itemsize
        self._is_plain = header.dtype == np.float32
        self._map: NDArray[np.generic] | None = None
        self._descriptor = -1
        try:
            self._descriptor = os.open(path, os.O_RDONLY)
        except OSError as error:
            raise self._unreadable(error) from error

    def __del__(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)

    def read(self, numbers: NDArray[np.int64], out: NDArray[np.float32]) -> None:
        """Fill ``out``, float32, (n, ny, nx), C order, with images of this stack.

        Raises
        ------
        ImageError
            The file has become shorter, or cannot be read.
        """
        if self._is_plain and out.flags.c_contiguous:
            self._copy(numbers, out)
            return
        step = max(1, _CONVERTED_BYTES // self._image_bytes)
        shape = min(step, len(out)), *self.header.stored_shape[1:]
        stored = np.empty(shape, dtype=self.header.dtype)
        for begin in range(0, len(out), step):
            part = out[begin : begin + step]
            self._copy(numbers[begin : begin + step], stored[: len(part)])
            copy_pixels(stored[: len(part)], self.header, part)

    def _copy(self, numbers: NDArray[np.int64], out: NDArray[np.generic]) -> None:
        """Copy images as they are stored."""
        wanted = numbers.tolist()
        n_bytes, n = self._image_bytes, len(wanted)
        memory = memoryview(out.reshape(-1).view(np.uint8).data)
        if wanted[-1] - wanted[0] == n - 1 and wanted == list(range(wanted[0], wanted[0] + n)):
            self._fill(memory, self.header.data_offset + wanted[0] * n_bytes)
        elif n < _FEWEST_FROM_MAP:
            for i, number in enumerate(wanted):
                start = self.header.data_offset + number * n_bytes
                self._fill(memory[i * n_bytes : (i + 1) * n_bytes], start)
        else:
            # one call for all of them: threads that make many calls wait for each other
            if self._map is None:
                self._map = map_memory(self._path, self.header)
            np.take(self._map, numbers, axis=0, out=out, mode="clip")

    def _fill(self, memory: memoryview, start: int) -> None:
        done = 0
        while done < len(memory):
            try:
                n = os.preadv(self._descriptor, [memory[done:]], start + done)
            except OSError as error:
                raise self._unreadable(error) from error
            if n == 0:
                raise ImageError(
                    f"{self._path}: has become shorter since the run began; restore it"
                )
            done += n

    def _unreadable(self, error: OSError) -> ImageError:
        return ImageError(f"{self._path}: cannot be read ({error.strerror}); check the path")
