"""STAR files: blocks of raw strings in, blocks of raw strings or typed columns out.

The grammar is RELION's dialect (Specification E 2.1).  The ``starfile`` package reads the rows of
plain files.  Where its rules differ from RELION's (quotes, ``#`` inside a row, ``nan``, ragged
rows) the rows are split here, so that a file means the same to RELION and to clrelion and a bad
row is named.
"""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clrelion.errors import StarError
from clrelion.io.star_writer import StarTable, write_star

__all__ = ["StarBlock", "StarTable", "read_comments", "read_star", "write_star"]

_SEPARATOR = " \t"
_UNUSUAL = re.compile("[\"'\x07]|[^\\S \t\n]")
# A quoted token ends at its own quote followed by a blank or the end; BEL escapes a quote.
_TOKEN = re.compile(
    r"[ \t]*(?:"
    r"(?P<comment>\#.*)"
    r'|"(?P<double>(?:\x07"|[^"]|"(?![ \t]|\Z))*)"(?=[ \t]|\Z)'
    r"|'(?P<single>(?:\x07'|[^']|'(?![ \t]|\Z))*)'(?=[ \t]|\Z)"
    r"|(?P<plain>[^ \t]+))"
)


@dataclass
class StarBlock:
    """One ``data_`` block as raw strings.

    Attributes
    ----------
    name
        Name without ``data_``; may be empty.
    is_loop
        True for a table (``loop_``), False for a list of ``_label value`` lines.
    columns
        Label without its underscore -> values, one a row (list blocks have one row).
    path
        File that the block comes from, for messages.
    row_numbers
        1-based rows in the file where rows were re-ordered since, for messages.
    """

    name: str
    is_loop: bool
    columns: dict[str, list[str]]
    path: str = ""
    row_numbers: NDArray[np.int64] | None = field(default=None, compare=False)

    def __contains__(self, label: object) -> bool:
        """Whether the block has this label."""
        return label in self.columns

    @property
    def n_rows(self) -> int:
        """Number of rows; 1 for a list block."""
        return len(next(iter(self.columns.values()))) if self.columns else 0

    def strings(self, label: str, default: str | None = None) -> list[str]:
        """Values of a label as they stand in the file.

        Parameters
        ----------
        label
            Label without underscore.
        default
            Value of every row if the label is absent; None makes absence an error.

        Raises
        ------
        StarError
            The label is absent and has no default.
        """
        if label in self.columns:
            return self.columns[label]
        if default is None:
            raise StarError(
                f"{self.path}: data_{self.name} has no _{label}; "
                f"add this {'column' if self.is_loop else 'label'}"
            )
        return [default] * self.n_rows

    def floats(self, label: str, default: float | None = None) -> NDArray[np.float64]:
        """Values of a label as float64, shape (n_rows,).  ``inf`` and ``nan`` are accepted.

        Raises
        ------
        StarError
            The label is absent and has no default, or a value is no number.
        """
        if label not in self.columns and default is not None:
            return np.full(self.n_rows, default, dtype=np.float64)
        values = self.strings(label)
        try:
            return np.fromiter(map(float, values), dtype=np.float64, count=len(values))
        except ValueError:
            raise self._bad_value(label, "a number", float) from None

    def ints(self, label: str, default: int | None = None) -> NDArray[np.int64]:
        """Values of a label as int64, shape (n_rows,).  Integral reals (``1.0``) are accepted.

        Raises
        ------
        StarError
            The label is absent and has no default, or a value is no integer.
        """
        if label not in self.columns and default is not None:
            return np.full(self.n_rows, default, dtype=np.int64)
        values = self.strings(label)
        try:
            return np.fromiter(map(_integer, values), dtype=np.int64, count=len(values))
        except (ValueError, OverflowError):
            raise self._bad_value(label, "an integer", _integer) from None

    def _bad_value(self, label: str, what: str, convert: Any) -> StarError:
        """Name the first value of a column that does not convert."""
        for i, value in enumerate(self.columns[label]):
            try:
                np.int64(convert(value)) if convert is _integer else convert(value)
            except (ValueError, OverflowError):
                row = i + 1 if self.row_numbers is None else self.row_numbers[i]
                where = f"row {row} of data_{self.name}" if self.is_loop else f"data_{self.name}"
                return StarError(
                    f"{self.path}: {where}: {label} is '{value}', not {what}; correct this value"
                )
        raise AssertionError(label)  # only called for a column that holds such a value


