"""Particle STAR files of RELION 3.0 and older: one table without optics groups."""

import os
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from clrelion.errors import StarError
from clrelion.io.image_names import parse_image_name, resolve_image_path
from clrelion.io.mrc_header import read_stack_header
from clrelion.io.star import StarBlock

_GROUPING_LABELS = (
    "rlnAmplitudeContrast",
    "rlnBeamTiltX",
    "rlnBeamTiltY",
    "rlnSphericalAberration",
    "rlnVoltage",
    "rlnDetectorPixelSize",
    "rlnMagnification",
)
_ANGSTROM_LABELS = {
    "rlnOriginX": "rlnOriginXAngst",
    "rlnOriginY": "rlnOriginYAngst",
    "rlnOriginXPrior": "rlnOriginXPriorAngst",
    "rlnOriginYPrior": "rlnOriginYPriorAngst",
}


def convert_legacy(
    blocks: Mapping[str, StarBlock], path: str | os.PathLike[str], angpix: float | None
) -> dict[str, StarBlock]:
    """Convert the first block of a legacy file to optics and particle tables.

    Parameters
    ----------
    blocks
        Blocks of the file.
    path
        The file, for messages and to find images beside it.
    angpix
        Pixel size if the file has no detector pixel size and magnification, Å.

    Returns
    -------
    dict
        Blocks ``optics`` and ``particles``, then the others unchanged.

    Raises
    ------
    StarError
        No image names, no pixel size, or images that are not square with an even box.
    ImageError
        An image whose header has to be read cannot be.

    Notes
    -----
    Specification E 2.3.
    """
    first, *others = blocks.values()
    if not first.is_loop or "rlnImageName" not in first or first.n_rows == 0:
        raise StarError(
            f"{path}: has no data_optics, and its first block data_{first.name} has no "
            "_rlnImageName or no rows; give a particle STAR file"
        )
    columns = dict(first.columns)
    names = [label for label in _GROUPING_LABELS if label in columns]
    groups, first_rows = _distinct_rows(first, names)
    sizes = _pixel_sizes(first, first_rows, angpix)
    has_magnification = {"rlnDetectorPixelSize", "rlnMagnification"} <= set(names)
    kept = names[:-2] if has_magnification else names
    optics = {
        "rlnOpticsGroup": [str(i + 1) for i in range(len(first_rows))],
        "rlnOpticsGroupName": [f"opticsGroup{i + 1}" for i in range(len(first_rows))],
        **{label: [columns[label][row] for row in first_rows] for label in kept},
        "rlnImagePixelSize": _raw(sizes),
        "rlnImageSize": [str(_box_of(first, row)) for row in first_rows],
        "rlnImageDimensionality": ["2"] * len(first_rows),
    }
    for label in names:
        del columns[label]
    columns["rlnOpticsGroup"] = [str(group + 1) for group in groups]
    for in_pixels, in_angstrom in _ANGSTROM_LABELS.items():
        if in_pixels in columns:
            columns[in_angstrom] = _raw(first.floats(in_pixels) * sizes[groups])
            del columns[in_pixels]
    converted = {
        "optics": StarBlock("optics", True, optics, str(path)),
        "particles": StarBlock("particles", True, columns, str(path)),
    }
    return converted | {block.name: block for block in others if block.name not in converted}


def _distinct_rows(block: StarBlock, names: list[str]) -> tuple[NDArray[np.int64], list[int]]:
    """Group of each row by its values of some labels; the first row of each group."""
    if not names:
        return np.zeros(block.n_rows, dtype=np.int64), [0]
    keys = list(zip(*(block.floats(label).tolist() for label in names), strict=True))
    group_of_key = {key: i for i, key in enumerate(dict.fromkeys(keys))}
    groups = np.array([group_of_key[key] for key in keys], dtype=np.int64)
    return groups, [keys.index(key) for key in group_of_key]


def _pixel_sizes(block: StarBlock, rows: list[int], angpix: float | None) -> NDArray[np.float64]:
    """Pixel size of each optics group, Å."""
    if "rlnDetectorPixelSize" in block and "rlnMagnification" in block:
        with np.errstate(divide="ignore", invalid="ignore"):
            sizes = 1e4 * block.floats("rlnDetectorPixelSize") / block.floats("rlnMagnification")
        for row in rows:
            if not np.isfinite(sizes[row]) or sizes[row] <= 0:
                raise StarError(
                    f"{block.path}: row {row + 1}: rlnDetectorPixelSize "
                    f"{block.columns['rlnDetectorPixelSize'][row]} and rlnMagnification "
                    f"{block.columns['rlnMagnification'][row]} give no pixel size; correct them"
                )
        return np.asarray(sizes[rows], dtype=np.float64)
    if angpix is None:
        raise StarError(
            f"{block.path}: no pixel size: the table has not both _rlnDetectorPixelSize and "
            "_rlnMagnification; add them or give --angpix"
        )
    return np.full(len(rows), angpix, dtype=np.float64)


def _box_of(block: StarBlock, row: int) -> int:
    """Box of the image in a row, px, from its header."""
    name = block.strings("rlnImageName")[row]
    path, _ = resolve_image_path(parse_image_name(name)[1], block.path)
    header = read_stack_header(path)
    if header.nx != header.ny or header.nx % 2 != 0:
        raise StarError(
            f"{block.path}: row {row + 1}: {name} is {header.nx} x {header.ny} px; "
            "images must be square with an even box: extract them again"
        )
    return header.nx


def _raw(values: NDArray[np.float64]) -> list[str]:
    """Computed values as text, with more digits than RELION writes: nothing is lost by the way."""
    return [f"{value:.12g}" for value in values.tolist()]
