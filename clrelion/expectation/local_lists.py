"""The orientations near each particle's own, listed on the device.

In: particles.  Out: their search space there.  Specification E 4.6, 4.7.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from clrelion.device.prefix_sums import prefix_sums
from clrelion.device.wide_numbers import wide_empty, wide_kind, wide_to_device
from clrelion.errors import DeviceMemoryError
from clrelion.expectation.device_space import DeviceSpace
from clrelion.expectation.search_space import kept_search_space
from clrelion.expectation.settings import ExpectationSettings, LocalSearch
from clrelion.io.particle_table import PRIOR_NOT_SET, ParticleTable
from clrelion.orientations.healpix_grid import maximum_pixel_radius_deg
from clrelion.orientations.sampling import OrientationGrid

if TYPE_CHECKING:
    from clrelion.device.array import Array
    from clrelion.device.session import DeviceSession
    from clrelion.device.transfers import PendingRead

__all__ = ["LocalLists"]

_CUTOFF_SIGMAS = 3.0
"""A direction or psi angle counts if it is closer than this many standard deviations."""
_BASE_PIXELS = 12
_PIXELS_PER_ITEM = 64
"""Directions that a work-item looks at, about."""
_STEEP_ANGLE = 1.4
"""From here on (radians) a sine says little about its angle."""
_EVERYWHERE = 8.0
"""More than the square of any chord of the unit sphere."""


class LocalLists:
    """Lists of batches; begun early, their lengths are known when they are asked for.

    Parameters
    ----------
    session
        Device.
    settings
        Of the step; where all particles share one list, nothing is done.
    table
        Particles.

    Raises
    ------
    DeviceMemoryError
    """

    def __init__(
        self, session: DeviceSession, settings: ExpectationSettings, table: ParticleTable
    ) -> None:
        self._session = session
        self._settings = settings
        self._table = table
        self._begun: dict[bytes, _Counted] = {}
        self._kind = wide_kind(session)
        self._search: _Search | None = None
        if settings.local_search is not None and not settings.keeps_orientation:
            self._search = _Search.create(session, settings, settings.local_search, self._kind)

    @property
    def are_needed(self) -> bool:
        """Particles have lists of their own."""
        return not self._settings.is_dense

    def begin(self, ids: NDArray[np.int64]) -> None:
        """Let the device count the orientations of a batch that will be asked for."""
        if self._search is None:
            return
        try:
            self._begun[ids.tobytes()] = self._count(self._search, ids)
        except DeviceMemoryError:
            self._session.release_unused()  # there may be room when they are asked for

    def take(self, ids: NDArray[np.int64]) -> DeviceSpace:
        """Give the lists of a batch, begun before or now.

        Raises
        ------
        DeviceMemoryError
        """
        if self._search is None:
            return DeviceSpace.upload(self._session, kept_search_space(self._settings, ids))
        counted = self._begun.pop(ids.tobytes(), None) or self._count(self._search, ids)
        return self._list(self._search, ids, counted)

    def _count(self, search: _Search, ids: NDArray[np.int64]) -> _Counted:
        """Enqueue everything up to the lengths of the lists."""
        session, settings = self._session, self._settings
        n, n_items = len(ids), len(ids) * search.n_roots
        n_blocks = n * search.n_mates
        angles = wide_to_device(session, _prior_angles(settings, self._table, ids), self._kind)
        centres = wide_empty(session, (n_blocks, 5), self._kind)
        psi_vectors = wide_empty(session, (n_blocks, 2), self._kind)
        self._kernel("prior_mates")(
            (n_blocks,),
            None,
            *(angles, search.operators, search.n_mates, int(settings.move_psi_prior), n),
            *(centres, psi_vectors),
        )
        first, psi_count = (session.empty(n_blocks, np.int32) for _ in range(2))
        offset, psi_log_sum = (session.empty(n_blocks, session.real) for _ in range(2))
        session.kernel("expectation/psi_windows", wide=self._kind)(
            (n_blocks,),
            None,
            *(psi_vectors, search.psis, search.psi_limit, search.n_psi, search.n_near),
            *(search.psi_step, search.sigma_psi, n_blocks, first, psi_count, offset, psi_log_sum),
        )
        n_entries = session.empty(n_items, np.int32)
        weight = session.empty(n_items, session.real)
        self._kernel("count_directions")(
            (n_items,),
            None,
            *(*search.grid_arguments, search.reach, search.limit, search.sigma, centres, psi_count),
            *(search.n_mates, search.n_roots, n_items, n_entries, weight),
        )
        nearest, nearest_mate, lengths = (session.empty(n, np.int32) for _ in range(3))
        log_sum = session.empty(n, session.real)
        self._kernel("nearest_directions")(
            (n,),
            None,
            *(*search.grid_arguments, search.radius, centres, psi_count),
            *(search.n_mates, search.n_roots, n, search.n_classes),
            *(weight, n_entries, nearest, nearest_mate, lengths, log_sum),
        )
        return _Counted(
            centres,
            (first, psi_count, offset, psi_log_sum),
            (nearest, nearest_mate, lengths, log_sum),
            prefix_sums(session, n_entries, n_items),
            lengths,
            session.to_host_later(lengths),
        )

    def _list(self, search: _Search, ids: NDArray[np.int64], counted: _Counted) -> DeviceSpace:
        """Read the lengths and make the lists."""
        session, settings = self._session, self._settings
        n, n_items = len(ids), len(ids) * search.n_roots
        lengths = counted.read.result()[0].astype(np.int64)
        total = int(lengths.sum())
        own_class = None
        if settings.considered_class is not None:
            own_class = session.to_device(settings.considered_class[ids], np.int32)
        prior_base = session.empty(n, np.int32)
        log_prior = session.empty(total, session.real)
        classes, directions, psis = (session.empty(total, np.int32) for _ in range(3))
        self._kernel("local_orientations")(
            (n_items,),
            None,
            *(*search.grid_arguments, search.reach, search.limit, search.sigma),
            *(counted.centres, *counted.psis),
            *(search.psi_step, search.sigma_psi, search.n_psi, *counted.particles),
            *(counted.entries, search.alive, own_class, search.n_classes, search.n_mates),
            *(search.n_roots, n_items, prior_base, log_prior, classes, directions, psis),
        )
        return DeviceSpace(
            False, lengths, counted.lengths, prior_base, log_prior, total, classes, directions, psis
        )

    def _kernel(self, name: str) -> Any:
        assert self._search is not None
        return self._session.kernel(
            f"expectation/{name}", wide=self._kind, prior=self._search.prior
        )


@dataclass(frozen=True)
class _Counted:
    """What is known of a batch's lists before they are made, on the device.

    Attributes
    ----------
    centres
        Of `prior_mates`.
    psis
        First angle, number, offset and normalisation of each block, of `psi_windows`.
    particles
        Results of `nearest_directions`.
    entries
        int32, (n_items + 1,); entries of one class before each item.
    lengths
        int32, (n,); of the lists.
    read
        The same on their way to the host.
    """

    centres: Array
    psis: tuple[Array, ...]
    particles: tuple[Array, ...]
    entries: Array
    lengths: Array
    read: PendingRead


@dataclass(frozen=True)
class _Search:
    """What the kernels need to know of the sampling and the priors; angles in radians.

    Attributes
    ----------
    prior
        Which angles have a prior (``cl/common/nearby_directions``).
    grid_arguments
        Pixels of the directions, their number and order, order of the root pixels.
    radius
        real, (order + 1,); largest distance of a pixel's corner from its centre, by order.
    reach
        real, (order + 1,); measures up to which pixels are looked into.
    limit
        Measure up to which directions are kept.
    sigma, sigma_psi
        Standard deviations; sigma_psi 0: no prior on psi.
    psis, psi_step, psi_limit, n_psi, n_near
        Cosines and sines of the psi angles, their step, the limit as a squared chord, their number
        and how many around a prior need a look.
    operators, n_mates
        Of the point group.
    alive, n_classes
        Classes of a particle's list.
    n_roots
        Root pixels.
    """

    prior: str
    grid_arguments: tuple[Any, ...]
    radius: Array
    reach: Array
    limit: Array
    sigma: float
    psis: Array
    psi_step: float
    psi_limit: Array
    n_psi: int
    n_near: int
    sigma_psi: float
    operators: Array
    n_mates: int
    alive: Array
    n_classes: int
    n_roots: int

    @classmethod
    def create(
        cls,
        session: DeviceSession,
        settings: ExpectationSettings,
        search: LocalSearch,
        kind: str,
    ) -> _Search:
        grid, group = settings.orientation_grid, settings.point_group
        prior, sigma_deg = _prior_on_direction(search)
        cutoff = math.radians(_CUTOFF_SIGMAS * sigma_deg)
        top = _root_order(grid, prior, cutoff, group.order)
        order = grid.healpix_order
        radius = np.deg2rad([maximum_pixel_radius_deg(k) for k in range(order + 1)])
        within = cutoff + np.append(radius[:-1], 0.0)
        reach = np.array([_measure_with_room(prior, angle) for angle in within])
        psi = np.deg2rad(grid.psi_deg)
        reach_psi = _CUTOFF_SIGMAS * search.sigma_psi_deg
        has_psi = search.sigma_psi_deg > 0
        alive = np.flatnonzero(settings.pdf_class > 0)
        return cls(
            prior=prior,
            grid_arguments=(session.to_device(grid.pixels, np.int32), grid.n_dir, order, top),
            radius=session.to_device(radius, session.real),
            reach=session.to_device(reach, session.real),
            limit=wide_to_device(session, np.array([_measure(prior, cutoff)]), kind),
            sigma=math.radians(sigma_deg),
            psis=wide_to_device(session, np.stack([np.cos(psi), np.sin(psi)], axis=-1), kind),
            psi_step=math.radians(grid.psi_step_deg),
            psi_limit=wide_to_device(
                session, np.array([_measure("cap", math.radians(reach_psi))]), kind
            ),
            n_psi=grid.n_psi,
            n_near=min(grid.n_psi, 2 * int(reach_psi / grid.psi_step_deg) + 4) if has_psi else 0,
            sigma_psi=math.radians(max(0.0, search.sigma_psi_deg)),
            operators=wide_to_device(session, group.operators.reshape(-1, 9), kind),
            n_mates=group.order,
            alive=session.to_device(alive, np.int32),
            n_classes=len(alive) if settings.considered_class is None else 1,
            n_roots=_BASE_PIXELS * 4**top,
        )


def _prior_on_direction(search: LocalSearch) -> tuple[str, float]:
    """Which angles of the direction have a prior, and its width in degrees (1 if there is none)."""
    rot, tilt = search.sigma_rot_deg, search.sigma_tilt_deg
    if rot > 0 and tilt > 0:
        return "cap", max(rot, tilt)
    if rot > 0:
        return "rot", rot
    return ("tilt", tilt) if tilt > 0 else ("none", 1.0)


def _measure(prior: str, angle: float) -> float:
    """Turn an angle into the kernels' measure (``cl/common/nearby_directions``)."""
    if prior == "none" or angle >= (math.pi / 2 if prior == "rot" else math.pi):
        return _EVERYWHERE
    return math.sin(angle) ** 2 if prior == "rot" else (2.0 * math.sin(angle / 2.0)) ** 2