@dataclass
class _ScannedBlock:
    """Where a block's lines lie; `rows` are (line index, text) of the table or list."""

    name: str
    is_loop: bool = False
    labels: list[str] = field(default_factory=list)
    rows: list[str] = field(default_factory=list)
    line_numbers: Sequence[int] = ()


def read_star(path: str | os.PathLike[str], without: str | None = None) -> dict[str, StarBlock]:
    """Read the blocks of a STAR file.

    Parameters
    ----------
    path
        STAR file, UTF-8 (other bytes survive a round trip).
    without
        Leave out tables whose name begins so: tables of directions are long.

    Returns
    -------
    dict
        Block name -> block, in file order.  Strings are unquoted, otherwise untouched.

    Raises
    ------
    StarError
        Missing or unreadable file, CR-LF line ends, no block, a block or label that occurs twice,
        ragged rows, rows after the blank line that ends a table.

    Notes
    -----
    Specification E 2.1.
    """
    text = _load(path)
    scanned = _scan(text, str(path))
    if without is not None:
        scanned = [block for block in scanned if not block.name.startswith(without)]
    # starfile reads whole files only
    tables = _starfile_tables(path, text, scanned) if without is None else None
    blocks: dict[str, StarBlock] = {}
    for block in scanned:
        columns = tables.get(block.name) if tables is not None else None
        if columns is None:
            columns = _split_block(block, str(path), bool(_UNUSUAL.search(text)))
        blocks[block.name] = StarBlock(block.name, block.is_loop, columns, str(path))
    return blocks


def read_comments(path: str | os.PathLike[str]) -> list[str]:
    """Leading comment lines of a STAR file, without ``#`` and without the version line.

    Raises
    ------
    StarError
        The file cannot be read.
    """
    comments = []
    for line in _load(path).split("\n"):
        if line.startswith("#") and not line.startswith("# version "):
            comments.append(line[1:].strip())
        elif line.strip() and not line.startswith("#"):
            break
    return comments


def _load(path: str | os.PathLike[str]) -> str:
    """Text of the file; refuses what is no STAR file at all."""
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise StarError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    if b"\0" in data:
        raise StarError(f"{path}: is a binary file, not a STAR file; give the .star file")
    if b"\r" in data:
        line = data[: data.index(b"\r")].count(b"\n") + 1
        raise StarError(
            f"{path}: line {line} ends in CR-LF (a Windows line end), which RELION cannot read; "
            f"convert with: sed -i 's/\\r$//' {path}"
        )
    return data.decode("utf-8", errors="surrogateescape")


def _scan(text: str, path: str) -> list[_ScannedBlock]:
    """Find the blocks, their labels and the lines of their rows."""
    lines = text.split("\n")
    blocks: list[_ScannedBlock] = []
    at = 0
    while at < len(lines):
        line = lines[at].strip(_SEPARATOR)
        if line.startswith("data_"):
            block = _ScannedBlock(re.split("[ \t]", line[5:])[0])
            if any(block.name == other.name for other in blocks):
                raise StarError(
                    f"{path}: line {at + 1}: block data_{block.name} occurs twice; keep one"
                )
            at = _scan_block(lines, at + 1, block, path)
            blocks.append(block)
        elif not line or line.startswith("#"):
            at += 1
        else:
            raise StarError(
                f"{path}: line {at + 1}: '{line[:40]}' stands outside of any table; RELION ends a "
                "table at its first blank line: remove that blank line, or this one"
            )
    if not blocks:
        raise StarError(f"{path}: has no data_ block; is it a STAR file?")
    return blocks


def _scan_block(lines: list[str], at: int, block: _ScannedBlock, path: str) -> int:
    """Scan one block from the line after its name; give the index of the line after it."""
    numbers: list[int] = []
    while at < len(lines):
        line = lines[at].strip(_SEPARATOR)
        if line.startswith("data_"):
            break
        if line.startswith("loop_"):
            if numbers:
                raise StarError(
                    f"{path}: line {at + 1}: data_{block.name} has a loop_ after single values; "
                    "put the table into a block of its own"
                )
            block.is_loop = True
            return _scan_loop(lines, at + 1, block, path)
        if line.startswith("_"):
            block.labels.append(line.split(None, 1)[0][1:])
            block.rows.append(line)
            numbers.append(at + 1)
        elif line and not line.startswith("#"):
            break
        at += 1
    block.line_numbers = numbers
    _check_labels(block, path)
    return at


