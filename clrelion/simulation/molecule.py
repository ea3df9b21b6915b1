"""A molecule grown from a seed: chains of helices and loops, folded into domains.

Nothing but a line of text is needed to get it again, so that benchmarks and tests need no file
of coordinates.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clrelion.errors import OptionsError
from clrelion.orientations.symmetry import PointGroup
from clrelion.simulation.atoms import Atoms

__all__ = ["MoleculeRecipe", "grow_molecule"]

_RESIDUE_DA = 110.0
_ANGST3_PER_DA = 1.23
_DOMAIN_RESIDUES = 160
_CA_STEP_ANGST = 3.8
_CLOSEST_CA_ANGST = 4.0
_HELIX_RADIUS_ANGST, _HELIX_RISE_ANGST, _HELIX_TURN_DEG = 2.3, 1.5, 100.0
_HELIX_RESIDUES, _LOOP_RESIDUES = (8, 20), (3, 8)
_BOND_ANGST = 1.5
_MAX_SIDE_CHAIN = 7
_TRIALS = 24
# heavy atoms of a protein: carbon, nitrogen, oxygen, sulphur
_ELEMENT_WEIGHTS, _ELEMENT_SHARES = (6.0, 7.0, 8.0, 16.0), (0.63, 0.17, 0.19, 0.01)


@dataclass(frozen=True)
class MoleculeRecipe:
    """What to grow.

    Attributes
    ----------
    seed
        Seed of the growth.
    kda
        Mass of the whole molecule, kDa.
    symmetry
        Cn or Dn.
    drop
        Domains of each protomer that are left out, the last ones first: another state of the same
        molecule.
    """

    seed: int
    kda: float
    symmetry: str = "C1"
    drop: int = 0

    @classmethod
    def from_text(cls, text: str) -> MoleculeRecipe:
        """Read ``seed:42,kda:300,sym:C4[,drop:1]``.

        Raises
        ------
        OptionsError
            Not of this form.
        """
        values: dict[str, str] = {}
        for part in text.split(","):
            name, _, value = part.strip().partition(":")
            values[name] = value.strip()
        try:
            recipe = cls(
                int(values.pop("seed")), float(values.pop("kda")), values.pop("sym", "C1").upper(),
                int(values.pop("drop", "0")),
            )  # fmt: skip
            if values:
                raise ValueError(text)
        except (KeyError, ValueError):
            raise OptionsError(
                f"--molecule {text}: write it like seed:42,kda:300,sym:C4 (and drop:1 for a state "
                "without the last domain)"
            ) from None
        if recipe.seed < 0 or not 10 <= recipe.kda <= 20000 or recipe.drop < 0:
            raise OptionsError(f"--molecule {text}: seed >= 0, kda 10 to 20000, drop >= 0")
        if not re.fullmatch(r"[CD]\d{1,2}", recipe.symmetry):
            raise OptionsError(f"--molecule {text}: sym must be Cn or Dn")
        return recipe


def grow_molecule(recipe: MoleculeRecipe) -> Atoms:
    """Grow a molecule.

    Parameters
    ----------
    recipe
        What to grow; equal recipes give equal molecules.

    Returns
    -------
    Atoms
        Symmetry axes where :class:`~clrelion.orientations.symmetry.PointGroup` has them; without
        symmetry, centred on its mass; with a cyclic one, centred along its axis.

    Raises
    ------
    OptionsError
        Nothing is left of it.
    """
    operators = PointGroup.from_name(recipe.symmetry).operators
    n_residues = max(20, round(1000 * recipe.kda / (_RESIDUE_DA * len(operators))))
    rng = np.random.default_rng([recipe.seed, 0])
    growth = _Growth(rng, operators, recipe.symmetry, n_residues)
    trace, domains = growth.grow()
    positions, weights, residues = _atoms_of(np.random.default_rng([recipe.seed, 1]), trace)
    # centred before anything is dropped: the states of a molecule share their frame
    full = np.concatenate([positions @ operator for operator in operators])
    centre = np.average(full, axis=0, weights=np.tile(weights, len(operators)))
    kept = domains[residues] <= domains.max() - recipe.drop
    if not kept.any():
        raise OptionsError(
            f"--molecule: drop:{recipe.drop} leaves nothing of a protomer of "
            f"{domains.max() + 1} domains; drop fewer"
        )
    mates = np.concatenate([positions[kept] @ operator for operator in operators])
    return Atoms(mates - centre, np.tile(weights[kept], len(operators)))


class _Growth:
    """One protomer's chain of CA atoms, kept clear of itself and of its symmetry mates."""

    def __init__(
        self,
        rng: np.random.Generator,
        operators: NDArray[np.float64],
        symmetry: str,
        n_residues: int,
    ) -> None:
        self._rng = rng
        self._operators = operators
        self._n = n_residues
        n_domains = max(1, round(n_residues / _DOMAIN_RESIDUES))
        self._domain_of = np.arange(n_residues) * n_domains // n_residues
        volume = _ANGST3_PER_DA * _RESIDUE_DA * n_residues / n_domains
        # looser than solid protein: the chain must find its way
        self._radius = 1.15 * (3.0 * volume / (4.0 * np.pi)) ** (1.0 / 3.0)
        self._centres = self._place_domains(symmetry, n_domains)

    def _place_domains(self, symmetry: str, n_domains: int) -> NDArray[np.float64]:
        """Centres of the domains: each beside an earlier one, compact, clear of mates."""
        fold = int(symmetry[1:])
        reach = self._radius * n_domains ** (1.0 / 3.0)
        start = np.zeros(3)
        if fold > 1:
            start[0] = 0.8 * reach / np.sin(np.pi / fold)
        if symmetry[0] == "D":
            start[:] = start[0] or 0.8 * reach, 0.3 * reach, 0.8 * reach
        centres = [start]
        for _ in range(1, n_domains):
            trials = np.array(centres)[self._rng.integers(len(centres), size=64)]
            trials = trials + 1.7 * self._radius * _unit_vectors(self._rng, 64)
            mates = np.concatenate([np.array(centres) @ operator for operator in self._operators])
            own = np.einsum("ti,oij->toj", trials, self._operators[1:])
            everything = np.concatenate([np.tile(mates, (64, 1, 1)), own], axis=1)
            clearance = np.linalg.norm(everything - trials[:, None], axis=-1).min(axis=1)
            # uneven weights give a compact shape that is no ball
            middle = np.mean(centres, axis=0)
            distance = np.linalg.norm((trials - middle) * (1.0, 1.2, 0.7), axis=1)
            overlap = np.maximum(1.6 * self._radius - clearance, 0.0)
            centres.append(trials[np.argmin(distance + 10.0 * overlap)])
        return np.array(centres)

    def grow(self) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """CA positions, (n, 3) in Å, and the domain of each residue."""
        self._trace = np.empty((self._n, 3))
        self._mates = np.empty((len(self._operators), self._n, 3))
        self._placed = 0
        self._put(self._centres[0] + 0.5 * self._radius * _unit_vectors(self._rng, 1)[0])
        is_helix = True
        while self._placed < self._n:
            low, high = _HELIX_RESIDUES if is_helix else _LOOP_RESIDUES
            length = min(int(self._rng.integers(low, high + 1)), self._n - self._placed)
            if is_helix:
                self._add(self._best([self._helix(length) for _ in range(_TRIALS)]))
            else:
                for _ in range(length):
                    steps = _CA_STEP_ANGST * _unit_vectors(self._rng, _TRIALS)
                    self._add(self._best(list((self._trace[self._placed - 1] + steps)[:, None])))
            is_helix = not is_helix
        return self._trace, self._domain_of

    def _put(self, position: NDArray[np.float64]) -> None:
        self._trace[self._placed] = position
        self._mates[:, self._placed] = position @ self._operators
        self._placed += 1

    def _add(self, positions: NDArray[np.float64]) -> None:
        for position in positions:
            self._put(position)

    def _helix(self, length: int) -> NDArray[np.float64]:
        """Segment of an alpha helix in a random direction, one step from the end of the chain."""
        axis, side = _unit_vectors(self._rng, 2)
        side = np.cross(axis, side)
        side /= np.linalg.norm(side)
        turn = np.deg2rad(_HELIX_TURN_DEG) * np.arange(length)
        ring = np.outer(np.cos(turn), side) + np.outer(np.sin(turn), np.cross(axis, side))
        shape = _HELIX_RADIUS_ANGST * ring + np.outer(_HELIX_RISE_ANGST * np.arange(length), axis)
        step = _CA_STEP_ANGST * _unit_vectors(self._rng, 1)[0]
        return np.asarray(self._trace[self._placed - 1] + step + shape - shape[0])

    def _best(self, candidates: list[NDArray[np.float64]]) -> NDArray[np.float64]:
        """Choose the candidate that clashes least and stays best within its domain."""
        segments = np.stack(candidates)
        n = segments.shape[1]
        centre = self._centres[self._domain_of[self._placed : self._placed + n]]
        outside = np.maximum(np.linalg.norm(segments - centre, axis=-1) - self._radius, 0.0)
        # the last residues are bonded to the new ones
        others = self._mates[:, : max(self._placed - 2, 0)].reshape(-1, 3)
        if len(self._operators) > 1:
            others = np.concatenate([others, self._mates[1:, : self._placed].reshape(-1, 3)])
        end = self._trace[self._placed - 1]
        reach = np.linalg.norm(segments - end, axis=-1).max() + _CLOSEST_CA_ANGST
        others = others[((others - end) ** 2).sum(axis=1) < reach**2]
        gaps = np.linalg.norm(segments[:, :, None] - others, axis=-1)
        clashes = (gaps < _CLOSEST_CA_ANGST).sum(axis=(1, 2))
        cost = outside.mean(axis=1) + 2.0 * clashes / n + self._rng.uniform(0, 0.3, len(segments))
        return np.asarray(segments[np.argmin(cost)])


