"""Local priors against a double loop over particles and directions."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clrelion.errors import OptionsError
from clrelion.orientations import priors as priors_module
from clrelion.orientations.euler import direction_vector, euler_angles, euler_matrix
from clrelion.orientations.priors import LocalPriors, gaussian_weight, local_priors
from clrelion.orientations.sampling import OrientationGrid
from clrelion.orientations.symmetry import PointGroup

Kept = dict[int, float]


def normalised(angles: list[float], sigma: float) -> Kept:
    """Kept indices and weights of one list of candidates."""
    weights = {
        i: float(np.exp(-(theta**2) / (2 * sigma**2)) / (sigma * np.sqrt(2 * np.pi)))
        for i, theta in enumerate(angles)
        if theta < 3 * sigma
    }
    if not weights:
        return {int(np.argmin(angles)): 1.0}
    total = sum(weights.values())
    return {i: weight / total for i, weight in weights.items()}


def closest_mate(grid: OrientationGrid, group: PointGroup, d0: object, i: int) -> tuple[float, int]:
    """Angle of direction i to the closest mate of d0, and the operator."""
    vector = grid.direction_vectors[i]
    angles = [
        float(np.rad2deg(np.arccos(np.clip((R.T @ np.asarray(d0)) @ vector, -1, 1))))
        for R in group.operators
    ]
    best = int(np.argmin(np.round(angles, 7)))
    return angles[best], best


def loop_directions(
    grid: OrientationGrid, group: PointGroup, rot: float, tilt: float, sigmas: tuple[float, float]
) -> Kept:
    if sigmas[0] > 0 and sigmas[1] > 0:
        d0 = direction_vector(rot, tilt)
        angles = [closest_mate(grid, group, d0, i)[0] for i in range(grid.n_dir)]
        return normalised(angles, max(sigmas))
    if sigmas[0] <= 0 and sigmas[1] <= 0:
        return dict.fromkeys(range(grid.n_dir), 1.0 / grid.n_dir)
    angles = []
    for vector in grid.direction_vectors:
        mates = [R.T @ vector for R in group.operators]
        if sigmas[0] > 0:
            c, s = np.cos(np.deg2rad(rot)), np.sin(np.deg2rad(rot))
            angles.append(min(abs(np.rad2deg(np.arcsin(-s * m[0] + c * m[1]))) for m in mates))
        else:
            angles.append(
                min(abs(np.rad2deg(np.arccos(np.clip(m[2], -1, 1))) - tilt) for m in mates)
            )
    return normalised([float(angle) for angle in angles], max(sigmas))


def loop_psis(grid: OrientationGrid, psi: float, sigma: float) -> Kept:
    if sigma <= 0:
        return dict.fromkeys(range(grid.n_psi), 1.0 / grid.n_psi)
    angles = []
    for value in grid.psi_deg:
        theta = abs(float(value) - psi) % 360
        angles.append(min(theta, 360 - theta))
    return normalised(angles, sigma)


def part(index: object, prior: object, offsets: object, owner: int) -> Kept:
    start, stop = np.asarray(offsets)[owner : owner + 2]
    indices = np.asarray(index)[start:stop].tolist()
    assert indices == sorted(set(indices))
    return dict(zip(indices, np.asarray(prior)[start:stop].tolist(), strict=True))


def directions_of(priors: LocalPriors, particle: int) -> Kept:
    return part(priors.dir_index, priors.dir_prior, priors.dir_offsets, particle)


def psis_of(priors: LocalPriors, block: int) -> Kept:
    return part(priors.psi_index, priors.psi_prior, priors.psi_offsets, block)


def check_equal(got: Kept, expected: Kept, rel: float = 1e-6) -> None:
    assert got.keys() == expected.keys()
    for index, weight in expected.items():
        assert got[index] == pytest.approx(weight, rel=rel)


def random_poses(
    n: int, seed: int
) -> tuple[np.ndarray[tuple[int, ...], np.dtype[np.float64]], ...]:
    rng = np.random.default_rng(seed)
    return rng.uniform(-180, 180, n), rng.uniform(0, 180, n), rng.uniform(-180, 360, n)


@pytest.mark.parametrize("name", ["C1", "C4", "D2", "T", "O", "I3"])
@pytest.mark.parametrize(
    "sigmas",
    [
        (8.0, 5.0, 6.0),
        (5.0, 8.0, 6.0),
        (20.0, 20.0, 0.0),
        (9.0, 0.0, 9.0),
        (-1.0, 9.0, 9.0),
        (0.0, 0.0, 9.0),
    ],
)
def test_against_a_double_loop(name: str, sigmas: tuple[float, float, float]) -> None:
    group = PointGroup.from_name(name)
    grid = OrientationGrid.create(3, None, group)
    rot, tilt, psi = random_poses(12, seed=3)
    priors = local_priors(grid, group, rot, tilt, psi, *sigmas)
    assert len(priors.dir_offsets) == len(priors.psi_offsets) == 13
    assert priors.dir_offsets[-1] == len(priors.dir_index) == len(priors.psi_block)
    assert priors.psi_offsets[-1] == len(priors.psi_index)
    for p in range(12):
        expected = loop_directions(grid, group, rot[p], tilt[p], sigmas[:2])
        check_equal(directions_of(priors, p), expected)
        check_equal(psis_of(priors, p), loop_psis(grid, psi[p], sigmas[2]))
        owned = slice(priors.dir_offsets[p], priors.dir_offsets[p + 1])
        assert set(priors.psi_block[owned]) == {p}


@settings(max_examples=15, deadline=None)
@given(
    rot=st.floats(-180, 180),
    tilt=st.floats(0, 180),
    psi=st.floats(-200, 400),
    sigma=st.floats(0.5, 100),
    name=st.sampled_from(["C1", "C3", "D3", "T", "I1"]),
)
def test_any_pose(rot: float, tilt: float, psi: float, sigma: float, name: str) -> None:
    group = PointGroup.from_name(name)
    grid = OrientationGrid.create(2, None, group)
    priors = local_priors(grid, group, rot, tilt, psi, sigma, sigma, sigma)
    for kept in (directions_of(priors, 0), psis_of(priors, 0)):
        assert kept
        assert sum(kept.values()) == pytest.approx(1.0)
    expected = loop_directions(grid, group, rot, tilt, (sigma, sigma))
    got = directions_of(priors, 0)
    d0 = direction_vector(rot, tilt)
    nearest = min(closest_mate(grid, group, d0, i)[0] for i in range(grid.n_dir))
    for index in got.keys() ^ expected.keys():
        # Only what lies on the limit may differ, or one of two that are equally near.
        limit = max(3 * sigma, nearest)
        assert closest_mate(grid, group, d0, index)[0] == pytest.approx(limit, abs=1e-5)


def test_weights_of_the_specification() -> None:
    assert gaussian_weight([0.0, 3.75, 11.2], 3.75) == pytest.approx(
        [0.106385, 0.0645255, 0.00122995], rel=5e-6
    )
    # Strictly closer than 3 sigma: of psi angles 3.75 apart, five are kept.
    grid = OrientationGrid.create(4, None, PointGroup.from_name("C1"))
    priors = local_priors(grid, PointGroup.from_name("C1"), 0.0, 90.0, 3.75, 3.75, 3.75, 3.75)
    assert priors.psi_index.tolist() == [0, 1, 2, 3, 95]


def test_nearest_if_none_is_close() -> None:
    group = PointGroup.from_name("D2")
    grid = OrientationGrid.create(2, None, group)
    rot, tilt, psi = random_poses(30, seed=9)
    priors = local_priors(grid, group, rot, tilt, psi, 1e-3, 1e-3, 1e-3)
    assert np.array_equal(priors.dir_prior, np.ones(30))
    assert np.array_equal(priors.psi_prior, np.ones(30))
    for p in range(30):
        d0 = direction_vector(rot[p], tilt[p])
        angles = [closest_mate(grid, group, d0, i)[0] for i in range(grid.n_dir)]
        assert int(np.argmin(angles)) == priors.dir_index[p]
        theta = np.abs(grid.psi_deg - psi[p]) % 360
        assert int(np.argmin(np.minimum(theta, 360 - theta))) == priors.psi_index[p]
    # A width so small that a Gaussian would underflow.
    priors = local_priors(grid, group, rot, tilt, psi, 1e-9, 0.0, 1e-9)
    assert np.array_equal(priors.dir_prior, np.ones(30))


def test_prior_equal_to_a_direction_is_kept() -> None:
    """RELION can lose it to the arc cosine of a number above 1 (E Q25)."""
    group = PointGroup.from_name("D2")
    grid = OrientationGrid.create(3, None, group)
    rot, tilt = grid.rot_deg, grid.tilt_deg
    priors = local_priors(grid, group, rot, tilt, np.zeros(len(rot)), 5.0, 5.0, 5.0)
    for p in range(grid.n_dir):
        kept = directions_of(priors, p)
        assert kept[p] == max(kept.values())


@pytest.mark.parametrize("name", ["C1", "C4", "D2", "O"])
def test_moving_psi_windows(name: str) -> None:
    group = PointGroup.from_name(name)
    grid = OrientationGrid.create(3, None, group)
    rot, tilt, psi = random_poses(25, seed=4)
    fixed = local_priors(grid, group, rot, tilt, psi, 8.0, 8.0, 8.0)
    moving = local_priors(grid, group, rot, tilt, psi, 8.0, 8.0, 8.0, relion_psi_quirk=False)
    assert np.array_equal(fixed.dir_index, moving.dir_index)
    assert np.array_equal(fixed.dir_prior, moving.dir_prior)
    assert np.array_equal(fixed.dir_offsets, moving.dir_offsets)
    for p in range(25):
        for entry in range(moving.dir_offsets[p], moving.dir_offsets[p + 1]):
            d0 = direction_vector(rot[p], tilt[p])
            mate = closest_mate(grid, group, d0, int(moving.dir_index[entry]))[1]
            matrix = euler_matrix(rot[p], tilt[p], psi[p]) @ group.operators[mate]
            expected = loop_psis(grid, float(euler_angles(matrix)[2]), 8.0)
            check_equal(psis_of(moving, int(moving.psi_block[entry])), expected)
    if name == "C1":
        assert np.array_equal(fixed.psi_index, moving.psi_index)


def test_every_searched_orientation_is_near_the_prior_when_windows_move() -> None:
    """What the fix is for: near the seams of D2 RELION's windows miss the true orientation."""
    group = PointGroup.from_name("D2")
    grid = OrientationGrid.create(3, None, group)
    rot, tilt, psi = random_poses(60, seed=6)
    tilt = 40 + 0.5 * tilt  # away from the pole, where psi means little by itself

    def closest(quirk: bool) -> float:
        priors = local_priors(grid, group, rot, tilt, psi, 8.0, 8.0, 8.0, relion_psi_quirk=quirk)
        worst = 0.0
        for p in range(60):
            mates = euler_matrix(rot[p], tilt[p], psi[p]) @ group.operators
            best = 180.0
            for entry in range(priors.dir_offsets[p], priors.dir_offsets[p + 1]):
                d = priors.dir_index[entry]
                block = int(priors.psi_block[entry])
                psis = grid.psi_deg[list(psis_of(priors, block))]
                searched = euler_matrix(grid.rot_deg[d], grid.tilt_deg[d], psis)
                traces = np.einsum("pij,rij->pr", searched, mates)
                best = min(
                    best, float(np.rad2deg(np.arccos(np.clip((traces.max() - 1) / 2, -1, 1))))
                )
            worst = max(worst, best)
        return worst

    assert closest(quirk=False) < 9.0
    assert closest(quirk=True) > 30.0


