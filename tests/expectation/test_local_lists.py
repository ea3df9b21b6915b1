"""Lists of local searches, as the device makes them, against search trees in NumPy."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clrelion.device.session import DeviceSession
from clrelion.errors import DeviceMemoryError
from clrelion.expectation import local_lists as module
from clrelion.expectation.device_space import DeviceSpace
from clrelion.expectation.local_lists import LocalLists
from clrelion.expectation.search_space import SearchSpace
from clrelion.expectation.settings import ExpectationSettings, LocalSearch
from clrelion.io.particle_table import ParticleTable
from clrelion.orientations.euler import angular_distance_deg, euler_matrix
from clrelion.orientations.sampling import OrientationGrid
from clrelion.orientations.symmetry import PointGroup
from tests.expectation.small_run import SmallRun, particle_table, small_run
from tests.expectation.test_search_space import IDS, assert_as_in_the_specification
from tests.reference.local_lists import sparse_search_space

AUTO = None
"""Widths of auto-refine: twice the fine step."""


@pytest.fixture(params=["double", "pair"])
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Numbers that decide about borders: those of devices with and without double precision."""
    chosen: str = request.param
    monkeypatch.setattr(module, "wide_kind", lambda _: chosen)
    return chosen


@cache
def whole_search() -> SmallRun:
    return small_run()


@cache
def grid_of(
    order: int, symmetry: str, limit_tilt_deg: float, psi_step_deg: float | None
) -> OrientationGrid:
    group = PointGroup.from_name(symmetry)
    return OrientationGrid.create(order, psi_step_deg, group, limit_tilt_deg, oversampling=1)


@dataclass
class Search:
    """Settings and particles of a local search."""

    settings: ExpectationSettings
    table: ParticleTable

    @classmethod
    def of(
        cls, n: int, order: int, symmetry: str, widths: tuple[float, ...] | None, **changes: Any
    ) -> Search:
        limit_tilt = changes.pop("limit_tilt_deg", -91.0)
        psi_step = changes.pop("psi_step_deg", None)
        run, group = whole_search(), PointGroup.from_name(symmetry)
        grid = grid_of(order, symmetry, limit_tilt, psi_step)
        rot, tilt, psi = (2.0 * grid.angular_step_deg(1),) * 3 if widths is None else widths
        table = particle_table([run.table.optics[0]], [0] * n, seed=order)
        rng = np.random.default_rng(order)
        table.tilt_deg[:] = np.rad2deg(np.arccos(rng.uniform(-1.0, 1.0, n)))
        search = LocalSearch(rot, tilt, psi, centre_on_current=True)
        values = {
            "orientation_grid": grid, "point_group": group, "local_search": search,
            "pdf_class": np.ones(1), "move_psi_prior": True, **changes,
        }  # fmt: skip
        return cls(replace(run.settings, **values), table)

    @property
    def ids(self) -> np.ndarray[Any, np.dtype[np.int64]]:
        return np.arange(self.table.n)[::-1].copy()

    def on(self, session: DeviceSession) -> SearchSpace:
        return to_host(session, LocalLists(session, self.settings, self.table).take(self.ids))

    def check(self, session: DeviceSession) -> None:
        """Compare all that the device lists."""
        assert_same(self.on(session), sparse_search_space(self.settings, self.table, self.ids))


def to_host(session: DeviceSession, space: DeviceSpace) -> SearchSpace:
    assert session.to_host(space.counts).tolist() == space.n_orientations.tolist()
    columns = (space.prior_base, space.log_prior, space.classes, space.directions, space.psis)
    return SearchSpace(
        space.is_dense, space.n_orientations, *(session.to_host(column) for column in columns)
    )


def assert_same(found: SearchSpace, expected: SearchSpace) -> None:
    for name in ("is_dense", "n_orientations", "prior_base"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), err_msg=name)
    for name in ("orientation_class", "orientation_dir", "orientation_psi"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), err_msg=name)
    # logarithms up to about 10, of sums of squares up to 4.5
    np.testing.assert_allclose(found.log_prior, expected.log_prior, rtol=0, atol=5e-6)


@pytest.mark.parametrize("order", [2, 5, 8])
@pytest.mark.parametrize("symmetry", ["C1", "D2", "I3"])
def test_auto_refine(session: DeviceSession, kind: str, order: int, symmetry: str) -> None:
    Search.of(133, order, symmetry, AUTO).check(session)


