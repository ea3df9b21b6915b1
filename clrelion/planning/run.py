"""The plan of a whole run: every iteration to come, the last one included."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from clrelion.device.memory import format_bytes
from clrelion.planning.images import bytes_of_maximization, bytes_of_volumes, images_room
from clrelion.planning.limits import DeviceLimits
from clrelion.planning.step import StepPlan, StepSize, plan_step, working_bytes
from clrelion.planning.volumes import VolumePlacement, place_volumes

__all__ = ["ForeseenIteration", "IterationPlan", "RunPlan", "plan_iteration", "plan_run"]

_STAGING_BYTES = 2**25
"""Host memory that images pass through on their way to a device, about."""


@dataclass(frozen=True)
class ForeseenIteration:
    """Largest sizes that an iteration can have.

    Attributes
    ----------
    number
        Of the iteration; the last one of auto-refine has the number in which it can come first.
    is_last
        Auto-refine's last, joined iteration.
    current_size
        Largest image size, px.
    sampling
        In words.
    steps
        Sizes of the expectation step of each optics group.
    """

    number: int
    is_last: bool
    current_size: int
    sampling: str
    steps: tuple[StepSize, ...]


@dataclass(frozen=True)
class IterationPlan:
    """Plan of an iteration.

    Attributes
    ----------
    foreseen
        What it is for.
    placement
        Where the volumes live.
    steps
        Plans of the optics groups.
    device_bytes, host_bytes
        Most that is held on the device at a time; most on the host, about.
    images_room
        Bytes on the device that images which stay there may take.
    """

    foreseen: ForeseenIteration
    placement: VolumePlacement
    steps: tuple[StepPlan, ...]
    device_bytes: int
    host_bytes: int
    images_room: int

    @property
    def fits(self) -> bool:
        """Whether even a single particle fits beside the volumes."""
        return all(step.batch.fits for step in self.steps)


@dataclass(frozen=True)
class RunPlan:
    """Plans of all iterations to come."""

    limits: DeviceLimits
    iterations: tuple[IterationPlan, ...]

    def lines(self) -> list[str]:
        """Text: a line for each run of iterations with equal plans, then the last one's buffers."""
        head = (
            f"Memory plan within {format_bytes(self.limits.budget_bytes)}; sizes are the largest "
            "that each iteration can have"
        )
        titles = ("iteration", "px", "sampling", "particles", "device", "host", "volumes")
        rows: list[tuple[str, ...]] = [titles]
        first = 0
        for place, plan in enumerate(self.iterations):
            following = self.iterations[place + 1 : place + 2]
            if following and _cells(following[0]) == _cells(plan) and not plan.foreseen.is_last:
                continue
            rows.append((self._numbers(first, place), *_cells(plan)))
            first = place + 1
        widths = [max(len(row[i]) for row in rows) for i in range(len(titles))]
        table = [
            "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip()
            for row in rows
        ]
        last = self.iterations[-1]
        details = [line for step in last.steps for line in step.lines()]
        return [head, *table, *details]

    def _numbers(self, first: int, last: int) -> str:
        one, two = self.iterations[first].foreseen, self.iterations[last].foreseen
        if two.is_last:
            return "last"
        return f"{one.number}" if one.number == two.number else f"{one.number}-{two.number}"


def _cells(plan: IterationPlan) -> tuple[str, ...]:
    batches = " + ".join(f"{s.batch.n_batches} x {s.batch.batch_size}" for s in plan.steps)
    return (
        str(plan.foreseen.current_size),
        plan.foreseen.sampling,
        batches if plan.fits else f"{batches} (MORE than the budget)",
        format_bytes(plan.device_bytes),
        format_bytes(plan.host_bytes),
        plan.placement.text(),
    )


def plan_run(limits: DeviceLimits, foreseen: Sequence[ForeseenIteration]) -> RunPlan:
    """Plan all iterations to come."""
    return RunPlan(limits, tuple(plan_iteration(limits, iteration) for iteration in foreseen))


def plan_iteration(limits: DeviceLimits, foreseen: ForeseenIteration) -> IterationPlan:
    """Plan one iteration: where the volumes live, then the batches beside them."""
    sizes = foreseen.steps[0].volumes
    needed = max(working_bytes(limits, step) for step in foreseen.steps)
    placement = place_volumes(limits, sizes, needed)
    room = images_room(limits, foreseen.steps, placement)
    images = sum(4 * s.n_particles * s.box_px**2 * sizes.n_halves for s in foreseen.steps)
    images = min(room, images)
    # what is on the device and not of the step: images, the other half-set's volumes
    others = bytes_of_volumes(sizes, placement) - placement.bytes - placement.brick_bytes
    held = images + others
    left = replace(limits, budget_bytes=max(1, limits.budget_bytes - held))
    steps = tuple(plan_step(left, step, placement) for step in foreseen.steps)
    expectation = held + max(step.batch.total_bytes for step in steps)
    maximization = images + bytes_of_maximization(limits, sizes, placement)
    return IterationPlan(
        foreseen,
        placement,
        steps,
        max(expectation, maximization),
        _host_bytes(limits, foreseen, placement, steps),
        room,
    )


def _host_bytes(
    limits: DeviceLimits,
    foreseen: ForeseenIteration,
    placement: VolumePlacement,
    steps: tuple[StepPlan, ...],
) -> int:
    """Bytes of the host: maps, their copy on the way to disk, volumes that wait, images read ahead.

    On a CPU device the plan's buffers are the host's as well.
    """
    sizes = foreseen.steps[0].volumes
    n_maps = sizes.n_classes * sizes.n_halves
    n_bytes = 8 * sizes.ori_size**3 * (2 * n_maps + 2)
    item = limits.real_bytes
    if not placement.stays:
        n_bytes += 4 * item * sizes.voxels * n_maps
        if placement.reference_tiles > 1 or not placement.maximizes_on_device:
            n_bytes += 2 * item * sizes.voxels * n_maps
    if not limits.is_cpu:
        return n_bytes + _STAGING_BYTES
    n_bytes += max(2 * 4 * s.batch.batch_size * f.box_px**2
                   for s, f in zip(steps, foreseen.steps, strict=True))  # fmt: skip
    return n_bytes + max(step.batch.total_bytes for step in steps)
