"""Writer of STAR files with RELION's number formats, quoting and version lines."""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from clrelion.constants import STAR_VERSION
from clrelion.errors import StarError
from clrelion.io.atomic import replacing

Column = Sequence[str] | NDArray[np.generic]
FormatReals = Callable[[NDArray[np.generic]], list[str]]
Scalar = str | int | float | bool | np.generic

CHUNK_ROWS = 1000
"""Rows that are formatted at once: other threads of the program wait meanwhile."""
_ENCODING, _NO_TEXT = "utf-8", "surrogateescape"
_LOOKED_AT = 25
_NUMBER_WIDTH = 12
_LONGEST_ROUND = len("-9.999999e-05")
_NO_EXPONENT_BELOW = 1e10  # these are long before they have many digits
_STRING_WIDTH = 10
_LIST_GAP = 12
_NEEDS_CARE = re.compile("(?:\\A|\n)(?:[\"'#_]|data_|loop_|\n|\\Z)|[^\\S\n]|[\x00\x07]|\n\\Z")
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?\Z|[-+]?(?:inf|nan)\Z")


class Block(Protocol):
    """What can be written: a name, loop or list, and columns (raw strings or typed arrays)."""

    @property
    def name(self) -> str:
        """Name without ``data_``."""

    @property
    def is_loop(self) -> bool:
        """True for a table, False for a list."""

    @property
    def columns(self) -> Mapping[str, Column]:
        """Label without underscore -> values."""


@dataclass
class StarTable:
    """Typed columns to be written as one block.

    Attributes
    ----------
    name
        Name without ``data_``.
    columns
        Label without underscore -> values.  The format follows the type: float arrays as reals,
        integer and boolean arrays as integers, lists of str as strings.
    is_loop
        True for a table, False for a list of single values.
    """

    name: str
    columns: dict[str, Column]
    is_loop: bool = True

    @classmethod
    def of_values(cls, name: str, values: Mapping[str, Scalar]) -> "StarTable":
        """Make a list block from single values (float, int, bool or str)."""
        columns: dict[str, Column] = {
            label: [value] if isinstance(value, str) else np.asarray([value])
            for label, value in values.items()
        }
        return cls(name, columns, is_loop=False)


@dataclass
class KeptTable(StarTable):
    """A table whose columns do not change; its text is kept once it has been written."""

    _texts: dict[FormatReals, list[str]] = field(default_factory=dict, repr=False, compare=False)

    def lines(self, path: str | os.PathLike[str], format_reals: FormatReals) -> list[str]:
        """Text of the table, chunk by chunk."""
        if format_reals not in self._texts:
            self._texts[format_reals] = list(_table_lines(self, path, format_reals))
        return self._texts[format_reals]


@dataclass
class FormattedTable(StarTable):
    """A table whose rows are text already; its columns only give the labels.

    Attributes
    ----------
    rows
        Encoded text, piece by piece, as from `formatted_rows`.
    """

    rows: Iterable[bytes] = ()


class PaddedCells(list[str]):
    """Column of a table that is formatted already (`padded_cells`)."""


def padded_cells(values: Sequence[str], label: str, path: str | os.PathLike[str]) -> PaddedCells:
    """Format a column of strings once, for files that are written again and again.

    Raises
    ------
    StarError
        A string with a line break or control character.
    """
    cells = PaddedCells()
    for start in range(0, len(values), CHUNK_ROWS):
        cells += _string_cells(values[start : start + CHUNK_ROWS], label, path)
    return cells


def formatted_rows(
    block: Block, path: str | os.PathLike[str], all_digits: bool = False
) -> bytes:
    """Format the rows of a table, for a `FormattedTable`.

    A table may be cut after multiples of `CHUNK_ROWS` rows.

    Raises
    ------
    StarError
        A string with a line break or control character.
    """
    format_reals = format_all_digits if all_digits else format_floats
    return "".join(_table_rows(block, path, format_reals)).encode(_ENCODING, _NO_TEXT)


