"""How many particles, orientations and rows a launch takes on this device (design.md 4).

In: the sizes of the job and the device's budget.  Out: `ExpectationPlan`, printed before it is
used.  Results do not depend on it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from clrelion.device.memory import BufferNeed, MemoryBudget, Plan, format_bytes, plan_batches
from clrelion.expectation.images import memory_per_image
from clrelion.expectation.projections import panel_width
from clrelion.expectation.settings import ExpectationSettings
from clrelion.expectation.volumes import number_of_workers
from clrelion.maximization.sums import centred_shape

if TYPE_CHECKING:
    from clrelion.device.session import DeviceSession

__all__ = ["ExpectationPlan", "plan_expectation"]

_KEPT_SHARE = 0.25
"""Part of the free budget for slices that are kept the whole step (coarse panels, fine table)."""
_RUN_SHARE = 0.1
_FINE_SHARE = 0.25
_MAX_BATCH = 8192
_PRIOR_REACH_SIGMAS = 3.0
_LIST_MARGIN = 1.2


@dataclass(frozen=True)
class ExpectationPlan:
    """Sizes of the launches of one optics group.

    Attributes
    ----------
    batch
        Particles in a batch, and the bytes of the buffers.
    columns_per_run
        Coarse orientations projected at a time (dense search).
    keep_panels
        All coarse slices stay on the device.
    table_fits
        The slices of all fine orientations fit on the device.
    rows_per_run
        Coarse slices of a sparse search made at a time.
    fine_bytes
        Room for the fine pass of a part of a batch.
    largest_bytes
        Largest single buffer.
    """

    batch: Plan
    columns_per_run: int
    keep_panels: bool
    table_fits: bool
    rows_per_run: int
    fine_bytes: int
    largest_bytes: int
    is_dense: bool

    def lines(self) -> list[str]:
        """Text of the plan."""
        lines = self.batch.lines()
        if self.is_dense:
            kept = "kept for the whole step" if self.keep_panels else "made again for each batch"
            lines.append(f"  coarse orientations a launch: {self.columns_per_run}, {kept}")
        else:
            lines.append(f"  coarse slices a launch: {self.rows_per_run}")
        lines.append(f"  fine pass: up to {format_bytes(self.fine_bytes)} a launch")
        return lines


def plan_expectation(
    session: DeviceSession,
    settings: ExpectationSettings,
    budget: MemoryBudget,
    n_particles: int,
    box: int,
    n_list: int,
    n_coarse_padded: int,
    n_fine_padded: int,
    title: str,
) -> ExpectationPlan:
    """Plan the expectation step of one optics group.

    Parameters
    ----------
    budget
        Bytes that may be used, and the largest single buffer.
    n_particles
        Of the optics group in this half-set.
    box, n_list
        Image size, and length of the image's pixel list.
    n_coarse_padded, n_fine_padded
        Padded lengths of the scoring lists.
    """
    real_bytes = np.dtype(session.real).itemsize
    grid = settings.orientation_grid
    n_trans = settings.n_coarse_translations
    n_all = settings.n_classes * grid.n_dir * grid.n_psi if settings.is_dense else 0
    volume = int(np.prod(centred_shape(settings.padding_factor, settings.r_max)))
    workers = max(1, number_of_workers(session, settings))
    fixed = settings.n_classes * volume * real_bytes * (2 + 4 * workers)
    free = max(1, budget.bytes - fixed)
    largest = budget.largest_allocation_bytes

    width = panel_width(session)
    n_columns = -(-n_all // width) * width
    column_bytes = 3 * n_coarse_padded * real_bytes
    keep = n_columns * column_bytes <= min(_KEPT_SHARE * free, largest)
    run = n_columns if keep else int(min(_RUN_SHARE * free, largest) // column_bytes)
    run = max(width, run // width * width)
    row_bytes = 2 * n_fine_padded * real_bytes
    table_bytes = n_all * settings.n_child_orientations * row_bytes
    table_fits = settings.is_dense and table_bytes <= min(_KEPT_SHARE * free, largest)

    per_image = n_columns if settings.is_dense else _orientations_per_image(settings)
    samples = per_image * n_trans * real_bytes
    shifted = 2 * n_trans * n_coarse_padded * real_bytes
    buffers = [
        BufferNeed("references and sums", fixed),
        BufferNeed("coarse slices", run * column_bytes if settings.is_dense else 0),
        BufferNeed("fine slices (table)", table_bytes if table_fits else 0),
        BufferNeed("fine pass", int(_FINE_SHARE * free)),
        BufferNeed("images", 0, memory_per_image(box, n_list, real_bytes)),
        BufferNeed("shifted images", 0, shifted),
        BufferNeed("squared differences", 0, samples),
        BufferNeed("candidate weights", 0, samples),
        BufferNeed("norms and maxima", 0, 2 * per_image * real_bytes),
    ]
    batch = plan_batches(
        title,
        n_particles,
        [b for b in buffers if b.total(1)],
        MemoryBudget(budget.bytes, budget.bytes, 0, None, max(largest, fixed + 1)),
        max_batch=min(_MAX_BATCH, max(1, (largest // max(1, samples, shifted)))),
    )
    sparse_run = int(min(_RUN_SHARE * free, largest) // (2 * n_coarse_padded * real_bytes))
    return ExpectationPlan(
        batch=batch,
        columns_per_run=run,
        keep_panels=keep,
        table_fits=table_fits,
        rows_per_run=max(64, sparse_run),
        fine_bytes=int(_FINE_SHARE * free),
        largest_bytes=largest,
        is_dense=settings.is_dense,
    )


def _orientations_per_image(settings: ExpectationSettings) -> int:
    """Coarse orientations in an image's list of a sparse search, about and rather too many."""
    search, grid = settings.local_search, settings.orientation_grid
    n_alive = int((settings.pdf_class > 0).sum())
    if settings.keeps_orientation or search is None:
        return n_alive

    def reach_deg(sigma_deg: float) -> float:
        return min(180.0, _PRIOR_REACH_SIGMAS * sigma_deg) if sigma_deg > 0 else 180.0

    sigmas = (search.sigma_rot_deg, search.sigma_tilt_deg)
    # a prior on one of the two angles alone leaves a band and not a cap
    reach = reach_deg(max(sigmas)) if min(sigmas) > 0 else 180.0
    n_sphere = grid.n_dir * settings.point_group.order
    cap = math.sin(math.radians(reach) / 2.0) ** 2 * n_sphere
    n_dir = min(grid.n_dir, math.ceil(_LIST_MARGIN * cap) + 1)
    window = reach_deg(search.sigma_psi_deg) / 180.0 * grid.n_psi
    n_psi = min(grid.n_psi, math.ceil(_LIST_MARGIN * window) + 1)
    return n_alive * n_dir * n_psi
