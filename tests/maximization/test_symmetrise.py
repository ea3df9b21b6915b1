from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from clrelion.maximization import symmetrise
from clrelion.maximization.sums import BackprojectionSums
from clrelion.orientations.symmetry import PointGroup
from tests.reference.phantoms import uniform_matrices
from tests.reference.slices import backproject


def random_sums(r_max: int, seed: int = 0, padding: float = 2.0) -> BackprojectionSums:
    sums = BackprojectionSums.zeros(padding, r_max, 2 * r_max)
    rng = np.random.default_rng(seed)
    sums.data += rng.normal(size=sums.data.shape) + 1j * rng.normal(size=sums.data.shape)
    sums.weight += rng.uniform(size=sums.data.shape)
    origin = sums.padded_radius + 1
    sums.data[origin, origin, 0] = 1.5  # real, as the mean of real images is
    sums.hermitian_repair()
    return sums


def gather_all(
    sums: BackprojectionSums, operators: NDArray[np.float64]
) -> tuple[NDArray[np.complex128], NDArray[np.float64]]:
    """The rule of the specification, operator by operator, every one interpolated."""
    edge, radius = sums.padded_radius + 1, sums.padded_radius
    k = np.arange(-edge, edge + 1)
    z, y, x = np.meshgrid(k, k, np.arange(edge + 1), indexing="ij")
    inside = x**2 + y**2 + z**2 <= radius**2
    points = np.stack([x[inside], y[inside], z[inside]]).astype(float)
    data, weight = sums.data.copy(), sums.weight.copy()
    for operator in operators[1:]:
        rotated = operator @ points
        mirrored = rotated[0] < 0
        rotated[:, mirrored] *= -1
        corner = np.floor(rotated).astype(int)
        share = rotated - corner
        for dx, dy, dz in np.ndindex(2, 2, 2):
            t = np.ones(points.shape[1])
            for axis, step in enumerate((dx, dy, dz)):
                t *= share[axis] if step else 1 - share[axis]
            index = (corner[2] + dz + edge, corner[1] + dy + edge, corner[0] + dx)
            value = sums.data[index]
            data[inside] += t * np.where(mirrored, value.conj(), value)
            weight[inside] += t * sums.weight[index]
    return data, weight


@pytest.mark.parametrize(
    "name", ["C1", "C2", "C3", "C4", "C7", "D2", "D3", "D7", "T", "O", "I1", "I2", "I3", "I4"]
)
def test_cosets_give_the_sum_over_all_operators(name: str) -> None:
    sums = random_sums(6)
    operators = np.asarray(PointGroup.from_name(name).operators)
    data, weight = gather_all(sums, operators)
    sums.symmetrise(operators)
    np.testing.assert_allclose(sums.data, data, atol=1e-11)
    np.testing.assert_allclose(sums.weight, weight, atol=1e-11)


@pytest.mark.parametrize(
    ("name", "n_subgroup", "n_cosets"),
    [("D2", 4, 1), ("C4", 4, 1), ("O", 24, 1), ("I1", 12, 5), ("I2", 12, 5), ("D7", 2, 7)],
)
def test_lattice_operators_save_interpolations(name: str, n_subgroup: int, n_cosets: int) -> None:
    subgroup, cosets = symmetrise.lattice_cosets(PointGroup.from_name(name).operators)
    assert (len(subgroup), len(cosets)) == (n_subgroup, n_cosets)
    np.testing.assert_array_equal(subgroup[0], np.eye(3))


def test_identity_may_be_left_out_but_a_group_is_needed() -> None:
    operators = np.asarray(PointGroup.from_name("C3").operators)
    one, two = random_sums(5), random_sums(5)
    one.symmetrise(operators)
    two.symmetrise(operators[1:])
    np.testing.assert_array_equal(one.data, two.data)
    broken = np.stack([np.diag([1.0, -1, -1]), operators[1]])
    with pytest.raises(ValueError, match="group"):
        random_sums(5).symmetrise(broken)


def test_voxels_beyond_the_radius_are_kept() -> None:
    sums = random_sums(6)
    before = sums.copy()
    sums.symmetrise(PointGroup.from_name("D3").operators)
    k = np.arange(-13, 14)
    outside = k[:, None, None] ** 2 + k[:, None] ** 2 + np.arange(14) ** 2 > 144
    np.testing.assert_array_equal(sums.data[outside], before.data[outside])
    assert np.abs(sums.data - before.data)[~outside].min() > 0


def test_single_precision_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(symmetrise, "_CHUNK_POINTS", 500)
    double = random_sums(6)
    single = BackprojectionSums(
        double.data.astype(np.complex64), double.weight.astype(np.float32), 2.0, 6, 12
    )
    for sums in (double, single):
        sums.symmetrise(PointGroup.from_name("D3").operators)
    assert single.data.dtype == np.complex64
    assert single.weight.dtype == np.float32
    np.testing.assert_allclose(single.data, double.data, atol=1e-4)


@pytest.mark.parametrize(("name", "tolerance"), [("D2", 1e-9), ("C3", 0.2), ("T", 0.3)])
def test_symmetrising_equals_inserting_every_copy(name: str, tolerance: float) -> None:
    # specification M 10.1 item 3
    operators = np.asarray(PointGroup.from_name(name).operators)
    rng = np.random.default_rng(3)
    size, n = 16, 150
    matrices = uniform_matrices(n)
    shape = (n, size, size // 2 + 1)
    image = rng.normal(size=shape) + 1j * rng.normal(size=shape)
    weight = np.broadcast_to(np.exp(-np.arange(size // 2 + 1) / 8.0), shape)
    once = BackprojectionSums.zeros(1.85, size // 2, size)
    backproject(once, image * weight, weight, matrices)
    copies = BackprojectionSums.zeros(1.85, size // 2, size)
    for operator in operators:
        backproject(copies, image * weight, weight, matrices @ operator)
    alone = once.copy()
    for sums in (once, copies):
        sums.hermitian_repair()
    once.symmetrise(operators)
    edge = once.padded_radius + 1
    k = np.arange(-edge, edge + 1)
    squared = k[:, None, None] ** 2 + k[:, None] ** 2 + np.arange(edge + 1) ** 2
    inner = (squared < (once.padded_radius - 1) ** 2) & (squared > 4)
    difference = np.abs(once.weight - copies.weight)[inner].mean()
    assert difference < tolerance * copies.weight[inner].mean()
    alone.hermitian_repair()
    growth = once.weight[inner].sum() / alone.weight[inner].sum()
    assert growth == pytest.approx(len(operators), rel=0.03)
