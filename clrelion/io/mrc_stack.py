"""Random access to the images of MRC stacks.

Stacks are memory-mapped and images are copied out one batch at a time: there is never a second
copy of a stack.  Specification E 2.8.
"""

import logging
import os
import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clrelion.errors import ImageError
from clrelion.io.mrc_header import StackHeader, copy_pixels, map_memory, read_stack_header

_log = logging.getLogger(__name__)

_STACK_HINT = ":mrcs"
_MAP_HINT = ":mrc"


def parse_image_name(name: str) -> tuple[int | None, str]:
    """Split ``000123@stack.mrcs`` into the 0-based index and the file.

    Parameters
    ----------
    name
        rlnImageName.  A trailing ``:mrcs`` tells that a file of any extension is a stack.

    Returns
    -------
    tuple
        0-based index (None without ``@``: the only image of its file) and file name.

    Raises
    ------
    ImageError
        No number before ``@``, number 0, or a plain map named as a stack.

    Notes
    -----
    Specification E 2.8.
    """
    number, at, file = name.partition("@")
    file = file if at else name
    is_hinted = file.endswith(_STACK_HINT)
    file = file.removesuffix(_STACK_HINT).removesuffix(_MAP_HINT)
    if not at:
        return None, file
    if not number.isascii() or not number.isdigit() or int(number) == 0:
        raise ImageError(
            f"{name}: rlnImageName must be <number>@<stack> with numbers from 1; correct the name"
        )
    if not is_hinted:
        extension = file.rpartition(".")[2]
        if "mrcs" not in extension and "st" not in extension:
            raise ImageError(
                f"{name}: a stack must end in .mrcs or .st; rename {file}, or write {file}:mrcs"
            )
    return int(number) - 1, file


def resolve_image_path(
    file: str, star_path: str | os.PathLike[str] | None, folder: str | None = None
) -> tuple[Path, bool]:
    """Find an image file from the working directory, else from the STAR file's folder.

    Parameters
    ----------
    file
        File name as in the STAR file.
    star_path
        The STAR file, or None.
    folder
        Where images were when the run began; looked at before the STAR file's folder.

    Returns
    -------
    tuple
        Path, and whether it was found in another folder than the working directory.

    Raises
    ------
    ImageError
        Found in none of these places.
    """
    path = Path(file)
    if path.is_file():
        return path, False
    places = f"the working directory ({Path.cwd()})"
    if star_path is not None and not path.is_absolute():
        beside = Path(star_path).parent
        for other in (Path(folder or beside), beside):
            if (other / path).is_file():
                return other / path, True
        places += f" nor in {beside}, the folder of {Path(star_path).name}"
    raise ImageError(
        f"{file}: no such image file in {places}; start in the project directory, "
        "or correct rlnImageName"
    )


class ImageReader:
    """Random access to the images of many stacks through cached memory maps.

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
        self._open: OrderedDict[str, tuple[StackHeader, NDArray[np.generic]]] = OrderedDict()
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
        for position, name in enumerate(image_names):
            row = position + 1 if rows is None else int(rows[position])
            header, stored, index = self._locate(name, row, box_px)
            if out is None:
                out = np.empty((len(image_names), header.ny, header.nx), dtype=np.float32)
            box_px = out.shape[-1]
            if (header.ny, header.nx) != (box_px, box_px):
                raise self._wrong_box(name, row, header, box_px)
            copy_pixels(stored[index], header, out[position])
        if out is None:
            out = np.empty((0, box_px or 0, box_px or 0), dtype=np.float32)
        return out

    def verify(
        self,
        image_names: Sequence[str],
        rows: Sequence[int] | NDArray[np.int64] | None,
        boxes_px: NDArray[np.int64],
    ) -> None:
        """Check that all images exist with their box, without reading a pixel.

        Parameters
        ----------
        image_names
            n rlnImageName values.
        rows
            Their 1-based rows in the STAR file, for messages; None: 1..n.
        boxes_px
            int64, (n,): expected box of each.

        Raises
        ------
        ImageError
            As :meth:`read`.
        """
        for position, name in enumerate(image_names):
            row = position + 1 if rows is None else int(rows[position])
            self._locate(name, row, int(boxes_px[position]))

    def close(self) -> None:
        """Forget all open stacks."""
        with self._lock:
            self._open.clear()

    def _locate(
        self, name: str, row: int, box_px: int | None
    ) -> tuple[StackHeader, NDArray[np.generic], int]:
        """Header, memory map and index of an image, checked."""
        try:
            index, file = parse_image_name(name)
            header, stored = self._stack(file)
        except ImageError as error:
            raise ImageError(f"{self._where(row)}: {error}") from error
        if index is None and header.nz > 1:
            raise ImageError(
                f"{self._where(row)}: {file} holds {header.nz} images; "
                f"name one of them, as 000001@{file}"
            )
        if index is not None and index >= header.nz:
            raise ImageError(
                f"{self._where(row)}: {name}: {file} holds only {header.nz} images; "
                "remove this row or restore the stack it was written for"
            )
        if box_px is not None and (header.ny, header.nx) != (box_px, box_px):
            raise self._wrong_box(name, row, header, box_px)
        return header, stored, index or 0

    def _stack(self, file: str) -> tuple[StackHeader, NDArray[np.generic]]:
        """Header and memory map of a stack, from the cache or newly opened."""
        with self._lock:
            if file in self._open:
                self._open.move_to_end(file)
                return self._open[file]
            path, is_beside_star = resolve_image_path(file, self._star_path, self._folder)
            if is_beside_star and not self._has_warned:
                self._has_warned = True
                _log.warning(
                    "Images such as %s are not in the working directory; reading them from %s",
                    file,
                    path.parent,
                )
            header = read_stack_header(path)
            self._open[file] = header, map_memory(path, header)
            while len(self._open) > self._max_open:
                self._open.popitem(last=False)
            return self._open[file]

    def _where(self, row: int) -> str:
        return f"{self._star_path or 'image list'} row {row}"

    def _wrong_box(self, name: str, row: int, header: StackHeader, box_px: int) -> ImageError:
        return ImageError(
            f"{self._where(row)}: {name} is {header.nx} x {header.ny} px, but its optics group has "
            f"rlnImageSize {box_px}; correct the optics table or give it an optics group of its own"
        )
