"""project_grid and project_grid_vector: slices for a run of grid orientations, in panels."""

from __future__ import annotations

import numpy as np
import pytest

from clrelion.device.session import DeviceSession
from tests import tolerances
from tests.kernels.launch import rounded
from tests.kernels.scoring_kernels import packed_slices, slices
from tests.kernels.slice_inputs import pixel_list, random_grid, random_reference
from tests.reference.project_grid import into_panels, project_grid


@pytest.fixture(params=["project_grid", "project_grid_vector"])
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize(
    ("size", "panel", "first", "n_orientations", "group"),
    [
        (30, 8, 0, 42, (1, 1)),  # the whole grid
        (44, 32, 5, 35, (16, 2)),  # crosses psi, direction and class
        (14, 8, 17, 8, (64, 1)),  # exactly one panel
        (14, 128, 41, 1, (128, 1)),  # one orientation, the last
    ],
)
def test_random_grid(
    any_session: DeviceSession,
    name: str,
    size: int,
    panel: int,
    first: int,
    n_orientations: int,
    group: tuple[int, int],
) -> None:
    rng = np.random.default_rng(first)
    pixels = pixel_list(size)
    reference = rounded(any_session, random_reference(rng, 2, pixels.centre))
    grid = random_grid(rng, 7, 3)
    n_padded, n_projected = pixels.n + 11, pixels.n - 3
    projections, powers = packed_slices(
        any_session, reference, grid, first, n_orientations, pixels, n_padded, n_projected,
        panel, group, name,
    )  # fmt: skip
    values = np.zeros((n_orientations, n_padded), dtype=complex)
    values[:, :n_projected] = project_grid(
        reference, grid.matrices, first, n_orientations, pixels.xy[:n_projected]
    )
    expected = into_panels(values, panel)
    tolerance = tolerances.of_interpolation(any_session.real, pixels.centre)
    tolerances.assert_close(projections[:, 0] + 1j * projections[:, 1], expected, tolerance)
    tolerances.assert_close(powers, np.abs(expected) ** 2, 2 * tolerance)


def test_same_slices_as_project_rows(any_session: DeviceSession, name: str) -> None:
    rng = np.random.default_rng(7)
    pixels = pixel_list(18)
    reference = random_reference(rng, 1, pixels.centre)
    grid = random_grid(rng, 3, 5)
    projections, powers = packed_slices(
        any_session, reference, grid, 0, 15, pixels, pixels.n, pixels.n, 8, name=name
    )
    direction, psi = np.divmod(np.arange(15), 5)
    rows = slices(any_session, reference, grid, np.zeros(15), direction, psi, pixels, pixels.n)
    packed = projections.transpose(0, 3, 1, 2).reshape(16, 2, -1)[:15]
    tolerance = tolerances.of_interpolation(any_session.real, pixels.centre)
    tolerances.assert_close(packed[:, 0] + 1j * packed[:, 1], rows, tolerance)
    unpacked_powers = powers.transpose(0, 2, 1).reshape(16, -1)[:15]
    tolerances.assert_close(unpacked_powers.sum(), (np.abs(rows) ** 2).sum(), tolerance)


@pytest.mark.parametrize("tile_planes", [2, 11, 1000])
def test_tiles_give_the_same_panels(
    any_session: DeviceSession, name: str, tile_planes: int
) -> None:
    rng = np.random.default_rng(9)
    pixels = pixel_list(14)
    reference = random_reference(rng, 2, pixels.centre)
    grid = random_grid(rng, 4, 3)
    given = (any_session, reference, grid, 3, 19, pixels, pixels.n, pixels.n - 2, 8)
    whole = packed_slices(*given, name=name)
    tiled = packed_slices(*given, name=name, tile_planes=tile_planes)
    for one, two in zip(tiled, whole, strict=True):
        np.testing.assert_array_equal(one, two)
