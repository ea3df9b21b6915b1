"""Point groups: operators from exact axes, asymmetric units of the sphere, their clean-up."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from clrelion.errors import OptionsError
from clrelion.orientations.euler import euler_matrix

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]
_Rule = Callable[[FloatArray, FloatArray, FloatArray], BoolArray]

ALLOWED_NAMES = "Cn, Dn (n = 1 to 99), T, O, I (= I2), I1, I2, I3, I4"

# Two operators are the same if no element differs by more than this.
_SAME_OPERATOR = 1e-6

_PHI = (1.0 + np.sqrt(5.0)) / 2.0

# (fold, axis) of the generators, exact where RELION's table has six digits; the lengths
# of the axes do not matter. I3 is I2 turned about y until a 5-fold lies on z.
_GENERATORS: dict[str, tuple[tuple[int, tuple[float, float, float]], ...]] = {
    "T": ((3, (0, 0, 1)), (2, (0, np.sqrt(2.0), 1))),
    "O": ((3, (1, 1, 1)), (4, (0, 0, 1))),
    "I1": ((2, (1, 0, 0)), (5, (_PHI, 0, -1)), (3, (_PHI, 1 / _PHI, 0))),
    "I2": ((2, (0, 0, 1)), (5, (1, 0, _PHI)), (3, (0, 1 / _PHI, _PHI))),
    "I3": ((2, (-1, 0, _PHI)), (5, (0, 0, 1)), (3, (-_PHI, np.sqrt(_PHI + 2) / _PHI, _PHI**2))),
    "I4": ((2, (1, 0, _PHI)), (5, (2, 0, 1)), (3, (_PHI, np.sqrt(_PHI + 2) / _PHI, _PHI**2))),
}

# Normals of the asymmetric units with RELION's own digits (not the exact values): they decide on
# which side the pixel centres on a seam fall, hence the direction list of RELION's model files.
_T_NORMALS = ((-1.0, 0.0, 0.0), (0.471405, 0.272165, 0.7698), (0.471404, 0.816497, 0.0))
_O_NORMALS = ((0.0, -1.0, 1.0), (1.0, 1.0, 0.0), (-1.0, 1.0, 0.0))
_I2_NORMALS = (
    (0.0, 1.0, 0.0),
    (-0.4999999839058737, -0.8090170074556163, 0.3090169861701543),
    (0.4999999839058737, -0.8090170074556163, 0.3090169861701543),
)
_I4_NORMALS = (
    (0.0, 0.0, 1.0),
    (0.187592467856686, -0.303530987314591, -0.491123477863004),
    (0.187592467856686, 0.303530987314591, -0.491123477863004),
)
_I3_TILT_DEG = 31.7174745559


@dataclass(frozen=True)
class PointGroup:
    """A rotational point group.

    Attributes
    ----------
    name
        Name as RELION writes it, upper case (``C1``, ``D7``, ``T``, ``O``, ``I``, ``I1``...).
    operators
        float64, (n_operators, 3, 3); closed under multiplication, identity first, read-only.
        Equivalent orientations are ``A @ R``, equivalent directions ``R.T @ d``.

    Notes
    -----
    Specification E 4.4, M 7.1.
    """

    name: str
    operators: FloatArray = field(repr=False, compare=False)

    @classmethod
    def from_name(cls, name: str) -> PointGroup:
        """Make the point group of a name; case does not matter.

        Raises
        ------
        OptionsError
            If the name is unknown, or names a group with mirrors or inversion.
        """
        key = name.strip().upper()
        axial = re.fullmatch(r"([CD])(\d{1,2})", key)
        if axial and int(axial[2]) > 0:
            kind, fold = axial[1], int(axial[2])
            key = f"{kind}{fold}"
            return cls(key, _axial_operators(fold, dihedral=kind == "D"))
        if key == "I" or key in _GENERATORS:
            return cls(key, _closure(_GENERATORS["I2" if key == "I" else key]))
        if re.fullmatch(r"C[IS]|[CD]\d{1,2}[VH]|S\d{1,2}|T[DH]|OH|I[1-5]?H", key):
            raise OptionsError(
                f"--sym {name}: this group has mirrors or inversion, which a molecule of "
                f"one handedness cannot have; choose one of {ALLOWED_NAMES}"
            )
        raise OptionsError(f"--sym {name}: unknown point group; choose one of {ALLOWED_NAMES}")

    @property
    def order(self) -> int:
        """Number of operators, identity included."""
        return int(self.operators.shape[0])

    def in_asymmetric_unit(
        self, rot_deg: npt.ArrayLike, tilt_deg: npt.ArrayLike, vectors: npt.ArrayLike
    ) -> BoolArray:
        """Test which directions lie in RELION's asymmetric unit, edges included.

        Parameters
        ----------
        rot_deg, tilt_deg
            float64, (n,); degrees, rot in [-180, 180], tilt in [0, 180].
        vectors
            float64, (n, 3); the same directions as unit vectors.

        Returns
        -------
        numpy.ndarray
            bool, (n,).

        Notes
        -----
        Specification E 4.4 step 1, M 7.2.
        """
        rule = _asymmetric_unit_rule(self.name)
        return rule(
            np.asarray(rot_deg, dtype=np.float64),
            np.asarray(tilt_deg, dtype=np.float64),
            np.asarray(vectors, dtype=np.float64),
        )

    def equivalent_directions(self, vectors: npt.ArrayLike) -> FloatArray:
        """All symmetry mates of directions.

        Parameters
        ----------
        vectors
            float64, (n, 3); unit vectors.

        Returns
        -------
        numpy.ndarray
            float64, (n, n_operators, 3); ``R.T @ d`` for every operator.
        """
        d = np.asarray(vectors, dtype=np.float64)
        return np.asarray(np.einsum("ni,rij->nrj", d, self.operators), dtype=np.float64)

    def first_of_equivalents(self, vectors: npt.ArrayLike, closer_than_deg: float) -> BoolArray:
        """Mark the directions that are no symmetry mate of an earlier marked one.

        Parameters
        ----------
        vectors
            float64, (n, 3); unit vectors, in the order in which they are tried.
        closer_than_deg
            A direction closer than this (degrees) to a mate of a marked one is left out.

        Returns
        -------
        numpy.ndarray
            bool, (n,).

        Notes
        -----
        Specification E 4.4 step 2.
        """
        d = np.asarray(vectors, dtype=np.float64)
        chord = 2.0 * np.sin(np.deg2rad(closer_than_deg) / 2.0)
        mates = self.equivalent_directions(d).reshape(-1, 3)
        near = cKDTree(mates).sparse_distance_matrix(cKDTree(d), chord, output_type="ndarray")
        earlier = near["i"] // self.order
        inside = (earlier < near["j"]) & (near["v"] < chord)
        blockers: dict[int, list[int]] = {}
        for first, second in zip(earlier[inside].tolist(), near["j"][inside].tolist(), strict=True):
            blockers.setdefault(second, []).append(first)
        kept = np.ones(len(d), dtype=np.bool_)
        for index in sorted(blockers):
            kept[index] = not any(kept[first] for first in blockers[index])
        return kept


def _rotation(fold: int, axis: npt.ArrayLike, power: int) -> FloatArray:
    """Transpose of the right-handed rotation by ``360 * power / fold`` degrees about an axis."""
    x, y, z = np.asarray(axis, dtype=np.float64) / np.linalg.norm(axis)
    angle = 2.0 * np.pi * power / fold
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    right_handed = np.eye(3) + np.sin(angle) * cross + (1.0 - np.cos(angle)) * (cross @ cross)
    return np.asarray(right_handed.T, dtype=np.float64)


def _finish(operators: FloatArray) -> FloatArray:
    """Take out the rounding of elements that are exactly 0, and make the table read-only."""
    table = np.where(np.abs(operators) < 1e-14, 0.0, operators)
    table.flags.writeable = False
    return table


def _axial_operators(fold: int, *, dihedral: bool) -> FloatArray:
    about_z = [_rotation(fold, (0.0, 0.0, 1.0), power) for power in range(fold)]
    if dihedral:
        half_turn = np.diag([1.0, -1.0, -1.0])
        about_z += [operator @ half_turn for operator in about_z]
    return _finish(np.stack(about_z))


def _closure(generators: tuple[tuple[int, tuple[float, float, float]], ...]) -> FloatArray:
    """Close a set of generators under multiplication."""
    powers = [_rotation(fold, axis, power) for fold, axis in generators for power in range(1, fold)]
    operators = [np.eye(3)]
    n_done = 0
    while n_done < len(operators):
        for generator in powers:
            product = operators[n_done] @ generator
            if all(np.abs(product - known).max() > _SAME_OPERATOR for known in operators):
                operators.append(product)
        n_done += 1
    return _finish(np.stack(operators))


def _half_spaces(normals: npt.ArrayLike, sign: float = 1.0) -> _Rule:
    """Rule: on the positive side (sign 1) or negative side (-1) of every plane."""
    planes = np.asarray(normals, dtype=np.float64)

    def rule(rot_deg: FloatArray, tilt_deg: FloatArray, vectors: FloatArray) -> BoolArray:
        # Written out: a library product may round differently on another machine, and the
        # last bit decides for directions on a seam.
        x, y, z = vectors[..., 0, None], vectors[..., 1, None], vectors[..., 2, None]
        side = sign * (x * planes[:, 0] + y * planes[:, 1] + z * planes[:, 2])
        return np.asarray(np.all(side >= 0.0, axis=-1), dtype=np.bool_)

    return rule


def _sector(first_deg: float, last_deg: float, *, upper_half: bool) -> _Rule:
    """Rule: rot between two angles, and for `upper_half` tilt up to 90 degrees."""

    def rule(rot_deg: FloatArray, tilt_deg: FloatArray, vectors: FloatArray) -> BoolArray:
        inside = (rot_deg >= first_deg) & (rot_deg <= last_deg)
        return inside & (tilt_deg <= 90.0) if upper_half else inside

    return rule


def _sector_and_planes(sector: _Rule, planes: _Rule) -> _Rule:
    """Rule of T and O: inside a sector, or at rot 0, and on the right side of all planes."""

    def rule(rot_deg: FloatArray, tilt_deg: FloatArray, vectors: FloatArray) -> BoolArray:
        in_sector = sector(rot_deg, tilt_deg, vectors) | (rot_deg == 0.0)
        return np.asarray(in_sector & planes(rot_deg, tilt_deg, vectors), dtype=np.bool_)

    return rule


def _everywhere(rot_deg: FloatArray, tilt_deg: FloatArray, vectors: FloatArray) -> BoolArray:
    return np.ones(rot_deg.shape, dtype=np.bool_)


def _asymmetric_unit_rule(name: str) -> _Rule:
    """Rule of RELION's asymmetric unit for a group name (Specification M 7.2)."""
    if name == "C1":
        return _everywhere
    if name == "D1":
        return _sector(-180.0, 180.0, upper_half=True)
    if name[0] in "CD":
        half_width = 180.0 / int(name[1:])
        centre = 0.0 if name[0] == "C" else 90.0
        return _sector(centre - half_width, centre + half_width, upper_half=name[0] == "D")
    if name == "T":
        return _sector_and_planes(_sector(90.0, 150.0, upper_half=False), _half_spaces(_T_NORMALS))
    if name == "O":
        return _sector_and_planes(_sector(45.0, 135.0, upper_half=True), _half_spaces(_O_NORMALS))
    if name == "I1":
        return _half_spaces(np.asarray(_I2_NORMALS) @ euler_matrix(0.0, 90.0, 0.0).T)
    if name == "I3":
        return _half_spaces(np.asarray(_I2_NORMALS) @ euler_matrix(0.0, _I3_TILT_DEG, 0.0).T)
    if name == "I4":
        turned = np.asarray(_I4_NORMALS) @ euler_matrix(0.0, -_I3_TILT_DEG, 0.0).T
        return _half_spaces(turned, sign=-1.0)
    return _half_spaces(_I2_NORMALS)
