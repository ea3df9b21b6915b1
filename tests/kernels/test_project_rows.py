"""project_rows, project_rows_vector, project_rows_bricks: slices for a list of orientations."""

from __future__ import annotations

import numpy as np
import pytest

from clrelion.device.session import DeviceSession
from tests import tolerances
from tests.kernels.launch import rounded
from tests.kernels.scoring_kernels import slices
from tests.kernels.slice_inputs import Grid, pixel_list, random_grid, random_reference
from tests.reference.project_rows import project_rows


@pytest.fixture(params=["project_rows", "project_rows_vector", "project_rows_bricks"])
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize(
    ("size", "padding_factor", "n_rows", "group"),
    [(30, 2.0, 3, (1, 1)), (44, 64 / 44, 7, (16, 1)), (14, 3.0, 1, (64, 1)), (10, 1.0, 5, (4, 4))],
)
def test_random_slices(
    any_session: DeviceSession,
    name: str,
    size: int,
    padding_factor: float,
    n_rows: int,
    group: tuple[int, int],
) -> None:
    rng = np.random.default_rng(size)
    pixels = pixel_list(size, padding_factor)
    n_classes, n_directions, n_psi = 2, 5, 4
    reference = rounded(any_session, random_reference(rng, n_classes, pixels.centre))
    grid = random_grid(rng, n_directions, n_psi)
    row_class = rng.integers(0, n_classes, n_rows)
    row_frame = rng.integers(0, n_directions, n_rows)
    row_psi = rng.integers(0, n_psi, n_rows)
    n_padded, n_projected = pixels.n + 13, pixels.n - 5
    result = slices(
        any_session, reference, grid, row_class, row_frame, row_psi, pixels, n_padded,
        n_projected, group, name,
    )  # fmt: skip
    matrices = grid.matrices[row_frame, row_psi]
    expected = project_rows(reference, row_class, matrices, pixels.xy)
    tolerance = tolerances.of_interpolation(any_session.real, pixels.centre)
    tolerances.assert_close(result[:, :n_projected], expected[:, :n_projected], tolerance)


@pytest.mark.parametrize("name", ["project_rows", "project_rows_vector"])
@pytest.mark.parametrize("tile_planes", [2, 9, 40, 1000])
def test_tiles_give_the_same_slices(
    any_session: DeviceSession, name: str, tile_planes: int
) -> None:
    """To the bit, wherever the tiles end: within a class or beyond it."""
    rng = np.random.default_rng(8)
    pixels = pixel_list(14)
    reference = random_reference(rng, 3, pixels.centre)
    grid = random_grid(rng, 5, 3)
    rows = rng.integers(0, 3, 7), rng.integers(0, 5, 7), rng.integers(0, 3, 7)
    whole = slices(any_session, reference, grid, *rows, pixels, pixels.n, name=name)
    tiled = slices(
        any_session, reference, grid, *rows, pixels, pixels.n, name=name, tile_planes=tile_planes
    )
    np.testing.assert_array_equal(tiled, whole)
    assert np.abs(whole).min() > 0