def check_lengths(block: Block, path: str | os.PathLike[str]) -> None:
    """Refuse columns of unequal length."""
    lengths = {len(values) for values in block.columns.values()}
    if len(lengths) > 1 or (not block.is_loop and lengths - {1}):
        raise StarError(
            f"{path}: columns of data_{block.name} differ in length "
            f"({sorted(lengths)}); this is a defect of the program"
        )


def write_star(
    path: str | os.PathLike[str],
    blocks: Iterable[Block],
    comments: Sequence[str] = (),
    all_digits: bool = False,
) -> None:
    """Write a STAR file atomically.

    Parameters
    ----------
    path
        File to write.
    blocks
        :class:`StarTable` or :class:`~clrelion.io.star.StarBlock`, in output order.
    comments
        Lines written first, each behind ``# ``.
    all_digits
        Write reals so that they are read back to the last bit; RELION's formats keep six decimals
        or digits.

    Raises
    ------
    StarError
        Columns of unequal length, or a string with a line break or control character.

    Notes
    -----
    Specification E 2.1: ``# version 50001`` before each block, a line of one blank after it.
    """
    with (
        replacing(path) as temporary,
        open(temporary, "w", encoding=_ENCODING, errors=_NO_TEXT, newline="\n") as out,
    ):
        for comment in comments:
            out.write("# " + " ".join(comment.split("\n")) + "\n")
        for block in blocks:
            check_lengths(block, path)
            out.write(f"\n# version {STAR_VERSION}\n\ndata_{block.name}\n\n")
            format_reals = format_all_digits if all_digits else format_floats
            if isinstance(block, KeptTable):
                out.writelines(block.lines(path, format_reals))
            elif isinstance(block, FormattedTable):
                out.write(_table_head(block))
                out.flush()
                for text in block.rows:
                    out.buffer.write(text)
            elif block.is_loop:
                out.writelines(_table_lines(block, path, format_reals))
            else:
                out.writelines(_list_lines(block, path, format_reals))
            out.write(" \n")


def _table_lines(
    block: Block, path: str | os.PathLike[str], format_reals: FormatReals
) -> Iterator[str]:
    """Yield text of a table, chunk by chunk."""
    yield _table_head(block)
    yield from _table_rows(block, path, format_reals)


def _table_head(block: Block) -> str:
    labels = (f"_{label} #{number} \n" for number, label in enumerate(block.columns, start=1))
    return "loop_ \n" + "".join(labels)


def _table_rows(
    block: Block, path: str | os.PathLike[str], format_reals: FormatReals
) -> Iterator[str]:
    columns = list(block.columns.items())
    n_rows = len(columns[0][1]) if columns else 0
    for start in range(0, n_rows, CHUNK_ROWS):
        rows = slice(start, start + CHUNK_ROWS)
        cells = [
            values[rows]
            if isinstance(values, PaddedCells)
            else _cells(values[rows], label, path, format_reals)
            for label, values in columns
        ]
        yield "".join(map("{} \n".format, map(" ".join, zip(*cells, strict=True))))


def _list_lines(
    block: Block, path: str | os.PathLike[str], format_reals: FormatReals
) -> Iterator[str]:
    """Yield text of a list block: labels padded to a common width, strings not padded."""
    width = max((len(label) for label in block.columns), default=0) + 1 + _LIST_GAP
    for label, values in block.columns.items():
        cell = _cells(values, label, path, format_reals)[0]
        text = cell if isinstance(values, np.ndarray) or _is_number(cell) else cell.strip(" ")
        yield f"{'_' + label:<{width}}{text}\n"


def _cells(
    values: Column, label: str, path: str | os.PathLike[str], format_reals: FormatReals
) -> list[str]:
    """Format some rows of one column, padded as RELION pads them."""
    if not isinstance(values, np.ndarray):
        return _string_cells(values, label, path)
    if values.dtype.kind == "f":
        return _each_once(values, format_reals)
    if values.dtype.kind in "iub":
        return _formatted("%12d", values)
    return _string_cells([str(value) for value in values.tolist()], label, path)