def _measure_with_room(prior: str, angle: float) -> float:
    """Give the measure of an angle, and room for the rounding of single precision."""
    if prior == "rot" and angle > _STEEP_ANGLE:
        return _EVERYWHERE
    return 1.00001 * _measure(prior, angle + 2e-6) + (1e-6 if prior == "rot" else 0.0)


def _root_order(grid: OrientationGrid, prior: str, cutoff: float, n_mates: int) -> int:
    """Order of the root pixels: each holds so many directions of a list as one item lists well."""
    share = 1.0
    if prior == "cap":
        share = min(1.0, math.sin(min(cutoff, math.pi) / 2.0) ** 2 * n_mates)
    n_below = share * grid.n_dir / _BASE_PIXELS
    needed = math.ceil(math.log(max(1.0, n_below / _PIXELS_PER_ITEM), 4))
    return min(grid.healpix_order, needed)


def _prior_angles(
    settings: ExpectationSettings, table: ParticleTable, ids: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Cosines and sines of rot, tilt and psi of the priors' centres, (n, 6)."""
    search = settings.local_search
    assert search is not None
    columns = (
        (table.rot_prior_deg, table.rot_deg),
        (table.tilt_prior_deg, table.tilt_deg),
        (table.psi_prior_deg, table.psi_deg),
    )
    angles = np.empty((len(ids), 6))
    for place, (prior, current) in enumerate(columns):
        centre = current[ids]
        if not search.centre_on_current:
            centre = np.where(prior[ids] == PRIOR_NOT_SET, centre, prior[ids])
        radians = np.deg2rad(centre)
        angles[:, 2 * place], angles[:, 2 * place + 1] = np.cos(radians), np.sin(radians)
    return angles
