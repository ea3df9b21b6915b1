"""Grids of directions, psi angles and translations; perturbation."""

from __future__ import annotations

from pathlib import Path

import healpix
import numpy as np
import pytest
import starfile

from clrelion.errors import OptionsError
from clrelion.orientations import healpix_grid, sampling
from clrelion.orientations.euler import direction_vector, euler_matrix
from clrelion.orientations.sampling import (
    OrientationGrid,
    TranslationGrid,
    advance_perturbation,
    angular_step_deg,
    perturb_orientations,
    perturbation_matrix,
)
from clrelion.orientations.symmetry import PointGroup
from clrelion.particles.random_numbers import c_library_random

C1 = PointGroup.from_name("C1")


def sampling_files(shared: Path) -> list[Path]:
    data = shared / "data"
    return sorted(data.glob("*/relion5/*_sampling.star")) + sorted(
        data.glob("steps/*/*/*_sampling.star")
    )


def test_direction_lists_of_relion(shared: Path) -> None:
    """Same directions in the same order, in every sampling file of the shared data."""
    seen = set()
    for path in sampling_files(shared):
        blocks = starfile.read(path, always_dict=True)
        general, table = blocks["sampling_general"], blocks["sampling_directions"]
        order, name = int(general["rlnHealpixOrder"]), str(general["rlnSymmetryGroup"])
        if (order, name) in seen:
            continue
        seen.add((order, name))
        grid = OrientationGrid.create(
            order, float(general["rlnPsiStep"]), PointGroup.from_name(name)
        )
        assert grid.n_dir == len(table), path
        # Negative numbers have five decimals in the file.
        np.testing.assert_allclose(grid.rot_deg, table["rlnAngleRot"], atol=6e-6)
        np.testing.assert_allclose(grid.tilt_deg, table["rlnAngleTilt"], atol=6e-7)
        assert grid.psi_step_deg == pytest.approx(float(general["rlnPsiStep"]))
        assert grid.n_psi == 6 * 2**order
    expected = {(order, name) for name in ("C1", "C4") for order in range(2, 7)}
    expected |= {(order, "D2") for order in range(1, 5)}
    assert seen >= expected


def test_pixels_of_the_specification() -> None:
    rot, tilt = healpix_grid.directions(0)
    assert rot[[0, 4, 8]] == pytest.approx([45.0, 0.0, 45.0])
    assert tilt[[0, 4, 8]] == pytest.approx([48.18969, 90.0, 131.81031], abs=5e-6)
    radii = [healpix_grid.maximum_pixel_radius_deg(order) for order in range(6)]
    # Written to two decimals for the first three orders, three after.
    assert radii[:3] == pytest.approx([48.19, 27.59, 14.57], abs=0.005)
    assert radii[3:] == pytest.approx([7.473, 3.782, 1.903], abs=0.0005)
    steps = [angular_step_deg(order) for order in range(7)]
    assert steps == [60.0, 30.0, 15.0, 7.5, 3.75, 1.875, 0.9375]
    with pytest.raises(OptionsError, match="--healpix_order"):
        healpix_grid.directions(-1)
    with pytest.raises(OptionsError, match="--oversampling"):
        healpix_grid.children(28, [0], 2)


@pytest.mark.parametrize("order", [0, 1, 3, 6])
def test_pixel_centres_are_those_of_healpix(order: int) -> None:
    pixels = np.arange(healpix_grid.pixel_count(order))
    vectors = np.stack(healpix.pix2vec(2**order, pixels, nest=True), axis=-1)
    rot, tilt = healpix_grid.directions(order)
    np.testing.assert_allclose(direction_vector(rot, tilt), vectors, atol=1e-14)
    assert rot.min() >= -180
    assert rot.max() <= 180
    # The rings next to the poles at an order nobody can list.
    far = np.array([0, 4**13 - 1, 9 * 4**13, 4**13 * 8, 5 * 4**13 + 12345])
    vectors = np.stack(healpix.pix2vec(2**13, far, nest=True), axis=-1)
    got = direction_vector(*healpix_grid.pixel_angles(13, far))
    np.testing.assert_allclose(got, vectors, atol=1e-12)


def face_coordinates(pixel: int, order: int) -> tuple[int, int, int]:
    """Face, x and y of a nested pixel, by its definition: even bits x, odd bits y."""
    face, within = divmod(pixel, 4**order)
    x = sum(((within >> (2 * bit)) & 1) << bit for bit in range(order))
    y = sum(((within >> (2 * bit + 1)) & 1) << bit for bit in range(order))
    return face, x, y


