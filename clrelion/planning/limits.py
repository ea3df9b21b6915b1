"""What a device can hold, as the planner sees it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from clrelion.device.memory import MemoryBudget
    from clrelion.device.session import DeviceSession

__all__ = ["DeviceLimits", "panel_width", "sums_are_fixed_point"]

_FIXED_POINT_BYTES = 3 * 8


@dataclass(frozen=True)
class DeviceLimits:
    """Limits of a device for one run.

    Attributes
    ----------
    budget_bytes
        Memory that the run may take.
    largest_buffer_bytes, largest_volume_bytes
        Largest single buffer for lists and images, and for padded volumes.
    is_cpu, n_compute_units
        Kind of device; on a CPU each unit may add to volumes of its own.
    real_bytes
        Bytes of a real number: 4 or 8.
    operand_copies
        How often the operands of the coarse products are in memory: 2 where they are split for
        tensor cores.
    fixed_point_bytes
        Bytes that a voxel of the sums takes during the expectation step beside its reals: of three
        64-bit whole numbers where those are added up, else 0.
    """

    budget_bytes: int
    largest_buffer_bytes: int
    largest_volume_bytes: int
    is_cpu: bool
    n_compute_units: int
    real_bytes: int
    operand_copies: int = 1
    fixed_point_bytes: int = 0

    @classmethod
    def of(cls, session: DeviceSession, budget: MemoryBudget) -> DeviceLimits:
        """Limits of a session's device within a budget."""
        return cls(
            budget_bytes=budget.bytes,
            largest_buffer_bytes=budget.largest_allocation_bytes,
            largest_volume_bytes=session.info.max_allocation_bytes,
            is_cpu=session.is_cpu,
            n_compute_units=session.n_compute_units,
            real_bytes=np.dtype(session.real).itemsize,
            operand_copies=1 if session.template_params["tensor"] == "none" else 2,
            fixed_point_bytes=_FIXED_POINT_BYTES if sums_are_fixed_point(session) else 0,
        )


def sums_are_fixed_point(session: DeviceSession) -> bool:
    """Whether back-projections are added up as whole numbers: in any order to the same sums.

    On CPUs too: workers that add to volumes of their own do so in an order that depends on how the
    particles come in batches.
    """
    return session.deterministic


def panel_width(is_cpu: bool) -> int:
    """Orientations in a panel of the coarse pass's matrix product."""
    return 32 if is_cpu else 128
