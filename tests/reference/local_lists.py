"""Lists of local searches, one particle and direction after the other (specification E 4.6, 4.7).

`sparse_search_space` makes whole lists by way of `local_priors`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clrelion.expectation.search_space import SearchSpace
from clrelion.expectation.settings import ExpectationSettings
from clrelion.io.particle_table import ParticleTable
from clrelion.orientations.euler import euler_angles, euler_matrix
from tests.reference.local_priors import local_priors

_UNSET_PRIOR_DEG = 999.0
_FLOATS = NDArray[np.float64]
_INTS = NDArray[np.int64]


def prior_mates(
    angles_deg: _FLOATS, operators: _FLOATS, prior: str, moves_psi: bool
) -> tuple[_FLOATS, _FLOATS]:
    """Centres (n * n_mates, 5) and psi of each mate (n * n_mates,), degrees."""
    centres, psis = [], []
    for rot, tilt, psi in angles_deg:
        matrix = euler_matrix(rot, tilt, psi)
        radians = np.deg2rad([rot, tilt])
        for operator in operators:
            own = {
                "cap": operator.T @ matrix[2],
                "rot": operator @ [-np.sin(radians[0]), np.cos(radians[0]), 0.0],
                "tilt": operator[:, 2],
            }[prior]
            centres.append([*own, np.cos(radians[1]), np.sin(radians[1])])
            psis.append(float(euler_angles(matrix @ operator)[2]) if moves_psi else psi)
    return np.array(centres), np.array(psis)


def psi_windows(
    psi_deg: _FLOATS, n_psi: int, sigma_deg: float
) -> list[tuple[int, int, float, float]]:
    """First angle, number, offset of the first (radians) and ln of the sum of weights."""
    if sigma_deg <= 0:
        return [(0, n_psi, 0.0, float(np.log(n_psi))) for _ in psi_deg]
    found = []
    for centre in psi_deg:
        theta = (np.arange(n_psi) * (360.0 / n_psi) - centre + 180.0) % 360.0 - 180.0
        kept = np.flatnonzero(np.abs(theta) < 3.0 * sigma_deg * (1.0 - 1e-9))
        if len(kept) == 0:
            found.append((int(np.argmin(np.round(np.abs(theta), 8))), 1, 0.0, 0.0))
            continue
        first = kept[np.argmin(theta[kept])]
        total = np.exp(-0.5 * (theta[kept] / sigma_deg) ** 2).sum()
        found.append((int(first), len(kept), float(np.deg2rad(theta[first])), float(np.log(total))))
    return found


@dataclass(frozen=True)
class Directions:
    """Directions of a grid with what lies around: unit vectors, centres of n_mates a particle."""

    prior: str
    vectors: _FLOATS
    centres: _FLOATS
    n_mates: int

    def thetas(self, particle: int) -> _FLOATS:
        """Angle of each direction to each mate, radians, (n_dir, n_mates)."""
        own = self.centres[particle * self.n_mates : (particle + 1) * self.n_mates]
        along = self.vectors @ own[:, :3].T
        across = np.linalg.norm(np.cross(self.vectors[:, None], own[None, :, :3]), axis=-1)
        if self.prior == "cap":
            return np.arctan2(across, along)
        if self.prior == "rot":
            return np.abs(np.arctan2(along, across))
        tilt = np.arctan2(own[:, 4], own[:, 3])
        apart = np.abs(np.arctan2(across, along) - tilt)
        return np.asarray(np.minimum(apart, 2 * np.pi - apart))

    def closest(self, particle: int) -> tuple[_FLOATS, _INTS]:
        """Angle of each direction to the closest mate, and that mate."""
        thetas = self.thetas(particle)
        least = thetas.min(axis=1)
        mates = np.argmax(thetas <= least[:, None] + 1e-9, axis=1)
        return least, mates if self.prior == "cap" else np.zeros_like(mates)


def count_directions(
    directions: Directions, particle: int, sigma: float, psi_count: _INTS
) -> tuple[_INTS, _FLOATS]:
    """Entries and weight of each direction of the grid; 0 for those that are not kept."""
    theta, mate = directions.closest(particle)
    kept = theta < 3.0 * sigma * (1.0 - 1e-9)
    entries = psi_count[particle * directions.n_mates + mate]
    return np.where(kept, entries, 0), np.where(kept, np.exp(-0.5 * (theta / sigma) ** 2), 0.0)


def nearest_directions(directions: Directions, particle: int) -> tuple[int, int]:
    """Number and mate of the direction that is nearest to any mate."""
    theta, mate = directions.closest(particle)
    place = int(np.argmax(theta <= theta.min() + 1e-9))
    return place, int(mate[place])


def local_orientations(
    kept: list[tuple[int, int, float]],
    windows: list[tuple[int, int, float, float]],
    n_psi: int,
    sigma: float,
    sigma_psi: float,
) -> list[tuple[int, int, float]]:
    """(direction, psi, ln(prior / mean prior)) of one particle and class.

    ``kept`` are directions, their blocks of psi angles and their angles theta (radians); widths are
    in radians, 0: no prior.
    """
    found, log_weights = [], []
    for place, block, theta in kept:
        first, count, offset, _ = windows[block]
        turns = offset + np.arange(count) * 2 * np.pi / n_psi
        turns = (turns + np.pi) % (2 * np.pi) - np.pi
        weight = np.exp(-0.5 * (turns / sigma_psi) ** 2) if sigma_psi > 0 else np.ones(count)
        psis = (first + np.arange(count)) % n_psi
        log_direction = -0.5 * (theta / sigma) ** 2
        for j in np.argsort(psis):
            found.append((place, int(psis[j])))
            log_weights.append(log_direction + np.log(weight[j] / weight.sum()))
    # sums over psi are 1, so that the mean is that of the directions' weights
    total = np.exp([-0.5 * (theta / sigma) ** 2 for _, _, theta in kept]).sum()
    return [
        (place, psi, float(log - np.log(total) + np.log(len(found))))
        for (place, psi), log in zip(found, log_weights, strict=True)
    ]


def sparse_search_space(
    settings: ExpectationSettings, table: ParticleTable, ids: _INTS
) -> SearchSpace:
    """Orientations near each particle's own, for every considered class."""
    counts, direction, psi, log_prior = _local_entries(settings, table, ids)
    alive = np.flatnonzero(settings.pdf_class > 0)
    chosen = settings.considered_class
    n_considered = np.full(len(ids), len(alive) if chosen is None else 1)
    # entry number within its image, classes outermost
    lengths = counts * n_considered
    start = np.concatenate([[0], np.cumsum(lengths)])
    image = np.repeat(np.arange(len(ids)), lengths)
    within = np.arange(start[-1]) - start[image]
    base_start = np.concatenate([[0], np.cumsum(counts)])
    base = base_start[image] + within % counts[image]
    classes = alive[within // counts[image]] if chosen is None else chosen[ids][image]
    return SearchSpace(
        is_dense=False,
        n_orientations=lengths,
        prior_base=start[:-1],
        log_prior=log_prior[base],
        orientation_class=np.asarray(classes, dtype=np.int64),
        orientation_dir=direction[base],
        orientation_psi=psi[base],
    )


def _local_entries(
    settings: ExpectationSettings, table: ParticleTable, ids: _INTS
) -> tuple[_INTS, _INTS, _INTS, _FLOATS]:
    """Orientations within the local priors: counts by image, directions, psis, ln(prior/mean)."""
    search = settings.local_search
    assert search is not None

    def centre(prior: _FLOATS, current: _FLOATS) -> _FLOATS:
        if search.centre_on_current:
            return current[ids]
        return np.where(prior[ids] == _UNSET_PRIOR_DEG, current[ids], prior[ids])

    priors = local_priors(
        settings.orientation_grid,
        settings.point_group,
        centre(table.rot_prior_deg, table.rot_deg),
        centre(table.tilt_prior_deg, table.tilt_deg),
        centre(table.psi_prior_deg, table.psi_deg),
        search.sigma_rot_deg,
        search.sigma_tilt_deg,
        search.sigma_psi_deg,
        relion_psi_quirk=not settings.move_psi_prior,
    )
    psi_counts = np.diff(priors.psi_offsets)
    by_direction = psi_counts[priors.psi_block]
    n_entries = int(by_direction.sum())
    kept = np.repeat(np.arange(len(priors.dir_index)), by_direction)
    first = np.concatenate([[0], np.cumsum(by_direction)])[:-1]
    psi_place = np.arange(n_entries) - first[kept] + priors.psi_offsets[priors.psi_block[kept]]
    owner = np.repeat(np.arange(len(ids)), np.diff(priors.dir_offsets))
    counts = np.bincount(owner, weights=by_direction, minlength=len(ids)).astype(np.int64)
    # the priors of a particle add up to 1, so their mean is 1 / (number of orientations)
    log_prior = (
        np.log(priors.dir_prior[kept])
        + np.log(priors.psi_prior[psi_place])
        + np.log(counts[owner[kept]])
    )
    return counts, priors.dir_index[kept], priors.psi_index[psi_place], log_prior
