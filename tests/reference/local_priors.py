"""Orientation priors of local searches: which directions and psi angles, with what weights.

By search trees over all directions, in NumPy and SciPy (specification E 4.6).  An angle that is at
the limit but for rounding is outside, and of directions that are equally near but for rounding the
first counts, so that nothing is decided by the last bits.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from clrelion.errors import OptionsError
from clrelion.orientations.euler import direction_vector, euler_angles, euler_matrix
from clrelion.orientations.sampling import OrientationGrid
from clrelion.orientations.symmetry import PointGroup

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

# A direction or psi angle counts if it is closer than this many standard deviations.
_CUTOFF_SIGMAS = 3.0

_ROUNDING = 1e-9

# Upper bound of the elements of a temporary table: 8 million doubles, 64 MB.
_CHUNK_ELEMENTS = 8_000_000


@dataclass(frozen=True, eq=False)
class LocalPriors:
    """Directions and psi angles to search per particle, with normalised prior weights.

    The prior of the pair of kept direction `i` and psi angle `j` of its block is
    ``dir_prior[i] * psi_prior[j]``. With RELION's rule there is one psi block per particle
    (``psi_offsets`` has n + 1 entries); with moving psi windows there is one per particle and
    symmetry mate in use, and ``psi_block`` says which one a direction takes.

    Attributes
    ----------
    dir_index
        int64, (n_kept,); indices into the directions of the grid, increasing per particle.
    dir_prior
        float64, (n_kept,); sums to 1 per particle.
    dir_offsets
        int64, (n + 1,); particle p owns ``dir_index[dir_offsets[p]:dir_offsets[p + 1]]``.
    psi_block
        int64, (n_kept,); psi block of every kept direction.
    psi_index
        int64; indices into the psi angles of the grid, increasing per block.
    psi_prior
        float64; sums to 1 per block.
    psi_offsets
        int64, (n_blocks + 1,); block b owns ``psi_index[psi_offsets[b]:psi_offsets[b + 1]]``.

    Notes
    -----
    Specification E 4.6.
    """

    dir_index: IntArray
    dir_prior: FloatArray
    dir_offsets: IntArray
    psi_block: IntArray
    psi_index: IntArray
    psi_prior: FloatArray
    psi_offsets: IntArray


def gaussian_weight(theta_deg: npt.ArrayLike, sigma_deg: float) -> FloatArray:
    """Unnormalised prior weight ``exp(-theta**2 / 2 sigma**2) / (sigma sqrt(2 pi))``.

    Parameters
    ----------
    theta_deg
        float64, any shape; angular distance, degrees.
    sigma_deg
        Standard deviation, degrees.
    """
    theta = np.asarray(theta_deg, dtype=np.float64)
    scale = sigma_deg * np.sqrt(2.0 * np.pi)
    return np.asarray(np.exp(-0.5 * (theta / sigma_deg) ** 2) / scale, dtype=np.float64)


def local_priors(
    grid: OrientationGrid,
    point_group: PointGroup,
    rot_deg: npt.ArrayLike,
    tilt_deg: npt.ArrayLike,
    psi_deg: npt.ArrayLike,
    sigma_rot_deg: float,
    sigma_tilt_deg: float,
    sigma_psi_deg: float,
    relion_psi_quirk: bool = True,
) -> LocalPriors:
    """Select the directions and psi angles near the prior orientation of each particle.

    Parameters
    ----------
    grid
        Coarse (unperturbed) orientations.
    point_group
        Its operators move the prior direction; the closest mate counts.
    rot_deg, tilt_deg, psi_deg
        float64, (n,); centres of the priors, degrees.
    sigma_rot_deg, sigma_tilt_deg, sigma_psi_deg
        Standard deviations, degrees; <= 0: no prior on that angle. With both rot and tilt the
        larger one is used for the angle between directions.
    relion_psi_quirk
        True: the psi window stays on the particle's own psi, as in RELION. False: it moves
        with the symmetry mate that is closest to the direction (E Q5).

    Returns
    -------
    LocalPriors
        Kept angles are closer than 3 sigma; if there are none, the nearest one has weight 1.

    Raises
    ------
    OptionsError
        If a prior angle is not finite.

    Notes
    -----
    Specification E 4.6. The angle between directions is clamped before its arc cosine, where
    RELION can lose a direction that equals the prior (E Q25).
    """
    rot, tilt, psi = (
        np.atleast_1d(np.asarray(angle, dtype=np.float64)) for angle in (rot_deg, tilt_deg, psi_deg)
    )
    for angles in (rot, tilt, psi):
        if not np.all(np.isfinite(angles)):
            row = int(np.flatnonzero(~np.isfinite(angles))[0])
            raise OptionsError(f"prior angle of particle {row} is not finite; correct its row")
    particle, index, mate, theta, sigma = _near_directions(
        grid, point_group, rot, tilt, sigma_rot_deg, sigma_tilt_deg
    )
    if sigma > 0:
        dir_prior = _normalise(gaussian_weight(theta, sigma), particle, len(rot))
    else:
        dir_prior = np.full(len(index), 1.0 / grid.n_dir)
    if relion_psi_quirk:
        psi_block, centres = particle, psi
    else:
        psi_block, centres = _mate_psis(point_group, rot, tilt, psi, particle, mate)
    psi_index, psi_prior, psi_offsets = _near_psis(grid, centres, sigma_psi_deg)
    return LocalPriors(
        dir_index=index,
        dir_prior=dir_prior,
        dir_offsets=_offsets(particle, len(rot)),
        psi_block=psi_block,
        psi_index=psi_index,
        psi_prior=psi_prior,
        psi_offsets=psi_offsets,
    )


def _offsets(owner: IntArray, n_owners: int) -> IntArray:
    """Where the entries of each owner start, given the sorted owner of every entry."""
    return np.searchsorted(owner, np.arange(n_owners + 1)).astype(np.int64)


def _normalise(weights: FloatArray, owner: IntArray, n_owners: int) -> FloatArray:
    """Divide by the sum over the entries of the same owner."""
    return weights / np.bincount(owner, weights=weights, minlength=n_owners)[owner]


def _near_directions(
    grid: OrientationGrid,
    point_group: PointGroup,
    rot: FloatArray,
    tilt: FloatArray,
    sigma_rot: float,
    sigma_tilt: float,
) -> tuple[IntArray, IntArray, IntArray, FloatArray, float]:
    """Kept (particle, direction, mate, angle), sorted by particle and direction, and sigma.

    A mate of -1 means that no mate was chosen (no prior on the direction, or on one angle only).
    """
    n = len(rot)
    if sigma_rot > 0 and sigma_tilt > 0:
        sigma = max(sigma_rot, sigma_tilt)
        in_reach = np.sin(np.deg2rad(min(_CUTOFF_SIGMAS * sigma, 180.0)) / 2.0) ** 2 * grid.n_dir
        elements_each = point_group.order * (1 + int(in_reach))
        near = [
            _near_great_circle(grid, point_group, rot[part], tilt[part], sigma, part.start)
            for part in _chunks(n, elements_each)
        ]
    elif sigma_rot > 0 or sigma_tilt > 0:
        sigma = sigma_rot if sigma_rot > 0 else sigma_tilt
        near = [
            _near_one_angle(
                _one_angle_distance(grid, point_group, rot[part], tilt[part], sigma_rot > 0),
                sigma,
                part.start,
            )
            for part in _chunks(n, grid.n_dir * point_group.order)
        ]
    else:
        everything = np.tile(np.arange(grid.n_dir, dtype=np.int64), n)
        owner = np.repeat(np.arange(n, dtype=np.int64), grid.n_dir)
        return owner, everything, np.full(len(owner), -1), np.zeros(len(owner)), 0.0
    empty = (np.empty(0, np.int64),) * 3 + (np.empty(0),)
    particle, index, mate, theta = (
        np.concatenate(parts) for parts in zip(empty, *near, strict=True)
    )
    return particle, index, mate, theta, sigma


def _chunks(n: int, elements_each: int) -> list[slice]:
    size = max(1, _CHUNK_ELEMENTS // elements_each)
    return [slice(start, min(n, start + size)) for start in range(0, n, size)]


def _near_great_circle(
    grid: OrientationGrid,
    point_group: PointGroup,
    rot: FloatArray,
    tilt: FloatArray,
    sigma: float,
    first_particle: int,
) -> tuple[IntArray, IntArray, IntArray, FloatArray]:
    """Directions within 3 sigma of the closest mate of the prior direction."""
    n = len(rot)
    n_mates = point_group.order
    mates = point_group.equivalent_directions(direction_vector(rot, tilt)).reshape(-1, 3)
    cutoff = _CUTOFF_SIGMAS * sigma
    # The search radius has a margin, so that the exact test below alone decides.
    radius = 2.0 * np.sin(np.deg2rad(min(cutoff, 180.0)) / 2.0) * (1.0 + 1e-9)
    pairs = cKDTree(mates).sparse_distance_matrix(
        cKDTree(_vectors(grid)), radius, output_type="ndarray"
    )
    theta = np.rad2deg(2.0 * np.arcsin(np.minimum(pairs["v"] / 2.0, 1.0)))
    inside = _is_within(theta, cutoff)
    theta = theta[inside]
    query = pairs["i"][inside].astype(np.int64)
    index = pairs["j"][inside].astype(np.int64)
    particle, mate = query // n_mates, query % n_mates

    lonely = np.setdiff1d(np.arange(n), particle)
    if len(lonely):
        nearest, its_mate = _nearest_direction(grid, mates.reshape(n, n_mates, 3)[lonely])
        particle = np.concatenate([particle, lonely])
        index = np.concatenate([index, nearest])
        mate = np.concatenate([mate, its_mate])
        theta = np.concatenate([theta, np.zeros(len(lonely))])

    # Rounding makes mates of a direction on a symmetry axis differ by 1e-14: the first one wins.
    order = np.lexsort((mate, np.round(theta, 9), index, particle))
    particle, index, mate = particle[order], index[order], mate[order]
    first = np.ones(len(index), dtype=np.bool_)
    first[1:] = (particle[1:] != particle[:-1]) | (index[1:] != index[:-1])
    return particle[first] + first_particle, index[first], mate[first], theta[order][first]


def _vectors(grid: OrientationGrid) -> FloatArray:
    return direction_vector(grid.rot_deg, grid.tilt_deg)


def _is_within(theta_deg: FloatArray, cutoff_deg: float) -> npt.NDArray[np.bool_]:
    return np.asarray(theta_deg < cutoff_deg * (1.0 - 0.5 * _ROUNDING))


def _first_of_least(values: FloatArray) -> IntArray:
    """Index of the smallest value of each row; of those that differ by rounding the first."""
    least = values.min(axis=1, keepdims=True)
    return np.argmax(values <= least * (1.0 + _ROUNDING) + 1e-10, axis=1)


def _nearest_direction(grid: OrientationGrid, mates: FloatArray) -> tuple[IntArray, IntArray]:
    """Direction of the grid nearest to any mate (n, n_mates, 3), and that mate."""
    vectors = _vectors(grid)
    index, mate = np.empty(len(mates), np.int64), np.empty(len(mates), np.int64)
    for i, own in enumerate(mates):
        chords = np.linalg.norm(vectors[:, None] - own, axis=-1)
        index[i] = _first_of_least(chords.min(axis=1)[None])[0]
        mate[i] = _first_of_least(chords[index[i]][None])[0]
    return index, mate


def _one_angle_distance(
    grid: OrientationGrid,
    point_group: PointGroup,
    rot: FloatArray,
    tilt: FloatArray,
    is_rot: bool,
) -> FloatArray:
    """Angle of every direction to the prior rot or prior tilt, (n, n_dir), degrees."""
    mates = point_group.equivalent_directions(_vectors(grid))
    if is_rot:
        across = np.stack([-np.sin(np.deg2rad(rot)), np.cos(np.deg2rad(rot))], axis=-1)
        sines = np.einsum("drj,nj->ndr", mates[..., :2], across)
        from_plane = np.rad2deg(np.arcsin(np.minimum(np.abs(sines), 1.0)))
        return np.asarray(from_plane.min(axis=-1), dtype=np.float64)
    tilts = np.rad2deg(np.arctan2(np.hypot(mates[..., 0], mates[..., 1]), mates[..., 2]))
    from_tilt = _folded(tilts[None] - tilt[:, None, None])
    return np.asarray(from_tilt.min(axis=-1), dtype=np.float64)


def _folded(difference_deg: FloatArray) -> FloatArray:
    """Absolute difference of angles, at most 180 degrees."""
    wrapped = np.abs(difference_deg) % 360.0
    return np.minimum(wrapped, 360.0 - wrapped)


def _near_one_angle(
    theta: FloatArray, sigma: float, first_owner: int
) -> tuple[IntArray, IntArray, IntArray, FloatArray]:
    """Entries of a dense (n, n_candidates) table closer than 3 sigma, else the nearest one."""
    kept = _is_within(theta, _CUTOFF_SIGMAS * sigma)
    lonely = np.flatnonzero(~kept.any(axis=1))
    if len(lonely):
        kept[lonely, _first_of_least(theta[lonely])] = True
    owner, index = np.nonzero(kept)
    angles = theta[owner, index]
    # A single entry: the angle must not underflow its weight.
    angles[np.isin(owner, lonely)] = 0.0
    return owner + first_owner, index, np.full(len(owner), -1), angles


def _near_psis(
    grid: OrientationGrid, centres: FloatArray, sigma: float
) -> tuple[IntArray, FloatArray, IntArray]:
    """Psi angles near each centre: indices, normalised weights, offsets (n_centres + 1)."""
    n, n_psi = len(centres), grid.n_psi
    if not sigma > 0:
        index = np.tile(np.arange(n_psi, dtype=np.int64), n)
        return index, np.full(n * n_psi, 1.0 / n_psi), np.arange(n + 1, dtype=np.int64) * n_psi
    # the angles lie evenly, so that only those around the centre need a look
    n_near = min(n_psi, 2 * int(_CUTOFF_SIGMAS * sigma / grid.psi_step_deg) + 4)
    first = np.rint(centres / grid.psi_step_deg).astype(np.int64) - n_near // 2
    near = []
    for part in _chunks(n, n_near):
        candidates = np.sort((first[part, None] + np.arange(n_near)) % n_psi, axis=1)
        theta = _folded(grid.psi_deg[candidates] - centres[part, None])
        owner, column, mate, angles = _near_one_angle(theta, sigma, part.start)
        near.append((owner, candidates[owner - part.start, column], mate, angles))
    empty = (np.empty(0, np.int64),) * 3 + (np.empty(0),)
    block, index, _, theta = (np.concatenate(parts) for parts in zip(empty, *near, strict=True))
    return index, _normalise(gaussian_weight(theta, sigma), block, n), _offsets(block, n)


def _mate_psis(
    point_group: PointGroup,
    rot: FloatArray,
    tilt: FloatArray,
    psi: FloatArray,
    particle: IntArray,
    mate: IntArray,
) -> tuple[IntArray, FloatArray]:
    """Psi block of every kept direction, and the psi of each block's symmetry mate."""
    chosen = np.maximum(mate, 0)
    blocks, psi_block = np.unique(particle * point_group.order + chosen, return_inverse=True)
    owner, operator = blocks // point_group.order, blocks % point_group.order
    matrices = euler_matrix(rot[owner], tilt[owner], psi[owner]) @ point_group.operators[operator]
    return psi_block.astype(np.int64), euler_angles(matrices)[2]
