"""Molecules grown from a seed."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial import cKDTree

from clrelion.errors import OptionsError
from clrelion.orientations.symmetry import PointGroup
from clrelion.simulation.molecule import MoleculeRecipe, grow_molecule


@pytest.mark.parametrize(("text", "kda"), [
    ("seed:42,kda:60", 60), ("seed:7,kda:120,sym:c4", 120), ("seed:3,kda:150,sym:D2", 150),
])  # fmt: skip
def test_mass_density_and_symmetry(text: str, kda: float) -> None:
    recipe = MoleculeRecipe.from_text(text)
    molecule = grow_molecule(recipe)
    # Z = 6.6 a heavy atom, hydrogens add 7 % of mass
    assert 2.0e-3 * molecule.weights.sum() * 1.07 == pytest.approx(kda, rel=0.15)
    tree = cKDTree(molecule.positions_angst)
    for operator in PointGroup.from_name(recipe.symmetry).operators:
        distance, partner = tree.query(molecule.positions_angst @ operator)
        assert np.max(distance) < 1e-6
        np.testing.assert_array_equal(molecule.weights[partner], molecule.weights)
    # about as compact as a protein, and no ball
    spread = np.sqrt(np.linalg.eigvalsh(np.cov(molecule.positions_angst.T)))
    ball = (3 * 1230 * kda / (4 * np.pi)) ** (1 / 3) * np.sqrt(3 / 5)
    assert 0.95 * ball < np.sqrt((spread**2).sum()) < 2.0 * ball
    assert 1.1 < spread.max() / spread.min() < 5


def test_chains_keep_clear_of_each_other() -> None:
    molecule = grow_molecule(MoleculeRecipe.from_text("seed:5,kda:80,sym:C2"))
    n_residues = round(80_000 / 110 / 2)
    trace = molecule.positions_angst[:n_residues]  # CA atoms come first
    mate = trace * (-1, -1, 1)
    assert np.mean(np.asarray(cKDTree(mate).query(trace)[0]) < 3.0) < 0.05
    near = cKDTree(trace).query_pairs(3.0, output_type="ndarray")
    assert (np.abs(near[:, 0] - near[:, 1]) > 1).sum() < 0.1 * n_residues


def test_the_seed_decides() -> None:
    first, again, other = (
        grow_molecule(MoleculeRecipe(seed, 40.0)).positions_angst for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert first.shape != other.shape or not np.allclose(first, other)


def test_a_state_is_a_part_in_the_same_frame() -> None:
    whole = grow_molecule(MoleculeRecipe.from_text("seed:4,kda:100"))
    part = grow_molecule(MoleculeRecipe.from_text("seed:4,kda:100,drop:1"))
    assert 0.6 < len(part.weights) / len(whole.weights) < 0.95
    assert np.max(cKDTree(whole.positions_angst).query(part.positions_angst)[0]) == 0


@pytest.mark.parametrize("text", [
    "seed:1", "kda:100", "seed:x,kda:100", "seed:1,kda:100,color:red", "seed:1,kda:1",
    "seed:1,kda:100,sym:T", "seed:1,kda:100,drop:-1", "seed:1,kda:40,drop:9",
])  # fmt: skip
def test_recipes_that_make_no_sense(text: str) -> None:
    with pytest.raises(OptionsError, match="--molecule"):
        grow_molecule(MoleculeRecipe.from_text(text))
