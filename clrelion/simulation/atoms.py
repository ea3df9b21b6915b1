"""Atomic models: coordinates and scattering weights from PDB and mmCIF files."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clrelion.errors import ClrelionError

__all__ = ["Atoms", "read_atoms"]

_SOLVENT = {"HOH", "DOD", "WAT"}
_ATOMIC_NUMBERS = {
    "H": 1, "D": 1, "C": 6, "N": 7, "O": 8, "F": 9, "NA": 11, "MG": 12, "P": 15, "S": 16,
    "CL": 17, "K": 19, "CA": 20, "MN": 25, "FE": 26, "CO": 27, "NI": 28, "CU": 29, "ZN": 30,
    "SE": 34, "BR": 35, "MO": 42, "I": 53, "W": 74, "PT": 78, "AU": 79, "HG": 80,
}  # fmt: skip
_CIF_TOKEN = re.compile(r"'(?:[^']|'(?=\S))*'|\"(?:[^\"]|\"(?=\S))*\"|\S+")
_CIF_LABELS = ("group_PDB", "Cartn_x", "Cartn_y", "Cartn_z", "type_symbol")


@dataclass(frozen=True)
class Atoms:
    """Point scatterers.

    Attributes
    ----------
    positions_angst
        float64, (n, 3) as (x, y, z), Å.
    weights
        float64, (n,): scattering strength; the atomic number.
    """

    positions_angst: NDArray[np.float64]
    weights: NDArray[np.float64]

    @property
    def radius_angst(self) -> float:
        """Distance of the farthest atom from the origin, Å."""
        return float(np.sqrt((self.positions_angst**2).sum(axis=1).max()))


def read_atoms(path: str | os.PathLike[str]) -> Atoms:
    """Read the first model of a PDB or mmCIF file, without waters, hydrogens and alternatives.

    Parameters
    ----------
    path
        ``.cif`` or ``.mmcif`` is mmCIF, anything else PDB.

    Raises
    ------
    ClrelionError
        Unreadable, no atoms, or a record that makes no sense; names file and line.
    """
    name = Path(path)
    try:
        lines = name.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise ClrelionError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    is_cif = name.suffix.lower() in (".cif", ".mmcif")
    records = _cif_records(lines, path) if is_cif else _pdb_records(lines, path)
    positions, weights = [], []
    for number, record in records:
        if record.residue in _SOLVENT or record.alternative not in ("", ".", "?", "A"):
            continue
        atomic_number = _ATOMIC_NUMBERS.get(record.element.upper())
        if atomic_number is None:
            raise ClrelionError(
                f"{path} line {number}: element '{record.element}' is not known here; "
                f"known are {', '.join(_ATOMIC_NUMBERS)}: replace or remove this atom"
            )
        if atomic_number == 1:
            continue
        positions.append(record.position)
        weights.append(float(atomic_number))
    if not positions:
        raise ClrelionError(f"{path}: has no atoms; give a PDB or mmCIF file with coordinates")
    return Atoms(np.array(positions, dtype=np.float64), np.array(weights, dtype=np.float64))


@dataclass(frozen=True)
class _Record:
    position: tuple[float, float, float]
    element: str
    residue: str
    alternative: str


def _position(
    texts: Sequence[str], path: str | os.PathLike[str], number: int
) -> tuple[float, float, float]:
    try:
        x, y, z = (float(text) for text in texts)
    except ValueError:
        raise ClrelionError(
            f"{path} line {number}: coordinates {' '.join(texts)} are no numbers; correct this atom"
        ) from None
    return x, y, z


def _pdb_records(
    lines: Sequence[str], path: str | os.PathLike[str]
) -> Iterator[tuple[int, _Record]]:
    """Fixed columns; the element is guessed from the atom's name where its columns are empty."""
    for number, line in enumerate(lines, start=1):
        if line.startswith("ENDMDL"):
            return
        if not line.startswith(("ATOM  ", "HETATM")):
            continue
        position = _position([line[30:38], line[38:46], line[46:54]], path, number)
        element = line[76:78].strip()
        if not element:
            # a name begins in column 13 only where its element has two letters
            element = line[12:14].strip() if line[12:13].isalpha() else line[13:14]
            if element.upper() not in _ATOMIC_NUMBERS:
                element = element[:1]
        yield number, _Record(position, element, line[17:20].strip(), line[16:17].strip())


def _cif_records(
    lines: Sequence[str], path: str | os.PathLike[str]
) -> Iterator[tuple[int, _Record]]:
    """Rows of the ``_atom_site`` loop."""
    labels: dict[str, int] = {}
    first_model = ""
    for number, line in enumerate(lines, start=1):
        if line.startswith("_atom_site."):
            labels[line.split()[0].removeprefix("_atom_site.")] = len(labels)
            continue
        if not labels or not line.strip():
            continue
        if line[0] in "#_" or line.startswith(("loop_", "data_")):
            return
        missing = [label for label in _CIF_LABELS if label not in labels]
        if missing:
            raise ClrelionError(f"{path}: no _atom_site.{missing[0]}; this mmCIF cannot be used")
        cells = [cell.strip("'\"") for cell in _CIF_TOKEN.findall(line)]
        if len(cells) != len(labels):
            raise ClrelionError(
                f"{path} line {number}: {len(cells)} values for the {len(labels)} labels of "
                "_atom_site; write each atom on a line of its own"
            )
        row = {label: cells[index] for label, index in labels.items()}
        model = row.get("pdbx_PDB_model_num", "1")
        first_model = first_model or model
        if model != first_model:
            return
        position = _position([row["Cartn_x"], row["Cartn_y"], row["Cartn_z"]], path, number)
        residue = row.get("label_comp_id", row.get("auth_comp_id", ""))
        yield number, _Record(position, row["type_symbol"], residue, row.get("label_alt_id", ""))
