"""Physical and structural constants shared by all rooms.

Only numbers that more than one room needs live here; a constant of one formula stays beside it.
"""

from importlib.metadata import PackageNotFoundError, version
from typing import Final


def _installed_version() -> str:
    try:
        return version("clrelion")
    except PackageNotFoundError:  # run from a copy of the source tree
        return "0+unknown"


VERSION: Final = _installed_version()
"""Version of the installed package; also written into the files of a run."""

PROGRAM_NAME: Final = "clrelion"
"""Name of the program as written into the head of output files."""

STAR_VERSION: Final = 50001
"""RELION's file-format version, written before each STAR block (Specification E 2.1)."""

MINIMUM_HEALPIX_ORDER: Final = 0
MAXIMUM_HEALPIX_ORDER: Final = 10
"""Largest HEALPix order of the coarse orientation grid."""

N_MAX_CLASSES: Final = 999
"""Class numbers are written with three digits in file names."""

TRANSFORM_WORK_BYTES: Final = 6 * 10**9
"""Most bytes between two axes of a volume's transform on a device: each array is below 4 GB."""
