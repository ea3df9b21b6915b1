"""The plan of one expectation step: particles in a batch, orientations in a launch, volumes.

Under pressure the plan takes, in this order: fewer particles at a time, fewer orientations, the
volumes of one class at a time, tiles of a volume.
"""

from __future__ import annotations

from dataclasses import dataclass

from clrelion.device.memory import BufferNeed, MemoryBudget, Plan, format_bytes, plan_batches
from clrelion.planning.limits import DeviceLimits, panel_width
from clrelion.planning.volumes import VolumePlacement, VolumeSizes, place_volumes

__all__ = ["StepPlan", "StepSize", "comfortable_bytes", "plan_step", "working_bytes"]

_KEPT_SHARE = 0.25
"""Part of the free budget for slices that are kept the whole step (coarse panels, fine table)."""
_RUN_SHARE = 0.1
_FINE_SHARE = 0.25
_MAX_BATCH = 8192
_FEWEST_ROWS = 64
_FEW_PARTICLES = 8
"""As long as so many fit, all classes stay on the device: fewer would leave it idle."""
_LISTED_VALUES = 6
"""Of an image, a listed pixel: two complex transforms, the CTF and a spare one."""
_COMFORTABLE_PARTICLES = 1024
"""A batch takes some 10 ms of launches and waiting: little beside the work with so many."""
_WORK_SHARE = 0.125
"""Part of the budget that is never given to volumes that are cut into tiles."""


@dataclass(frozen=True)
class StepSize:
    """Sizes of an expectation step of one optics group.

    Attributes
    ----------
    title
        For the text.
    volumes
        Sizes of the padded volumes.
    n_particles, box_px
        Of the optics group in this half-set.
    n_list
        Pixels of an image that take part.
    n_coarse_padded, n_fine_padded
        Padded lengths of the lists of the two passes.
    n_orientations
        Coarse orientations of all classes together if all particles share them (dense search), or
        of one particle's list.
    is_dense
        All particles share all orientations.
    n_translations
        Coarse translations.
    n_child_orientations
        Fine orientations of a coarse one.
    """

    title: str
    volumes: VolumeSizes
    n_particles: int
    box_px: int
    n_list: int
    n_coarse_padded: int
    n_fine_padded: int
    n_orientations: int
    is_dense: bool
    n_translations: int
    n_child_orientations: int


