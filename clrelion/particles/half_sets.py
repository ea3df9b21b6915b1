"""Gold-standard half-sets and the order in which particles are processed."""

import logging

import numpy as np
from numpy.typing import NDArray

from clrelion.errors import StarError
from clrelion.io.particle_table import ParticleTable
from clrelion.particles.random_numbers import c_library_random

_log = logging.getLogger(__name__)


def assign_half_sets(table: ParticleTable, seed: int) -> None:
    """Give each particle its half-set, in place, unless the file already did.

    Parameters
    ----------
    table
        Particles; ``random_subset`` is filled if it is 0 throughout.
    seed
        ``--random_seed``.

    Raises
    ------
    StarError
        Only some particles have a half-set, a value is not 1 or 2, or a half is empty.

    Notes
    -----
    Specification E 2.6.  The random numbers are those of the C library that RELION calls, so the
    same seed gives RELION's half-sets.
    """
    subset = table.random_subset
    unassigned = subset == 0
    if unassigned.all():
        subset[:] = c_library_random(seed, table.n) % 2 + 1
        _log.info("Assigned half-sets: %d and %d particles", *_half_sizes(subset))
    elif unassigned.any():
        i = int(np.argmax(unassigned))
        raise StarError(
            f"{table.where(i)}: rlnRandomSubset is 0, but other particles have a half-set; "
            "fill the column with 1 and 2, or remove it"
        )
    wrong = (subset != 1) & (subset != 2)
    if wrong.any():
        i = int(np.argmax(wrong))
        raise StarError(
            f"{table.where(i)}: rlnRandomSubset is {subset[i]}; it must be 1 or 2: "
            "correct the column, or remove it"
        )
    for half, size in enumerate(_half_sizes(subset), start=1):
        if size == 0:
            raise StarError(
                f"{table.star_path}: half-set {half} is empty; correct rlnRandomSubset or remove it"
            )


def _half_sizes(subset: NDArray[np.int64]) -> tuple[int, int]:
    return int((subset == 1).sum()), int((subset == 2).sum())


def processing_order(table: ParticleTable, seed: int, half_set: int = 0) -> NDArray[np.int64]:
    """Particle indices in processing order.

    Parameters
    ----------
    table
        Particles.
    seed
        Seed of the shuffle (``--random_seed`` plus the iteration); 0 keeps the order of the table.
    half_set
        1 or 2 for one half; 0 for all particles (half 1 first, if there are halves).

    Returns
    -------
    ndarray
        int64; each half shuffled by itself, then stable-sorted by optics group.

    Notes
    -----
    Specification E 2.6, 2.7.  A half has the same order alone as in the order of all.
    """
    halves = sorted(set(table.random_subset.tolist())) if half_set == 0 else [half_set]
    orders = []
    for half in halves:
        order = np.flatnonzero(table.random_subset == half)
        if seed != 0:
            np.random.default_rng([abs(seed), half]).shuffle(order)
        orders.append(order[np.argsort(table.optics_group[order], kind="stable")])
    return np.concatenate(orders) if orders else np.empty(0, dtype=np.int64)