def _scan_loop(lines: list[str], at: int, block: _ScannedBlock, path: str) -> int:
    """Scan labels and rows of a table; give the index of the line after its last row."""
    blank_seen = False
    while at < len(lines):
        line = lines[at].strip(_SEPARATOR)
        if line.startswith("_"):
            block.labels.append(line.split(None, 1)[0][1:])
        elif line and not line.startswith("#"):
            break
        blank_seen = blank_seen or not line
        at += 1
    _check_labels(block, path)
    if blank_seen and at < len(lines) and lines[at].strip(_SEPARATOR).startswith("data_"):
        return at  # the next block: this table has no rows
    first = at
    while at < len(lines) and lines[at].strip(_SEPARATOR):
        at += 1
    block.rows = lines[first:at]
    block.line_numbers = range(first + 1, at + 1)
    return at


def _check_labels(block: _ScannedBlock, path: str) -> None:
    """Refuse a label that occurs twice: which of the two columns is meant is not known."""
    if len(set(block.labels)) != len(block.labels):
        twice = next(label for label in block.labels if block.labels.count(label) > 1)
        raise StarError(f"{path}: data_{block.name} has _{twice} twice; remove one")


def _starfile_tables(
    path: str | os.PathLike[str], text: str, scanned: list[_ScannedBlock]
) -> dict[str, dict[str, list[str]]] | None:
    """Tables read by the starfile package, or None if the file is not plain enough for it."""
    import starfile  # takes long, and what only writes does without

    tables = [block for block in scanned if block.is_loop]
    plain = not _UNUSUAL.search(text) and all(
        block.rows and not any("#" in row or row.startswith("data") for row in block.rows)
        for block in tables
    )
    if not plain:
        return None
    labels = sorted({label for block in scanned for label in block.labels})
    try:
        frames = starfile.read(path, always_dict=True, parse_as_string=labels)
    except Exception:
        # Whatever starfile stumbles over is read, or named with its row, by _split_block.
        return None
    columns: dict[str, dict[str, list[str]]] = {}
    for block in tables:
        frame = frames.get(block.name)
        shape = (len(block.rows), len(block.labels))
        if getattr(frame, "shape", None) != shape or bool(frame.isna().any(axis=None)):
            return None
        columns[block.name] = {label: frame[label].tolist() for label in block.labels}
        if "" in columns[block.name][block.labels[-1]]:
            return None  # pandas has filled up a row that is too short
    return columns


def _split_block(block: _ScannedBlock, path: str, unusual: bool) -> dict[str, list[str]]:
    """Split the rows of a block by RELION's rules."""
    n_labels = len(block.labels) if block.is_loop else 2
    rows: list[list[str]] = []
    for row, (line, number) in enumerate(zip(block.rows, block.line_numbers, strict=True), start=1):
        tokens = _tokens(line) if unusual or "#" in line else line.split()
        if not block.is_loop and len(tokens) == 1:
            tokens.append("")  # old RELION versions wrote an empty string as nothing
        if len(tokens) != n_labels:
            if block.is_loop and not tokens:
                continue  # a comment between rows
            what = f"row {row} of data_{block.name}" if block.is_loop else f"data_{block.name}"
            expected = f"{n_labels} labels" if block.is_loop else "a label and one value expected"
            raise StarError(
                f"{path}: line {number}: {what} has {len(tokens)} values, {expected}; "
                "correct this row (a value with blanks needs quotes)"
            )
        rows.append(tokens)
    if not block.is_loop:
        return {label: [row[1]] for label, row in zip(block.labels, rows, strict=True)}
    values = zip(*rows, strict=True) if rows else ([] for _ in block.labels)
    return {label: list(column) for label, column in zip(block.labels, values, strict=True)}


def _tokens(line: str) -> list[str]:
    """Split one line that may hold quotes or a comment."""
    tokens: list[str] = []
    for match in _TOKEN.finditer(line):
        if match["comment"] is not None:
            break
        for kind, quote in (("double", '"'), ("single", "'")):
            if match[kind] is not None:
                tokens.append(match[kind].replace("\x07" + quote, quote))
                break
        else:
            tokens.append(match["plain"])
    return tokens


def _integer(value: str) -> int:
    """Integer from ``12`` or ``12.000000``; ValueError for anything else."""
    try:
        return int(value)
    except ValueError:
        number = float(value)
        if not number.is_integer():
            raise
        return int(number)