@dataclass(frozen=True)
class StepPlan:
    """Sizes of the launches of one optics group.

    Attributes
    ----------
    batch
        Particles in a batch, and the bytes of the buffers.
    placement
        Where the volumes live.
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
    placement: VolumePlacement
    columns_per_run: int
    keep_panels: bool
    table_fits: bool
    rows_per_run: int
    fine_bytes: int
    largest_bytes: int
    is_dense: bool

    def lines(self) -> list[str]:
        """Text of the plan."""
        lines = [*self.batch.lines(), f"  volumes: {self.placement.text()}"]
        if self.is_dense:
            kept = "kept for the whole step" if self.keep_panels else "made again for each batch"
            lines.append(f"  coarse orientations a launch: {self.columns_per_run}, {kept}")
        else:
            lines.append(f"  coarse slices a launch: {self.rows_per_run}")
        lines.append(f"  fine pass: up to {format_bytes(self.fine_bytes)} a launch")
        return lines


def plan_step(
    limits: DeviceLimits, size: StepSize, placement: VolumePlacement | None = None
) -> StepPlan:
    """Plan the expectation step of one optics group.

    Parameters
    ----------
    placement
        Where the volumes are, if that is decided already (there are several optics groups).
    """
    if placement is None:
        placement = place_volumes(limits, size.volumes, working_bytes(limits, size))
    real_bytes, largest = limits.real_bytes, limits.largest_buffer_bytes
    n_all = size.n_orientations if size.is_dense else 0
    free = max(1, limits.budget_bytes - placement.bytes - placement.brick_bytes)
    width = panel_width(limits.is_cpu)
    n_columns = -(-n_all // width) * width
    column_bytes = _column_values(limits) * size.n_coarse_padded * real_bytes
    keep = n_columns * column_bytes <= min(_KEPT_SHARE * free, largest)
    run = n_columns if keep else int(min(_RUN_SHARE * free, largest) // column_bytes)
    run = max(width, run // width * width)
    row_bytes = 2 * size.n_fine_padded * real_bytes
    table_bytes = n_all * size.n_child_orientations * row_bytes
    table_fits = size.is_dense and table_bytes <= min(_KEPT_SHARE * free, largest)
    fine_bytes = int(_FINE_SHARE * free)
    buffers = [
        BufferNeed("references and sums", placement.bytes),
        BufferNeed("references in bricks", placement.brick_bytes),
        BufferNeed("coarse slices", run * column_bytes if size.is_dense else 0),
        BufferNeed("fine slices (table)", table_bytes if table_fits else 0),
        BufferNeed("fine pass", fine_bytes),
        *_buffers_of_particles(limits, size),
    ]
    in_one = max(1, _samples_bytes(limits, size), _shifted_bytes(limits, size))
    batch = plan_batches(
        size.title,
        size.n_particles,
        [b for b in buffers if b.total(1)],
        MemoryBudget(
            limits.budget_bytes, limits.budget_bytes, 0, None, max(largest, placement.bytes + 1)
        ),
        max_batch=min(_MAX_BATCH, max(1, largest // in_one)),
    )
    sparse_run = int(min(_RUN_SHARE * free, largest) // (2 * size.n_coarse_padded * real_bytes))
    return StepPlan(
        batch=batch,
        placement=placement,
        columns_per_run=run,
        keep_panels=keep,
        table_fits=table_fits,
        rows_per_run=max(_FEWEST_ROWS, sparse_run),
        fine_bytes=fine_bytes,
        largest_bytes=largest,
        is_dense=size.is_dense,
    )


def working_bytes(limits: DeviceLimits, size: StepSize) -> int:
    """Count what a small batch needs beside the volumes: few particles, few orientations."""
    n_particles = min(_FEW_PARTICLES, max(1, size.n_particles))
    particles = sum(b.total(n_particles) for b in _buffers_of_particles(limits, size))
    if size.is_dense:
        slices = panel_width(limits.is_cpu) * _column_values(limits) * size.n_coarse_padded
    else:
        slices = _FEWEST_ROWS * 2 * size.n_coarse_padded
    fine = size.n_child_orientations * 2 * size.n_fine_padded
    needed = particles + (slices + fine) * limits.real_bytes
    return max(needed, int(_WORK_SHARE * limits.budget_bytes))


def comfortable_bytes(limits: DeviceLimits, size: StepSize, placement: VolumePlacement) -> int:
    """Count what a step needs beside the volumes to be no slower for want of memory.

    The slices that it would keep if it had the whole budget, which are a share of what is free, and
    a batch of many particles.
    """
    at_best = plan_step(limits, size, placement)
    n_particles = min(_COMFORTABLE_PARTICLES, at_best.batch.batch_size)
    particles = sum(b.total(n_particles) for b in _buffers_of_particles(limits, size))
    fixed = {b.name: b.bytes_fixed for b in at_best.batch.buffers}
    coarse, table = fixed.get("coarse slices", 0), fixed.get("fine slices (table)", 0)
    kept = max(table, coarse if at_best.keep_panels else 0)
    return int(max((coarse + table + particles) / (1.0 - _FINE_SHARE), kept / _KEPT_SHARE))


def _samples_bytes(limits: DeviceLimits, size: StepSize) -> int:
    n_orientations = size.n_orientations
    if size.is_dense:
        width = panel_width(limits.is_cpu)
        n_orientations = -(-n_orientations // width) * width
    return n_orientations * size.n_translations * limits.real_bytes


def _shifted_bytes(limits: DeviceLimits, size: StepSize) -> int:
    values = 2 * size.n_translations * size.n_coarse_padded * limits.operand_copies
    return values * limits.real_bytes


def _column_values(limits: DeviceLimits) -> int:
    """Values a pixel of a packed coarse slice: real and imaginary part, and the power."""
    return 2 * limits.operand_copies + 1


def _buffers_of_particles(limits: DeviceLimits, size: StepSize) -> list[BufferNeed]:
    samples = _samples_bytes(limits, size)
    # other devices begin a batch before the one before is done: its images and candidates stay
    before = (
        []
        if limits.is_cpu
        else [
            BufferNeed("images before", 0, _LISTED_VALUES * size.n_list * limits.real_bytes),
            BufferNeed("candidate weights before", 0, samples),
        ]
    )
    return [
        *before,
        _images(limits, size),
        BufferNeed("shifted images", 0, _shifted_bytes(limits, size)),
        BufferNeed("squared differences", 0, samples),
        BufferNeed("candidate weights", 0, samples),
        BufferNeed("norms and maxima", 0, 2 * samples // max(1, size.n_translations)),
    ]


def _images(limits: DeviceLimits, size: StepSize) -> BufferNeed:
    """Raw images, shifted and masked ones, their transforms and listed pixels.

    Raw twice: the next batch is on its way.
    """
    pixels = size.box_px * size.box_px
    raw, real = 4 * pixels, pixels * limits.real_bytes
    transform = size.box_px * (size.box_px // 2 + 1) * 2 * limits.real_bytes
    listed = size.n_list * limits.real_bytes
    total = 2 * raw + 2 * real + 2 * transform + _LISTED_VALUES * listed
    return BufferNeed("images", 0, total, max(raw, real, transform, 2 * listed))