@pytest.mark.parametrize("rows", [1, 3, 16])
@pytest.mark.parametrize("brick", [(2, 4, 4), (4, 2, 1), (1, 1, 8)])
@pytest.mark.parametrize(
    ("size", "padding_factor", "n_rows"), [(14, 2.0, 19), (26, 45 / 26, 8), (10, 1.0, 5)]
)
def test_bricks_give_the_same_slices(
    any_session: DeviceSession,
    size: int,
    padding_factor: float,
    n_rows: int,
    brick: tuple[int, int, int],
    rows: int,
) -> None:
    """To the bit; beyond the largest radius the voxels are zeros, as in references."""
    rng = np.random.default_rng(size)
    pixels = pixel_list(size, padding_factor)
    reference = random_reference(rng, 3, pixels.centre)
    z, y, x = np.indices(reference.shape[1:])
    squared = x**2 + (y - pixels.centre) ** 2 + (z - pixels.centre) ** 2
    reference[:, squared > (pixels.centre - 1) ** 2] = 0
    grid = random_grid(rng, 5, 3)
    classes, frames, psis = (rng.integers(0, n, n_rows) for n in (3, 5, 3))
    whole, bricks = (
        slices(
            any_session, reference, grid, classes, frames, psis, pixels, pixels.n + 5,
            pixels.n - 3, (8, 1), name, brick=brick, rows=rows,
        )
        for name in ("project_rows", "project_rows_bricks")
    )  # fmt: skip
    np.testing.assert_array_equal(bricks, whole)
    assert np.abs(whole[:, : pixels.n // 2]).min() > 0


def test_linear_volume_in_closed_form(any_session: DeviceSession, name: str) -> None:
    """Trilinear interpolation is exact for V(q) = 2 + i a.q, whatever the orientation."""
    rng = np.random.default_rng(1)
    pixels = pixel_list(12)
    centre = pixels.centre
    z, y, x = np.mgrid[-centre : centre + 1, -centre : centre + 1, 0 : centre + 1]
    a = np.array([0.5, -0.25, 0.125])
    reference = (2 + 1j * (a[0] * x + a[1] * y + a[2] * z))[None]
    grid = random_grid(rng, 6, 1)
    n = len(grid.rot_deg)
    result = slices(
        any_session,
        reference,
        grid,
        np.zeros(n),
        np.arange(n),
        np.zeros(n),
        pixels,
        pixels.n,
        name=name,
    )
    points = np.einsum("px,nxc->npc", pixels.xy, grid.matrices[:, 0, :2])  # A^T (x, y, 0)
    tolerance = tolerances.of_interpolation(any_session.real, centre)
    tolerances.assert_close(result, 2 + 1j * (points @ a), tolerance)


@pytest.mark.parametrize(
    ("angles", "pixel", "voxel", "mirrored"),
    [
        # the voxel (x, y, z) of the reference that an image pixel (kx, ky) meets, by hand
        ((0, 0, 0), (3, 2), (3, 2, 0), False),
        ((0, 0, 0), (3, -2), (3, -2, 0), False),
        ((0, 0, 90), (3, -2), (2, 3, 0), False),  # image x is reference y, image y is -x
        ((0, 0, 90), (3, 2), (2, -3, 0), True),
        ((0, 90, 0), (3, 2), (0, 2, -3), False),  # image x is -z, image y is y
        ((90, 90, 0), (3, -2), (2, 0, -3), False),  # image x is -z, image y is -x
        ((90, 90, 0), (3, 2), (2, 0, 3), True),
    ],
)
def test_single_voxel(
    any_session: DeviceSession,
    name: str,
    angles: tuple[float, float, float],
    pixel: tuple[int, int],
    voxel: tuple[int, int, int],
    mirrored: bool,
) -> None:
    pixels = pixel_list(12, 1.0)
    centre = pixels.centre
    edge = 2 * centre + 1
    value = 1.5 - 0.5j
    reference = np.zeros((1, edge, edge, centre + 1), dtype=complex)
    x, y, z = voxel
    reference[0, z + centre, y + centre, x] = value
    if x == 0:
        reference[0, centre - z, centre - y, 0] = np.conj(value)
    rot, tilt, psi = (np.array([float(a)]) for a in angles)
    zero = np.zeros(1)
    grid = Grid(rot, tilt, psi, np.eye(3))
    result = slices(any_session, reference, grid, zero, zero, zero, pixels, pixels.n, name=name)[0]
    place = np.flatnonzero((pixels.kx == pixel[0]) & (pixels.ky == pixel[1]))[0]
    expected = np.conj(value) if mirrored else value
    np.testing.assert_allclose(result[place], expected, atol=2e-5)
    assert abs(result).sum() < abs(value) * (1 + 1e-4)


def test_half_a_turn_in_the_plane_conjugates(any_session: DeviceSession, name: str) -> None:
    rng = np.random.default_rng(2)
    pixels = pixel_list(16)
    reference = random_reference(rng, 1, pixels.centre)
    grid = random_grid(rng, 3, 1)
    turned = Grid(grid.rot_deg, grid.tilt_deg, grid.psi_deg + 180, grid.perturbation)
    rows = (np.zeros(3), np.arange(3), np.zeros(3))
    there = slices(any_session, reference, grid, *rows, pixels, pixels.n, name=name)
    back = slices(any_session, reference, turned, *rows, pixels, pixels.n, name=name)
    tolerance = tolerances.of_interpolation(any_session.real, pixels.centre)
    tolerances.assert_close(back, np.conj(there), tolerance)


def test_zero_reference(any_session: DeviceSession, name: str) -> None:
    pixels = pixel_list(10)
    reference = np.zeros((1, 2 * pixels.centre + 1, 2 * pixels.centre + 1, pixels.centre + 1))
    grid = random_grid(np.random.default_rng(3), 1, 1)
    zero = np.zeros(1)
    result = slices(
        any_session, reference.astype(complex), grid, zero, zero, zero, pixels, pixels.n, name=name
    )
    assert np.all(result == 0)