def _unit_vectors(rng: np.random.Generator, n: int) -> NDArray[np.float64]:
    vectors = rng.standard_normal((n, 3))
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def _atoms_of(
    rng: np.random.Generator, trace: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Heavy atoms around a trace: four of the backbone and a side chain of 0 to 7 a residue."""
    n = len(trace)
    following = np.concatenate([trace[1:], trace[-1:] + (trace[-1:] - trace[-2:-1])])
    step = following - trace
    backbone = [trace, trace + step / 3, trace + 2 * step / 3]
    backbone.append(backbone[1] + 1.2 * _unit_vectors(rng, n))
    residue = np.arange(n)
    positions, residues = list(backbone), [residue] * 4
    length = rng.integers(0, _MAX_SIDE_CHAIN + 1, n)
    end, direction = trace, _unit_vectors(rng, n)
    for i in range(_MAX_SIDE_CHAIN):
        direction = direction + 0.7 * _unit_vectors(rng, n)
        direction /= np.linalg.norm(direction, axis=1, keepdims=True)
        end = end + _BOND_ANGST * direction
        positions.append(end[length > i])
        residues.append(residue[length > i])
    weights = rng.choice(_ELEMENT_WEIGHTS, size=sum(len(p) for p in positions), p=_ELEMENT_SHARES)
    return np.concatenate(positions), weights, np.concatenate(residues)
