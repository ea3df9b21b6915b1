"""Readers of PDB and mmCIF files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from clrelion.errors import ClrelionError
from clrelion.simulation.atoms import read_atoms

PDB = """\
HEADER    A TEST
ATOM      1  N   ALA A   1      11.104   6.134  -6.504  1.00  0.00           N
ATOM      2  CA AALA A   1      -1.000   2.000   3.000  0.50  0.00           C
ATOM      3  CA BALA A   1      -1.500   2.000   3.000  0.50  0.00           C
ATOM      4  HA  ALA A   1       0.000   0.000   0.000  1.00  0.00           H
HETATM    5 ZN    ZN A 101       1.000   1.500   2.500  1.00  0.00
HETATM    6  O   HOH A 201       9.000   9.000   9.000  1.00  0.00           O
ENDMDL
ATOM      7  N   ALA B   1       5.000   5.000   5.000  1.00  0.00           N
"""
CIF = """\
data_TEST
loop_
_atom_site.group_PDB
_atom_site.id
_atom_site.type_symbol
_atom_site.label_atom_id
_atom_site.label_alt_id
_atom_site.label_comp_id
_atom_site.Cartn_x
_atom_site.Cartn_y
_atom_site.Cartn_z
_atom_site.pdbx_PDB_model_num
ATOM 1 N N . ALA 11.104 6.134 -6.504 1
ATOM 2 C "C A'" A ALA -1.0 2.0 3.0 1
ATOM 3 C CA B ALA -1.5 2.0 3.0 1
ATOM 4 H 'H"A' . ALA 0 0 0 1
HETATM 5 ZN ZN . ZN 1.0 1.5 2.5 1
HETATM 6 O O . HOH 9 9 9 1
ATOM 7 N N . ALA 5 5 5 2
#
_other.item 1
"""


@pytest.mark.parametrize(("name", "text"), [("a.pdb", PDB), ("a.ent", PDB), ("a.cif", CIF)])
def test_first_model_without_waters_hydrogens_alternatives(
    tmp_path: Path, name: str, text: str
) -> None:
    (tmp_path / name).write_text(text)
    atoms = read_atoms(tmp_path / name)
    np.testing.assert_array_equal(atoms.weights, [7, 6, 30])
    np.testing.assert_array_equal(
        atoms.positions_angst, [[11.104, 6.134, -6.504], [-1, 2, 3], [1, 1.5, 2.5]]
    )


@pytest.mark.parametrize(("name", "old", "new", "message"), [
    ("a.pdb", "6.134", "x.134", "line 2: coordinates"),
    ("a.pdb", "           N\n", "          XX\n", "line 2: element 'XX'"),
    ("a.pdb", "ATOM", "ANIS", None),
    ("a.cif", "6.134", "six", "line 13: coordinates"),
    ("a.cif", "ALA 11.104", "ALA", "line 13: 9 values for the 10 labels"),
    ("a.cif", "Cartn_x", "fract_x", "no _atom_site.Cartn_x"),
])  # fmt: skip
def test_errors_name_file_and_line(
    tmp_path: Path, name: str, old: str, new: str, message: str | None
) -> None:
    text = (PDB if name == "a.pdb" else CIF).replace(old, new)
    if message is None:
        text, message = "HEADER\n", "has no atoms"
    (tmp_path / name).write_text(text)
    with pytest.raises(ClrelionError, match=message) as raised:
        read_atoms(tmp_path / name)
    assert str(tmp_path / name) in str(raised.value)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ClrelionError, match="cannot be read"):
        read_atoms(tmp_path / "none.pdb")
