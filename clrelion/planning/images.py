"""How much device memory the particle images that stay there may take."""

from __future__ import annotations

from collections.abc import Sequence

from clrelion.planning.limits import DeviceLimits
from clrelion.planning.step import StepSize, comfortable_bytes
from clrelion.planning.volumes import VolumePlacement, VolumeSizes

__all__ = ["bytes_of_maximization", "bytes_of_volumes", "images_room"]

_SHARE = 0.6
"""Share of the budget that images may take at most."""
_STEP_SHARE = 0.4
"""Share of what the volumes leave that the expectation step keeps at least."""


def images_room(
    limits: DeviceLimits, steps: Sequence[StepSize], placement: VolumePlacement
) -> int:
    """Give the bytes that images may take in an iteration.

    Volumes and the work of the step come first: images that are read again are read while the
    device works, but a step with small batches is slower throughout.

    Parameters
    ----------
    steps
        Sizes of the expectation step of each optics group.
    """
    if limits.is_cpu or placement.reference_tiles > 1 or placement.sum_tiles > 1:
        return 0
    sizes = steps[0].volumes
    free = limits.budget_bytes - bytes_of_volumes(sizes, placement)
    work = max(comfortable_bytes(limits, step, placement) for step in steps)
    beside_step = free - max(int(_STEP_SHARE * free), work)
    beside_maps = limits.budget_bytes - bytes_of_maximization(limits, sizes, placement)
    return max(0, min(beside_step, beside_maps, int(_SHARE * limits.budget_bytes)))


def bytes_of_volumes(sizes: VolumeSizes, placement: VolumePlacement) -> int:
    """Count the bytes of the volumes that are on the device during a step."""
    others = (sizes.n_halves - 1) * placement.bytes if placement.stays else 0
    return others + placement.bytes + placement.brick_bytes


def bytes_of_maximization(
    limits: DeviceLimits, sizes: VolumeSizes, placement: VolumePlacement
) -> int:
    """Count the bytes that the device needs to make the maps."""
    if not placement.maximizes_on_device:
        return 0
    if placement.stays:
        return sizes.bytes_of_all(limits.real_bytes)
    if limits.is_cpu:  # transforms are the host's
        return sizes.bytes_of_reconstruction(limits.real_bytes)
    return min(limits.budget_bytes, sizes.most_bytes_of_reconstruction(limits.real_bytes))
