"""What stands behind one option: its flag, and the types that read RELION's spellings."""

import re
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from clrelion.constants import MAXIMUM_HEALPIX_ORDER
from clrelion.options.byte_size import byte_size

FILES = "Input and output"
REFERENCE = "Reference"
ITERATIONS = "Iterations and classes"
CTF = "Contrast transfer function"
MASK = "Masks and solvent"
SAMPLING = "Orientations and shifts"
AUTO = "Auto-refine and automatic sampling"
CORRECTIONS = "Intensity and noise model"
EXPECTATION = "Expectation step"
MAXIMIZATION = "Maximization step"
CONTINUE = "Continuation"
DEVICE = "Device, memory and threads"
REPORT = "Reporting"

Continuation = Literal["stored", "override", "override_class3d", "command"]


@dataclass(frozen=True)
class Flag:
    """What the command line and the documentation say about one option.

    Attributes
    ----------
    name
        The flag without its dashes, in RELION's spelling.
    group
        Heading in ``--help`` and in the documentation.
    unit
        Unit of the value; empty for numbers without one, names and switches.
    help
        One sentence.
    continuation
        What counts with ``--continue`` (Specification E 6.6): the value ``stored`` in the files,
        the command line's if it is given (``override``; ``override_class3d``: not in auto-refine),
        or always the ``command`` line's.
    hint
        What stands for the value in ``--help``.
    aliases
        Other spellings that are taken.
    """

    name: str
    group: str
    unit: str
    help: str
    continuation: Continuation = "stored"
    hint: str = ""
    aliases: tuple[str, ...] = ()


def _off_if_not_positive(value: object) -> object:
    """Turn RELION's 'off' (-1, or any number that is not above zero) into None."""
    try:
        return None if value is None or float(str(value)) <= 0.0 else value
    except ValueError:
        return value


def _off_if_negative(value: object) -> object:
    try:
        return None if value is None or float(str(value)) < 0.0 else value
    except ValueError:
        return value


def _off_if_none(value: object) -> object:
    return None if value in ("", "None", "none") else value


def _bytes(value: object) -> object:
    """Read a size from text; a number is bytes. 0 or less: no limit."""
    if isinstance(value, int):
        return value if value > 0 else None
    if value is None or re.fullmatch(r"\s*(-\s*\d.*|0+)\s*", str(value)):
        return None
    try:
        return byte_size(str(value))
    except ValueError:
        return value


def _point_group(value: object) -> object:
    """Check the spelling; ``clrelion.orientations.symmetry`` owns the groups themselves."""
    name = str(value).strip().upper()
    if not re.fullmatch(r"[CD][1-9][0-9]?|T|O|I[1-4]?", name):
        raise ValueError(f"unknown point group {value!r}; allowed: {POINT_GROUPS}")
    return name


POINT_GROUPS = "Cn, Dn (n = 1 to 99), T, O, I (= I2), I1, I2, I3, I4"
OffFloat = Annotated[float | None, BeforeValidator(_off_if_not_positive)]
OffInt = Annotated[int | None, BeforeValidator(_off_if_not_positive)]
Seed = Annotated[int | None, BeforeValidator(_off_if_negative)]
OffName = Annotated[str | None, BeforeValidator(_off_if_none)]
MemorySize = Annotated[int | None, BeforeValidator(_bytes)]
SymmetryName = Annotated[str, BeforeValidator(_point_group)]
HealpixOrder = Annotated[int, Field(ge=0, le=MAXIMUM_HEALPIX_ORDER)]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
OVERRIDE: Continuation = "override"
OVERRIDE_CLASS3D: Continuation = "override_class3d"
COMMAND: Continuation = "command"