def test_thousands_of_particles(session: DeviceSession, kind: str) -> None:
    """So many directions lie near the limit that single precision would decide otherwise."""
    Search.of(4001, 8, "C1", AUTO).check(session)


@pytest.mark.parametrize("symmetry", ["C1", "D3"])
@pytest.mark.parametrize("moves", [False, True])
@pytest.mark.parametrize(
    "widths",
    [
        (8.0, 5.0, 6.0), (5.0, 8.0, 6.0), (20.0, 20.0, 0.0), (9.0, 0.0, 9.0), (-1.0, 9.0, 9.0),
        (0.0, 0.0, 9.0), (80.0, 80.0, 80.0), (45.0, 0.0, 45.0), (0.0, 45.0, 60.0),
    ],
)  # fmt: skip
def test_any_widths(
    session: DeviceSession, kind: str, symmetry: str, moves: bool, widths: tuple[float, ...]
) -> None:
    Search.of(23, 3, symmetry, widths, move_psi_prior=moves).check(session)


@pytest.mark.parametrize("widths", [(6.0, 6.0, 3.0), (4.0, 0.0, 3.0), (0.0, 4.0, 3.0)])
def test_a_prior_on_one_angle_of_a_fine_grid(
    session: DeviceSession, kind: str, widths: tuple[float, ...]
) -> None:
    """Lists so long that several work-items share a base pixel."""
    search = Search.of(3, 6, "C2", widths)
    if 0.0 in widths:
        assert LocalLists(session, search.settings, search.table)._search.n_roots > 12  # type: ignore[union-attr]
    search.check(session)


@pytest.mark.parametrize("symmetry", ["C1", "D2", "I1"])
@pytest.mark.parametrize("widths", [(1e-3, 1e-3, 1e-3), (1e-9, 0.0, 1e-9), (0.0, 1e-7, 1e-9)])
def test_the_nearest_where_none_is_near(
    session: DeviceSession, kind: str, symmetry: str, widths: tuple[float, ...]
) -> None:
    search = Search.of(31, 3, symmetry, widths)
    found = search.on(session)
    assert (found.n_orientations == 1).all()
    assert not found.log_prior.any()
    search.check(session)


@pytest.mark.parametrize("limit_tilt_deg", [40.0, -25.0])
def test_directions_that_the_grid_leaves_out(
    session: DeviceSession, kind: str, limit_tilt_deg: float
) -> None:
    """The nearest ones are then far away."""
    Search.of(57, 5, "C3", AUTO, limit_tilt_deg=limit_tilt_deg).check(session)


def test_poses_on_the_grid_and_at_its_corners(session: DeviceSession, kind: str) -> None:
    """Mates at the same distance, poles, psi angles just 3 sigma away."""
    for symmetry in ("C1", "D2", "O"):
        search = Search.of(60, 4, symmetry, AUTO)
        grid, table = search.settings.orientation_grid, search.table
        step = grid.psi_step_deg
        on_grid = np.arange(40) * grid.n_dir // 40
        table.rot_deg[:40], table.tilt_deg[:40] = grid.rot_deg[on_grid], grid.tilt_deg[on_grid]
        table.psi_deg[:40] = (np.arange(40) * 7 % grid.n_psi) * step
        table.tilt_deg[40:] = [0.0, 180.0, 90.0, 54.735610317245346] * 5
        table.rot_deg[40:] = np.repeat([0.0, 45.0, 90.0, -135.0, 22.5], 4)
        table.psi_deg[40:] = np.arange(20) * 1.5 * step
        for moves in (False, True):
            moved = replace(search.settings, move_psi_prior=moves)
            Search(moved, table).check(session)


@settings(max_examples=25, deadline=None)
@given(
    rot=st.floats(-180, 180),
    # within 1e-9 rad of a pole, rounding decides which of its mates is the closest
    tilt=st.floats(-30, 200).map(lambda tilt: round(tilt, 4)),
    psi=st.floats(-200, 400),
    sigma=st.floats(0.5, 100),
    psi_step=st.floats(3.0, 50.0),
    name=st.sampled_from(["C1", "C3", "D3", "T", "I1"]),
)
def test_any_pose(
    session: DeviceSession,
    rot: float,
    tilt: float,
    psi: float,
    sigma: float,
    psi_step: float,
    name: str,
) -> None:
    search = Search.of(1, 2, name, (sigma, sigma, sigma), psi_step_deg=psi_step)
    search.table.rot_deg[:], search.table.tilt_deg[:] = rot, tilt
    search.table.psi_deg[:] = psi
    search.check(session)


