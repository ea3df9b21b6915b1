"""Matrices, angles, directions and distances."""

from __future__ import annotations

import numpy as np
import pytest

from clrelion.orientations.euler import (
    angles_distance_deg,
    angular_distance_deg,
    direction_angles,
    direction_vector,
    euler_angles,
    euler_matrix,
)
from clrelion.orientations.symmetry import PointGroup


def random_angles(n: int, seed: int = 0) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    rng = np.random.default_rng(seed)
    low, high = np.array([-180.0, 0.0, -180.0]), np.array([180.0, 180.0, 180.0])
    return rng.uniform(low, high, (n, 3))


def test_matrix_of_the_specification() -> None:
    expected = [
        [0.043412, 0.909616, -0.413176],
        [-0.829598, 0.263258, 0.492404],
        [0.556670, 0.321394, 0.766044],
    ]
    np.testing.assert_allclose(euler_matrix(30, 40, 50), expected, atol=5e-7)


def test_matrix_is_a_product_of_frame_rotations() -> None:
    def about_z(angle: float) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
        c, s = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
        return np.array([[c, s, 0.0], [-s, c, 0.0], [0.0, 0.0, 1.0]])

    for rot, tilt, psi in random_angles(20):
        c, s = np.cos(np.deg2rad(tilt)), np.sin(np.deg2rad(tilt))
        about_y = np.array([[c, 0.0, -s], [0.0, 1.0, 0.0], [s, 0.0, c]])
        expected = about_z(psi) @ about_y @ about_z(rot)
        np.testing.assert_allclose(euler_matrix(rot, tilt, psi), expected, atol=1e-14)


def test_angles_come_back() -> None:
    angles = random_angles(500)
    np.testing.assert_allclose(np.stack(euler_angles(euler_matrix(*angles.T)), -1), angles)
    many = euler_matrix(angles[:, 0, None], angles[:, 1, None], np.array([1.0, 2.0]))
    assert many.shape == (500, 2, 3, 3)
    np.testing.assert_allclose(
        many @ many.swapaxes(-1, -2), np.broadcast_to(np.eye(3), many.shape), atol=1e-14
    )


@pytest.mark.parametrize(
    ("angles", "expected"),
    [
        ((30, 0, 50), (0, 0, 80)),
        ((30, 180, 50), (0, 180, 20)),
        ((30, -40, 50), (-150, 40, -130)),
        ((30, 1e-5, 50), (0, 0, 80)),
        ((30, 0.001, 50), (30, 0.001, 50)),
    ],
)
def test_poles_and_negative_tilts(angles: tuple[float, ...], expected: tuple[float, ...]) -> None:
    got = [float(angle) for angle in euler_angles(euler_matrix(*angles))]
    assert got == pytest.approx(expected, abs=1e-8)


def test_directions() -> None:
    angles = random_angles(200)
    vectors = direction_vector(angles[:, 0], angles[:, 1])
    np.testing.assert_allclose(vectors, euler_matrix(*angles.T)[:, 2], atol=1e-15)
    rot, tilt = direction_angles(vectors)
    np.testing.assert_allclose(rot, angles[:, 0], atol=1e-9)
    np.testing.assert_allclose(tilt, angles[:, 1], atol=1e-6)
    rot, tilt = direction_angles(direction_vector([77.0, 77.0], [0.0005, 179.9995]))
    assert rot.tolist() == [0.0, 0.0]
    assert tilt == pytest.approx([0.0005, 179.9995], abs=1e-6)


def test_distance() -> None:
    identity = np.eye(3)[None]
    angles = random_angles(50)
    matrices = euler_matrix(*angles.T)
    turned = euler_matrix(angles[:, 0], angles[:, 1], angles[:, 2] + 9.0)
    # The viewing direction does not move: two thirds of the angle.
    np.testing.assert_allclose(angular_distance_deg(turned, matrices, identity), 6.0)
    # acos near 1 has few digits.
    assert angular_distance_deg(matrices, matrices, identity).max() < 1e-5


def test_distance_ignores_symmetry() -> None:
    group = PointGroup.from_name("O")
    matrices = euler_matrix(*random_angles(24).T)
    assert angular_distance_deg(matrices @ group.operators, matrices, group.operators).max() < 1e-5
    distances = angular_distance_deg(matrices @ group.operators, matrices, np.eye(3)[None])
    assert distances[1:].min() > 50
    with pytest.raises(ValueError, match="identity"):
        angular_distance_deg(matrices, matrices, np.empty((0, 3, 3)))


@pytest.mark.parametrize("name", ["C1", "C4", "D2", "I"])
def test_distances_of_many_pairs(name: str) -> None:
    """Their number does not change a bit, and each is the mean angle between the rows."""
    operators = PointGroup.from_name(name).operators
    angles = random_angles(150)
    new, old = angles[:75], angles[75:]
    found = angles_distance_deg(new, old, operators)
    for n in (1, 63, 64, 65):
        some = angles_distance_deg(new[:n], old[:n], operators)
        np.testing.assert_array_equal(some, found[:n])
    for k in range(0, 75, 7):
        one, mates = euler_matrix(*new[k]), euler_matrix(*old[k]) @ operators
        cosines = np.einsum("rj,orj->or", one, mates).clip(-1, 1)
        expected = np.rad2deg(np.arccos(cosines)).mean(axis=1).min()
        assert found[k] == pytest.approx(expected, rel=1e-12)
    assert angles_distance_deg(new[:0], old[:0], operators).shape == (0,)