def _each_once(values: NDArray[np.generic], format_reals: FormatReals) -> list[str]:
    """Format reals, each value once: most of the weights of many directions are the same."""
    numbers = np.asarray(values, dtype=np.float64)
    some = numbers[:: max(1, len(numbers) // _LOOKED_AT)].tolist()
    if len(numbers) < 4 * _LOOKED_AT or 2 * len(set(some)) > len(some):
        return format_reals(values)
    # by their bits: zeros have signs
    bits, place = np.unique(numbers.view(np.int64), return_inverse=True)
    texts = np.array(format_reals(bits.view(np.float64)), dtype=object)
    found: list[str] = texts[place].tolist()
    return found


def format_floats(values: NDArray[np.generic]) -> list[str]:
    """Format reals as RELION does, 12 characters wide.

    Parameters
    ----------
    values
        Real array, (n,).

    Returns
    -------
    list of str
        ``%12.6f`` (negative ``%12.5f``), or ``%12.6e`` (``%12.5e``) below 0.001 and above 100000.
    """
    numbers = np.asarray(values, dtype=np.float64)
    size = np.abs(numbers)
    exponent = ((size > 0) & (size < 0.001)) | (size > 100000)
    negative = numbers < 0
    cells = np.empty(numbers.shape, dtype=object)
    for pattern, mask in (
        ("%12.6f", ~exponent & ~negative),
        ("%12.5f", ~exponent & negative),
        ("%12.6e", exponent & ~negative),
        ("%12.5e", exponent & negative),
    ):
        cells[mask] = _formatted(pattern, numbers[mask])
    texts: list[str] = cells.tolist()
    return texts


def format_all_digits(values: NDArray[np.generic]) -> list[str]:
    """Format reals as RELION does where that loses nothing, else with all their digits."""
    numbers = np.asarray(values, dtype=np.float64)
    texts = list(map(repr, numbers.tolist()))
    # most of the longer ones have more digits than RELION's formats
    is_short = np.fromiter(map(len, texts), np.int64, len(texts)) <= _LONGEST_ROUND
    round_ones = np.flatnonzero(is_short | (np.abs(numbers) >= _NO_EXPONENT_BELOW))
    some = numbers[round_ones]
    places = round_ones.tolist()
    for i, text, number in zip(places, format_floats(some), some.tolist(), strict=True):
        if float(text) == number or number != number:
            texts[i] = text
        else:
            texts[i] = texts[i].rjust(_NUMBER_WIDTH)
    return texts


def _formatted(pattern: str, values: NDArray[np.generic]) -> list[str]:
    """Format all values with one call of the % operator: ten times faster than one by one."""
    if values.size == 0:
        return []
    return (f"{pattern}\n" * values.size % tuple(values.tolist()))[:-1].split("\n")


def _string_cells(values: Sequence[str], label: str, path: str | os.PathLike[str]) -> list[str]:
    """Quote where needed and pad; raw numbers get the width of numbers."""
    joined = "\n".join(values)
    if _NEEDS_CARE.search(joined) or joined.count("\n") != len(values) - 1:
        values = [_quoted(value, label, path) for value in values]
    width = _NUMBER_WIDTH if values and _is_number(values[0]) else _STRING_WIDTH
    return [value.rjust(width) for value in values]


def _is_number(text: str) -> bool:
    return _NUMBER.match(text.strip(" ")) is not None


def _quoted(value: str, label: str, path: str | os.PathLike[str]) -> str:
    """Quote a string that RELION would otherwise split or take for something else."""
    if re.search("[\n\r\x00\x07]", value):
        raise StarError(
            f"{path}: {label} holds a line break or control character ({value!r}), "
            "which a STAR file cannot hold; rename it"
        )
    if value and not re.search(r"\s", value) and not re.match(r"[\"'#_]|data_|loop_", value):
        return value
    escaped = re.sub(r'"(?=[ \t]|\Z)', '\x07"', value)
    return f'"{escaped}"'