@pytest.mark.parametrize("oversampling", [0, 1, 2, 3])
def test_children_have_y_outside_and_x_inside(oversampling: int) -> None:
    order, fold = 2, 2**oversampling
    pixels = [0, 7, 100, 191]
    children = healpix_grid.children(order, pixels, oversampling)
    assert children.shape == (4, 4**oversampling)
    for parent, got in zip(pixels, children.tolist(), strict=True):
        face, x, y = face_coordinates(parent, order)
        expected = [
            (face, xx, yy)
            for yy in range(fold * y, fold * (y + 1))
            for xx in range(fold * x, fold * (x + 1))
        ]
        assert [face_coordinates(child, order + oversampling) for child in got] == expected
    everything = healpix_grid.children(order, np.arange(192), oversampling).ravel()
    assert np.array_equal(
        np.sort(everything), np.arange(healpix_grid.pixel_count(order + oversampling))
    )


def test_orientation_counts_of_the_specification() -> None:
    grid = OrientationGrid.create(2, None, C1, oversampling=1)
    assert (grid.n_dir, grid.n_psi, grid.n_dir * grid.n_psi) == (192, 24, 4608)
    assert grid.n_child_dir * grid.n_child_psi == 8
    assert grid.angular_step_deg(1) == 7.5
    finer = OrientationGrid.create(3, -1.0, C1)
    assert (finer.n_dir, finer.n_psi, finer.n_dir * finer.n_psi) == (768, 48, 36864)


@pytest.mark.parametrize("oversampling", [0, 1, 2])
def test_children_of_the_grid(oversampling: int, monkeypatch: pytest.MonkeyPatch) -> None:
    grid = OrientationGrid.create(2, None, PointGroup.from_name("D2"), oversampling=oversampling)
    shape = 48, 4**oversampling
    rot, tilt = (a.reshape(shape) for a in grid.angles_of_children(np.arange(shape[0] * shape[1])))
    psi = grid.child_psis()
    assert psi.shape == (24, 2**oversampling)
    if oversampling == 0:
        np.testing.assert_array_equal(rot[:, 0], grid.rot_deg)
        np.testing.assert_array_equal(tilt[:, 0], grid.tilt_deg)
        np.testing.assert_array_equal(psi[:, 0], grid.psi_deg)
    if oversampling == 1:
        np.testing.assert_allclose(psi[3], [45 - 3.75, 45 + 3.75])
    if oversampling == 2:
        np.testing.assert_allclose(psi[0], [-5.625, -1.875, 1.875, 5.625])
    parents = direction_vector(grid.rot_deg, grid.tilt_deg)[:, None]
    cosine = np.sum(direction_vector(rot, tilt) * parents, axis=-1).clip(-1, 1)
    assert np.rad2deg(np.arccos(cosine)).max() < healpix_grid.maximum_pixel_radius_deg(2)
    some = grid.angles_of_children(np.array([shape[1] * 7, 3]))
    np.testing.assert_array_equal(some, [[a[7, 0], a.ravel()[3]] for a in (rot, tilt)])
    # the same bits where there are too many for a table
    monkeypatch.setattr(sampling, "_MOST_TABLED", 47)
    children = np.arange(rot.size)
    np.testing.assert_array_equal(
        grid.angles_of_children(children), [rot.ravel(), tilt.ravel()]
    )


def test_psi_step_divides_the_circle() -> None:
    grid = OrientationGrid.create(1, 7.0, C1)
    assert grid.n_psi == 52
    assert grid.psi_step_deg == pytest.approx(360 / 52)
    np.testing.assert_allclose(np.diff(grid.psi_deg), 360 / 52)
    assert grid.psi_deg[0] == 0


def test_limited_tilt() -> None:
    side = OrientationGrid.create(3, None, C1, limit_tilt_deg=70.0)
    top = OrientationGrid.create(3, None, C1, limit_tilt_deg=-30.0)
    everything = OrientationGrid.create(3, None, C1, limit_tilt_deg=-91.0)
    from_pole = np.minimum(everything.tilt_deg, 180 - everything.tilt_deg)
    assert np.array_equal(side.pixels, np.flatnonzero(from_pole >= 70))
    assert np.array_equal(top.pixels, np.flatnonzero(from_pole <= 30))
    assert everything.n_dir == OrientationGrid.create(3, None, C1, limit_tilt_deg=90.0).n_dir == 768


@pytest.mark.parametrize(("name", "order"), [("I2", 0), ("I2", 1), ("I3", 1)])
def test_no_direction_left(name: str, order: int) -> None:
    with pytest.raises(OptionsError, match=f"--healpix_order {order} leaves no direction"):
        OrientationGrid.create(order, None, PointGroup.from_name(name))


def test_octahedral_group_keeps_a_direction_at_order_1() -> None:
    """As RELION 3.1.3 wrote it; the specification (E 4.4) says there is none."""
    grid = OrientationGrid.create(1, None, PointGroup.from_name("O"))
    assert grid.rot_deg == pytest.approx([45.0])
    assert grid.tilt_deg == pytest.approx([23.556464], abs=1e-6)


