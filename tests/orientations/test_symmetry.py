"""Operators of the point groups and their asymmetric units."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from clrelion.errors import OptionsError
from clrelion.orientations import healpix_grid
from clrelion.orientations.euler import (
    direction_angles,
    direction_vector,
    euler_angles,
    euler_matrix,
)
from clrelion.orientations.sampling import OrientationGrid
from clrelion.orientations.symmetry import PointGroup

FloatArray = np.ndarray[tuple[int, ...], np.dtype[np.float64]]

NAMES = [
    *("C1", "C2", "C3", "C4", "C7", "C12", "D1", "D2", "D3", "D4", "D7"),
    *("T", "O", "I", "I1", "I2", "I3", "I4"),
]
ORDERS = [1, 2, 3, 4, 7, 12, 2, 4, 6, 8, 14, 12, 24, 60, 60, 60, 60, 60]


def nearest_rows(
    table: FloatArray, rows: FloatArray
) -> tuple[FloatArray, np.ndarray[tuple[int, ...], np.dtype[np.int64]]]:
    """Distance to, and index of, the row of a table that is nearest to each of `rows`."""
    distance, index = cKDTree(table).query(rows)
    return np.asarray(distance), np.asarray(index)


def axes_of(group: PointGroup, fold: int) -> FloatArray:
    """Axes (both directions) about which the group turns by 360/fold degrees."""
    vectors = Rotation.from_matrix(group.operators).as_rotvec()
    angles = np.linalg.norm(vectors, axis=1)
    chosen = np.abs(angles - 2 * np.pi / fold) < 1e-6
    axes = vectors[chosen] / angles[chosen, None]
    return np.concatenate([axes, -axes])


@pytest.mark.parametrize(("name", "order"), list(zip(NAMES, ORDERS, strict=True)))
def test_groups_are_closed(name: str, order: int) -> None:
    group = PointGroup.from_name(name.lower())
    operators = group.operators
    assert (group.name, group.order, len(operators)) == (name, order, order)
    np.testing.assert_array_equal(operators[0], np.eye(3))
    np.testing.assert_allclose(
        operators @ operators.swapaxes(1, 2),
        np.broadcast_to(np.eye(3), operators.shape),
        atol=1e-14,
    )
    np.testing.assert_allclose(np.linalg.det(operators), 1.0)
    flat = operators.reshape(order, 9)
    products = np.einsum("aij,bjk->abik", operators, operators).reshape(-1, 9)
    distance, index = nearest_rows(flat, products)
    assert distance.max() < 1e-13
    assert np.bincount(index, minlength=order).tolist() == [order] * order
    if order > 1:
        assert (
            min(nearest_rows(np.delete(flat, i, 0), flat[i : i + 1])[0] for i in range(order))
            > 1e-3
        )
    with pytest.raises(ValueError, match="read-only"):
        operators[0, 0, 0] = 2.0


PHI = (1 + np.sqrt(5)) / 2


@pytest.mark.parametrize(
    ("name", "fold", "axis"),
    [
        # The six-digit axes of the specification (E 4.4) must all be axes of the group.
        ("C5", 5, (0, 0, 1)),
        ("D5", 5, (0, 0, 1)),
        ("D5", 2, (1, 0, 0)),
        ("T", 3, (0, 0, 1)),
        ("T", 2, (0, 0.816496, 0.577350)),
        ("O", 3, (1, 1, 1)),
        ("O", 4, (0, 0, 1)),
        ("I", 2, (0, 0, 1)),
        ("I2", 5, (0.525731114, 0, 0.850650807)),
        ("I2", 3, (0, 0.356822076, 0.934172364)),
        ("I1", 2, (1, 0, 0)),
        ("I1", 5, (0.85065080702670, 0, -0.5257311142635)),
        ("I1", 3, (0.9341723640, 0.3568220765, 0)),
        ("I3", 2, (-0.5257311143, 0, 0.8506508070)),
        ("I3", 5, (0, 0, 1)),
        ("I3", 3, (-0.4911234778630044, 0.3568220764705179, 0.7946544753759428)),
        ("I4", 2, (0.5257311143, 0, 0.8506508070)),
        ("I4", 5, (0.8944271932547096, 0, 0.4472135909903704)),
        ("I4", 3, (0.4911234778630044, 0.3568220764705179, 0.7946544753759428)),
    ],
)
def test_axes_of_the_specification(name: str, fold: int, axis: tuple[float, ...]) -> None:
    unit = np.array(axis) / np.linalg.norm(axis)
    distance = np.linalg.norm(axes_of(PointGroup.from_name(name), fold) - unit, axis=1)
    assert distance.min() < 1e-6


@pytest.mark.parametrize(
    ("name", "fold", "axis"),
    [
        # Exact places that the six digits miss.
        ("I2", 5, (1, 0, PHI)),
        ("I2", 3, (0, 1 / PHI, PHI)),
        ("I1", 5, (PHI, 0, -1)),
        ("I4", 5, (0, 0, 1)),
        ("T", 2, (0, np.sqrt(2), 1)),
    ],
)
def test_axes_are_exact(name: str, fold: int, axis: tuple[float, ...]) -> None:
    unit = np.array(axis) / np.linalg.norm(axis)
    distance = np.linalg.norm(axes_of(PointGroup.from_name(name), fold) - unit, axis=1)
    assert distance.min() < 1e-13


def test_settings_of_the_icosahedral_groups() -> None:
    """M 7.1: I1 is I2 turned by 90 degrees about y; I3 and I4 differ by 180 about z."""
    for first, second, axis, angle in (("I2", "I1", "y", 90), ("I3", "I4", "z", 180)):
        turn = Rotation.from_euler(axis, angle, degrees=True).as_matrix()
        turned = turn @ PointGroup.from_name(first).operators @ turn.T
        other = PointGroup.from_name(second).operators
        assert nearest_rows(other.reshape(-1, 9), turned.reshape(-1, 9))[0].max() < 1e-13


@pytest.mark.parametrize("name", ["", "C0", "C100", "D0", "X4", "I5", "C", "c 4", "4"])
def test_unknown_names(name: str) -> None:
    with pytest.raises(OptionsError, match=r"unknown point group; choose one of Cn, Dn .* I4"):
        PointGroup.from_name(name)


@pytest.mark.parametrize(
    "name",
    ["CI", "CS", "C4V", "C4H", "S4", "D3V", "D3H", "TD", "TH", "OH", "IH", "I1H", "I5H", "cs"],
)
def test_mirror_groups_are_refused_with_the_reason(name: str) -> None:
    with pytest.raises(OptionsError, match="mirrors or inversion"):
        PointGroup.from_name(name)


def test_names_are_normalised() -> None:
    assert PointGroup.from_name(" c04 ").name == "C4"
    assert PointGroup.from_name("i").name == "I"
    assert PointGroup.from_name("d7") == PointGroup.from_name("D7")


# After the rule -> after the clean-up (E 4.4, M 7.2).
COUNTS = {
    2: "192>192 100>96 66>60 56>48 54>48 36>33 30>24 16>13 14>14 8>7 5>3 2>2 4>4 3>2",
    3: "768>768 392>384 254>248 208>192 204>192 132>129 108>96 56>53 61>59 33>32 16>12 14>11 "
    "12>12 14>11",
    4: "3072>3072 1552>1536 1030>1003 800>768 792>768 526>503 408>384 230>218 251>250 129>126 "
    "56>49 50>48 53>53 52>48",
}
COUNT_GROUPS = ["C1", "C2", "C3", "C4", "D2", "D3", "D4", "D7", "T", "O", "I1", "I2", "I3", "I4"]


@pytest.mark.parametrize(
    ("order", "name", "counts"),
    [
        (order, name, counts)
        for order, row in COUNTS.items()
        for name, counts in zip(COUNT_GROUPS, row.split(), strict=True)
    ],
)
def test_direction_counts_of_the_specification(order: int, name: str, counts: str) -> None:
    group = PointGroup.from_name(name)
    rot, tilt = healpix_grid.directions(order)
    inside = group.in_asymmetric_unit(rot, tilt, direction_vector(rot, tilt))
    grid = OrientationGrid.create(order, None, group)
    assert f"{inside.sum()}>{grid.n_dir}" == counts


# Directions in the sampling files that RELION 3.1.3 (Debian) wrote: one CC iteration each.
RELION_3_COUNTS = {
    5: "C2:6176 C3:4086 C6:2005 C7:1726 D2:3072 D3:2033 D7:864 T:1009 O:507 I1:199 I2:199 I3:206 "
    "I4:196",
    6: "C2:24640 C3:16406 C6:8170 C7:7012 D2:12384 D3:8246 D7:3493 T:4075 O:2037 I1:807 I2:809 "
    "I3:820 I4:802",
}


@pytest.mark.parametrize(
    ("order", "entry"),
    [(order, entry) for order, row in RELION_3_COUNTS.items() for entry in row.split()],
)
def test_direction_counts_of_relion_at_high_orders(order: int, entry: str) -> None:
    name, count = entry.split(":")
    assert OrientationGrid.create(order, None, PointGroup.from_name(name)).n_dir == int(count)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("order", [2, 3, 5])
def test_every_direction_maps_into_the_asymmetric_unit(name: str, order: int) -> None:
    group = PointGroup.from_name(name)
    grid = OrientationGrid.create(order, None, group)
    rng = np.random.default_rng(5)
    vectors = rng.standard_normal((3000, 3))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    mates = group.equivalent_directions(vectors)
    tree = cKDTree(direction_vector(grid.rot_deg, grid.tilt_deg))
    chord = np.asarray(tree.query(mates)[0]).min(axis=1)
    angle = np.rad2deg(2 * np.arcsin(chord / 2))
    # M 10.1 has 1 pixel radius for all groups. That holds where the axes are symmetry axes of the
    # HEALPix grid; elsewhere RELION's lists, which these are, leave wider gaps along the seams.
    in_radii = angle.max() / healpix_grid.maximum_pixel_radius_deg(order)
    limits = {
        "C7": 1.7,
        "D7": 1.7,
        "C12": 2.5,
        "I": 1.8,
        "I1": 1.3,
        "I2": 1.8,
        "I3": 1.3,
        "I4": 1.9,
    }
    assert in_radii < limits.get(name, 1.0)
    # No more directions than needed: the unit covers its share of the sphere, apart from seams.
    share = healpix_grid.pixel_count(order) / group.order
    assert grid.n_dir < 1.1 * share + 6 * 2**order / np.sqrt(group.order)


@pytest.mark.parametrize("name", ["C3", "D2", "D7", "T", "O", "I1", "I2", "I3", "I4"])
def test_kept_directions_are_not_equivalent(name: str) -> None:
    group = PointGroup.from_name(name)
    grid = OrientationGrid.create(4, None, group)
    vectors = direction_vector(grid.rot_deg, grid.tilt_deg)
    mates = group.equivalent_directions(vectors)
    limit = 0.5 * healpix_grid.maximum_pixel_radius_deg(4)
    for index, vector in enumerate(vectors):
        cosine = np.delete(mates, index, axis=0) @ vector
        assert np.rad2deg(np.arccos(np.clip(cosine.max(), -1, 1))) >= limit


def test_equivalent_directions_are_those_of_equivalent_orientations() -> None:
    group = PointGroup.from_name("I3")
    rot, tilt, _ = euler_angles(euler_matrix(20.0, 50.0, 80.0) @ group.operators)
    mates = group.equivalent_directions(direction_vector([20.0], [50.0]))[0]
    got = direction_angles(mates)
    np.testing.assert_allclose(direction_vector(rot, tilt), mates, atol=1e-14)
    np.testing.assert_allclose(got[1], tilt, atol=1e-6)