@pytest.mark.parametrize("sigmas", [(8.0, 8.0, 8.0), (9.0, 0.0, 9.0), (0.0, 0.0, 9.0)])
def test_chunks_do_not_show(
    monkeypatch: pytest.MonkeyPatch, sigmas: tuple[float, float, float]
) -> None:
    group = PointGroup.from_name("D2")
    grid = OrientationGrid.create(2, None, group)
    rot, tilt, psi = random_poses(23, seed=2)
    whole = local_priors(grid, group, rot, tilt, psi, *sigmas)
    monkeypatch.setattr(priors_module, "_CHUNK_ELEMENTS", 100)
    chunked = local_priors(grid, group, rot, tilt, psi, *sigmas)
    for name in vars(whole):
        np.testing.assert_array_equal(getattr(whole, name), getattr(chunked, name))


def test_empty_and_invalid_input() -> None:
    group = PointGroup.from_name("C1")
    grid = OrientationGrid.create(2, None, group)
    for sigmas in ((5.0, 5.0, 5.0), (5.0, 0.0, 0.0), (0.0, 0.0, 0.0)):
        priors = local_priors(grid, group, [], [], [], *sigmas)
        assert priors.dir_offsets.tolist() == priors.psi_offsets.tolist() == [0]
        assert len(priors.dir_index) == len(priors.psi_index) == 0
    with pytest.raises(OptionsError, match="particle 1"):
        local_priors(grid, group, [0.0, np.nan], [0.0, 0.0], [0.0, 0.0], 5.0, 5.0, 5.0)


def test_speed() -> None:
    group = PointGroup.from_name("C1")
    grid = OrientationGrid.create(6, None, group)
    rot, tilt, psi = random_poses(10_000, seed=8)
    start = time.perf_counter()
    priors = local_priors(grid, group, rot, tilt, psi, 0.9375, 0.9375, 0.9375)
    assert time.perf_counter() - start < 10.0
    assert 20 < len(priors.dir_index) / 10_000 < 40