SPARSE: dict[str, dict[str, Any]] = {
    "local": {},
    "current angles": {"centre_on_current": True},
    "symmetry": {"symmetry": "D2"},
    "dead class": {"pdf_class": np.array([0.0, 1.0])},
    "one class each": {"considered_class": np.array([0, 1, 1, 0, 1])},
    "kept": {"skip_rotate": True},
    "kept, dead class": {"skip_align": True, "pdf_class": np.array([0.0, 1.0])},
    "kept, one class each": {
        "skip_align": True, "considered_class": np.array([0, 1, 1, 0, 1]),
    },
}  # fmt: skip


def run_of(name: str) -> SmallRun:
    changes = dict(SPARSE[name])
    centre = changes.pop("centre_on_current", False)
    search = LocalSearch(30.0, 25.0, 40.0, centre_on_current=centre)
    return small_run(local_search=search, **changes)


@pytest.mark.parametrize("name", SPARSE)
def test_two_classes(session: DeviceSession, kind: str, name: str) -> None:
    """Against the loops of the whole step's twin."""
    run = run_of(name)
    space = to_host(session, LocalLists(session, run.settings, run.table).take(IDS))
    assert_as_in_the_specification(space, run, 5e-6)
    np.testing.assert_array_equal(
        space.prior_base, np.cumsum(space.n_orientations) - space.n_orientations
    )


def test_prior_centre_of_the_file_matters(session: DeviceSession) -> None:
    """Particle 0 has a prior rot of its own."""
    spaces = []
    for name in ("local", "current angles"):
        run = run_of(name)
        space = LocalLists(session, run.settings, run.table).take(np.array([0]))
        spaces.append(to_host(session, space))
    assert spaces[0].orientation_dir.tolist() != spaces[1].orientation_dir.tolist()


def test_every_searched_orientation_is_near_the_prior_when_windows_move(
    session: DeviceSession,
) -> None:
    """What the fix is for: near the seams of D2 RELION's windows miss the true orientation."""

    def worst(moves: bool) -> float:
        search = Search.of(40, 3, "D2", (8.0, 8.0, 8.0), move_psi_prior=moves)
        grid, table = search.settings.orientation_grid, search.table
        found, largest = search.on(session), 0.0
        for i, particle in enumerate(search.ids.tolist()):
            own = euler_matrix(
                table.rot_deg[particle], table.tilt_deg[particle], table.psi_deg[particle]
            )
            entries = slice(found.prior_base[i], found.prior_base[i] + found.n_orientations[i])
            d, p = found.orientation_dir[entries], found.orientation_psi[entries]
            listed = euler_matrix(grid.rot_deg[d], grid.tilt_deg[d], grid.psi_deg[p])
            operators = search.settings.point_group.operators
            largest = max(largest, angular_distance_deg(listed, own[None], operators).min())
        return largest

    assert worst(moves=True) < 9.0
    assert worst(moves=False) > 20.0


def test_lists_that_were_begun_are_the_same(session: DeviceSession) -> None:
    search = Search.of(50, 4, "C4", AUTO)
    lists = LocalLists(session, search.settings, search.table)
    parts = [np.arange(30), np.arange(30, 50)]
    for part in parts:
        lists.begin(part)
    for part in (parts[1], parts[0][:15], parts[0]):  # the second was not begun
        found = to_host(session, lists.take(part))
        assert_same(found, sparse_search_space(search.settings, search.table, part))


def test_no_room_for_what_is_begun(session: DeviceSession, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is begun again when it is asked for."""
    search = Search.of(20, 4, "C1", AUTO)
    lists = LocalLists(session, search.settings, search.table)
    empty = session.empty
    failed: list[Any] = []

    def scarce(shape: Any, dtype: Any) -> Any:
        if not failed:
            failed.append(shape)
            raise DeviceMemoryError("no memory left")
        return empty(shape, dtype)

    monkeypatch.setattr(session, "empty", scarce)
    lists.begin(search.ids)
    assert failed
    expected = sparse_search_space(search.settings, search.table, search.ids)
    assert_same(to_host(session, lists.take(search.ids)), expected)


def test_shared_orientations_need_no_lists(session: DeviceSession) -> None:
    run = whole_search()
    lists = LocalLists(session, run.settings, run.table)
    assert not lists.are_needed
    lists.begin(IDS)
