"""Sizes of an expectation step for the memory planner (`clrelion.planning`)."""

from __future__ import annotations

import math

from clrelion.expectation.settings import ExpectationSettings
from clrelion.planning.step import StepSize
from clrelion.planning.volumes import VolumeSizes

__all__ = ["orientations_of_a_cap", "step_size"]

_PRIOR_REACH_SIGMAS = 3.0
_LIST_MARGIN = 1.2


def step_size(
    settings: ExpectationSettings,
    n_halves: int,
    n_particles: int,
    box: int,
    n_list: int,
    n_coarse_padded: int,
    n_fine_padded: int,
    title: str,
) -> StepSize:
    """Collect the sizes of the expectation step of one optics group.

    Parameters
    ----------
    n_halves
        Half-sets of the run.
    n_particles
        Of the optics group in this half-set.
    box, n_list
        Image size, and length of the image's pixel list.
    n_coarse_padded, n_fine_padded
        Padded lengths of the scoring lists.
    """
    grid = settings.orientation_grid
    if settings.is_dense:
        n_orientations = settings.n_classes * grid.n_dir * grid.n_psi
    else:
        n_orientations = _orientations_per_image(settings)
    return StepSize(
        title=title,
        volumes=VolumeSizes(
            settings.ori_size,
            settings.padding_factor,
            settings.r_max,
            settings.n_classes,
            n_halves,
        ),
        n_particles=n_particles,
        box_px=box,
        n_list=n_list,
        n_coarse_padded=n_coarse_padded,
        n_fine_padded=n_fine_padded,
        n_orientations=n_orientations,
        is_dense=settings.is_dense,
        n_translations=settings.n_coarse_translations,
        n_child_orientations=settings.n_child_orientations,
    )


def _orientations_per_image(settings: ExpectationSettings) -> int:
    """Coarse orientations in an image's list of a sparse search, about and rather too many."""
    search, grid = settings.local_search, settings.orientation_grid
    n_alive = int((settings.pdf_class > 0).sum())
    if settings.keeps_orientation or search is None:
        return n_alive
    sigmas = search.sigma_rot_deg, search.sigma_tilt_deg, search.sigma_psi_deg
    return n_alive * orientations_of_a_cap(
        sigmas, grid.n_dir, grid.n_psi, settings.point_group.order
    )


def orientations_of_a_cap(
    sigmas_deg: tuple[float, float, float], n_dir: int, n_psi: int, symmetry_order: int
) -> int:
    """Orientations of a grid that a local search looks at, about and rather too many.

    Parameters
    ----------
    sigmas_deg
        Widths of the priors on rot, tilt and psi, degrees; <= 0: none.
    n_dir, n_psi
        Of the grid in the asymmetric unit.
    """

    def reach_deg(sigma_deg: float) -> float:
        return min(180.0, _PRIOR_REACH_SIGMAS * sigma_deg) if sigma_deg > 0 else 180.0

    of_direction = sigmas_deg[:2]
    # a prior on one of the two angles alone leaves a band and not a cap
    reach = reach_deg(max(of_direction)) if min(of_direction) > 0 else 180.0
    cap = math.sin(math.radians(reach) / 2.0) ** 2 * n_dir * symmetry_order
    window = reach_deg(sigmas_deg[2]) / 180.0 * n_psi
    return min(n_dir, math.ceil(_LIST_MARGIN * cap) + 1) * min(
        n_psi, math.ceil(_LIST_MARGIN * window) + 1
    )
