"""Names of images: numbers and files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from clrelion.errors import ImageError

__all__ = ["ImageNames", "parse_image_name", "resolve_image_path"]

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


class ImageNames:
    """Names of images, split into numbers and files once.

    Parameters
    ----------
    names
        rlnImageName values.

    Attributes
    ----------
    names
        As given.
    files
        Files they name.
    file
        int32, (n,); which of the files, -1 where the name makes no sense.
    number
        int64, (n,); 0-based place in the file, -1 where the name has none.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = names
        self.files: list[str] = []
        self.file = np.full(len(names), -1, dtype=np.int32)
        self.number = np.full(len(names), -1, dtype=np.int64)
        places: dict[str, int] = {}
        # text after the @ that is known to name a stack
        stacks: dict[str, int] = {}
        for i, name in enumerate(names):
            digits, _, text = name.partition("@")
            place = stacks.get(text)
            if place is not None and digits.isascii() and digits.isdigit() and digits.strip("0"):
                self.file[i], self.number[i] = place, int(digits) - 1
                continue
            try:
                number, file = parse_image_name(name)
            except ImageError:
                continue
            place = places.setdefault(file, len(places))
            if number is not None:
                stacks[text], self.number[i] = place, number
            self.file[i] = place
        self.files = list(places)
        n_files = len(self.files)
        named = self.file >= 0
        self._largest = np.full(n_files, -1, dtype=np.int64)
        np.maximum.at(self._largest, self.file[named], self.number[named])
        self._has_unnumbered = np.zeros(n_files, dtype=np.bool_)
        self._has_unnumbered[self.file[named & (self.number < 0)]] = True

    def fit(self, file: int, n_images: int) -> bool:
        """Tell whether a file with so many images holds all images of it that are named."""
        return bool(self._largest[file] < n_images) and (
            n_images == 1 or not self._has_unnumbered[file]
        )

    def __len__(self) -> int:
        """Number of images."""
        return len(self.names)
