"""How much of a device a run may use, and how many items a launch takes (design section 4)."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import pyopencl as cl

from clrelion.errors import DeviceMemoryError

LARGEST_BUFFER_BYTES = 4 * 2**30 - 4096
"""Drivers are not at ease with buffers of 4 GB and more; only volumes may be larger."""

_MARGIN_FRACTION = 0.05
_MARGIN_BYTES = 256 * 10**6

_OUT_OF_MEMORY_CODES = frozenset(
    {
        cl.status_code.MEM_OBJECT_ALLOCATION_FAILURE,
        cl.status_code.OUT_OF_RESOURCES,
        cl.status_code.OUT_OF_HOST_MEMORY,
        cl.status_code.INVALID_BUFFER_SIZE,
    }
)


def raise_if_out_of_memory(what: str, error: cl.Error) -> None:
    """Raise DeviceMemoryError if ``error`` is one of the driver's out-of-memory errors."""
    if isinstance(error, cl.MemoryError) or error.code in _OUT_OF_MEMORY_CODES:
        raise DeviceMemoryError(
            f"{what}: the device has not enough memory ({error}); give --memory_limit a "
            "smaller value, or use a device with more memory"
        ) from error


class _Translation:
    """See `translated_allocation_errors`; a generator would cost thrice the time."""

    __slots__ = ("_what",)

    def __init__(self, what: str) -> None:
        self._what = what

    def __enter__(self) -> None: ...

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        if isinstance(error, cl.Error):
            raise_if_out_of_memory(self._what, error)


def translated_allocation_errors(what: str) -> AbstractContextManager[None]:
    """Turn the driver's out-of-memory errors into DeviceMemoryError.

    Drivers that allocate late (NVIDIA) report them at a launch or a copy.
    """
    return _Translation(what)


def format_bytes(n_bytes: float) -> str:
    """Write a byte count for people: ``1.5 GB`` (powers of 1000)."""
    for unit, size in (("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if n_bytes >= size:
            return f"{n_bytes / size:.1f} {unit}"
    return f"{int(n_bytes)} B"


@dataclass(frozen=True)
class MemoryBudget:
    """What a run may allocate on one device.

    Attributes
    ----------
    total_bytes : int
        Global memory.
    free_bytes : int
        Estimate of what is free now.
    margin_bytes : int
        Left alone for the driver and for other programs.
    limit_bytes : int or None
        The user's limit (``--memory_limit``).
    largest_allocation_bytes : int
        Largest single buffer to ask for.
    """

    total_bytes: int
    free_bytes: int
    margin_bytes: int
    limit_bytes: int | None
    largest_allocation_bytes: int

    @property
    def bytes(self) -> int:
        """Free memory less margin, at most the user's limit."""
        usable = max(0, self.free_bytes - self.margin_bytes)
        return usable if self.limit_bytes is None else min(usable, self.limit_bytes)

    def lines(self) -> list[str]:
        """Text for the plan that is printed before an iteration."""
        limit = "none" if self.limit_bytes is None else format_bytes(self.limit_bytes)
        return [
            f"memory: {format_bytes(self.bytes)} of {format_bytes(self.total_bytes)} "
            f"(free {format_bytes(self.free_bytes)}, margin {format_bytes(self.margin_bytes)}, "
            f"limit {limit}, largest buffer {format_bytes(self.largest_allocation_bytes)})"
        ]


def margin_of_total(total_bytes: int) -> int:
    """Memory of a device that is left alone, bytes."""
    return max(_MARGIN_BYTES, int(_MARGIN_FRACTION * total_bytes))


def budget_of_total(total_bytes: int, limit_bytes: int | None = None) -> MemoryBudget:
    """Give the budget of a device of which nothing is known but its memory."""
    margin = margin_of_total(total_bytes)
    return MemoryBudget(total_bytes, total_bytes, margin, limit_bytes, LARGEST_BUFFER_BYTES)


@dataclass(frozen=True)
class BufferNeed:
    """Memory of one named buffer: a fixed part and a part for each item of a batch.

    Attributes
    ----------
    name : str
    bytes_fixed, bytes_per_item : int
    largest_per_item : int, optional
        Bytes for each item of the largest single buffer, where there are several of the name.
    """

    name: str
    bytes_fixed: int = 0
    bytes_per_item: int = 0
    largest_per_item: int | None = None

    def total(self, n_items: int) -> int:
        """Bytes with ``n_items`` items."""
        return self.bytes_fixed + n_items * self.bytes_per_item


@dataclass(frozen=True)
class Plan:
    """How many items one launch takes.

    Attributes
    ----------
    title, item : str
        What is planned, and what an item is ("particle").
    n_items : int
        Items in all.
    batch_size : int
        Items in a batch, at least 1.
    buffers : tuple of BufferNeed
    budget_bytes : int
        What the plan had to fit into.
    fits : bool
        False if even one item exceeds the budget: allocation may fail.
    """

    title: str
    item: str
    n_items: int
    batch_size: int
    buffers: tuple[BufferNeed, ...]
    budget_bytes: int
    fits: bool

    @property
    def n_batches(self) -> int:
        """Number of batches."""
        return -(-self.n_items // self.batch_size)

    @property
    def total_bytes(self) -> int:
        """Bytes of all buffers at this batch size."""
        return sum(buffer.total(self.batch_size) for buffer in self.buffers)

    def lines(self) -> list[str]:
        """Text: batches, then the bytes of each buffer."""
        head = (
            f"{self.title}: {self.n_batches} x {self.batch_size} {self.item}s, "
            f"{format_bytes(self.total_bytes)} of {format_bytes(self.budget_bytes)}"
        )
        if not self.fits:
            head += "; MORE than the budget, one item does not fit"
        return [head] + [
            f"  {buffer.name:<32}{format_bytes(buffer.total(self.batch_size)):>10}"
            for buffer in self.buffers
        ]


def plan_batches(
    title: str,
    n_items: int,
    buffers: Sequence[BufferNeed],
    budget: MemoryBudget,
    *,
    item: str = "particle",
    reserved_bytes: int = 0,
    max_batch: int | None = None,
    multiple_of: int = 1,
) -> Plan:
    """Find the largest batch that fits the budget and the largest single buffer.

    Parameters
    ----------
    title, item : str
        For the text.
    n_items : int
        Items in all.
    buffers : sequence of BufferNeed
        Everything that lives on the device at the same time.
    budget : MemoryBudget
    reserved_bytes : int
        Part of the budget that others hold (references, sums).
    max_batch : int, optional
        Upper limit for other reasons than memory.
    multiple_of : int
        Round the batch down to a multiple of this, if at least one multiple fits.

    Returns
    -------
    Plan
    """
    available = max(0, budget.bytes - reserved_bytes)
    fixed = sum(buffer.bytes_fixed for buffer in buffers)
    per_item = sum(buffer.bytes_per_item for buffer in buffers)
    size = max(1, n_items)
    if per_item > 0:
        size = min(size, (available - fixed) // per_item)
    for buffer in buffers:
        single = buffer.bytes_per_item
        if buffer.largest_per_item is not None:
            single = buffer.largest_per_item
        if single > 0:
            room = budget.largest_allocation_bytes - buffer.bytes_fixed
            size = min(size, room // single)
    if max_batch is not None:
        size = min(size, max_batch)
    fits = size >= 1 and fixed + max(size, 1) * per_item <= available
    if size > multiple_of:
        size -= size % multiple_of
    return Plan(title, item, n_items, max(1, size), tuple(buffers), available, fits)