def test_negative_oversampling() -> None:
    with pytest.raises(OptionsError, match="--oversampling"):
        OrientationGrid.create(1, None, C1, oversampling=-1)


@pytest.mark.parametrize(
    ("range_px", "step_px", "count"), [(5, 2, 21), (6, 2, 29), (3, 1, 29), (4, 2, 13), (10, 2, 81)]
)
@pytest.mark.parametrize("pixel_size", [1.0, 1.2156, 3.415102])
def test_translation_counts(range_px: int, step_px: int, count: int, pixel_size: float) -> None:
    grid = TranslationGrid.create(range_px * pixel_size, step_px * pixel_size)
    assert grid.n_trans == count


def test_translations_and_children() -> None:
    grid = TranslationGrid.create(4.0, 2.0, oversampling=1)
    expected = [
        (2.0 * x, 2.0 * y)
        for x in range(-2, 3)
        for y in range(-2, 3)
        if 4 * (x * x + y * y) < 16.001
    ]
    assert grid.coarse.tolist() == [list(pair) for pair in expected]
    children = grid.children()
    assert children.shape == (13, 4, 2)
    x, y = grid.coarse[4]
    assert children[4].tolist() == [
        [x - 0.5, y - 0.5],
        [x - 0.5, y + 0.5],
        [x + 0.5, y - 0.5],
        [x + 0.5, y + 0.5],
    ]
    assert np.array_equal(TranslationGrid.create(4.0, 2.0).children()[:, 0], grid.coarse)
    finer = TranslationGrid.create(0.0, 2.0, oversampling=2)
    assert finer.coarse.tolist() == [[0.0, 0.0]]
    assert finer.children()[0, :5].tolist() == [
        [-0.75, -0.75],
        [-0.75, -0.25],
        [-0.75, 0.25],
        [-0.75, 0.75],
        [-0.25, -0.75],
    ]
    assert grid.perturbation_shift_angst(-0.25) == -0.5
    for range_angst, step in ((4.0, 0.0), (-1.0, 2.0), (4.0, float("nan"))):
        with pytest.raises(OptionsError, match="--offset_step"):
            TranslationGrid.create(range_angst, step)


def test_perturbation_walk() -> None:
    values = [0.0]
    for number in c_library_random(7, 3000).tolist():
        values.append(advance_perturbation(values[-1], 0.4, number))
    walk = np.array(values)
    assert np.abs(walk).max() <= 0.4
    advance = np.diff(walk) % 0.8
    assert advance.min() >= 0.2 - 1e-7  # float32
    assert advance.max() <= 0.4 + 1e-7
    assert np.histogram(walk, 4, (-0.4, 0.4))[0].min() > 600
    assert advance_perturbation(0.3, 0.0, 5) == 0.0
    for factor in (-0.1, 1.1):
        with pytest.raises(OptionsError, match="--perturb"):
            advance_perturbation(0.0, factor, 5)


@pytest.mark.parametrize(
    ("run", "n"), [("trpv1_96/relion5", 17), ("polii64/relion5", 13), ("betagal80/relion5", 11)]
)
def test_perturbations_are_relions(shared: Path, run: str, n: int) -> None:
    """E 4.5 and 2.7: a seed gives the perturbations that RELION drew with it."""
    recorded = [
        float(
            starfile.read(path, always_dict=True)["sampling_general"]["rlnSamplingPerturbInstance"]
        )
        for path in sorted((shared / "data" / run).glob("run_it*_sampling.star"))
    ]
    assert len(recorded) == n
    value, drawn = 0.0, []
    for seed in [1, *range(43, 42 + n)]:  # 42 + iteration; before the first: not seeded yet
        value = advance_perturbation(value, 0.5, int(c_library_random(seed, 1)[0]))
        drawn.append(value)
    # six digits are written, five of a negative number
    np.testing.assert_allclose(drawn, recorded, atol=5.1e-6)
    positive = np.array(recorded) > 0
    np.testing.assert_allclose(np.array(drawn)[positive], np.array(recorded)[positive], atol=5.1e-7)


def test_perturbed_angles_of_the_specification() -> None:
    got = perturb_orientations(30, 40, 50, 0.3, 15.0)
    assert [float(angle) for angle in got] == pytest.approx(
        [36.255958, 43.770192, 53.683265], abs=5e-7
    )
    np.testing.assert_array_equal(perturbation_matrix(0.3, 15.0), euler_matrix(4.5, 4.5, 4.5))
    unperturbed = perturb_orientations([30.0], [0.0], 350.0, 0.0, 15.0)
    assert [angle.tolist() for angle in unperturbed] == [[30.0], [0.0], [350.0]]
