"""Budgets, plans, halving, and allocations of a session."""

from __future__ import annotations

import numpy as np
import pyopencl as cl
import pytest

from clrelion.device import memory
from clrelion.device.memory import BufferNeed, MemoryBudget, plan_batches
from clrelion.device.session import DeviceSession
from clrelion.errors import DeviceMemoryError


def budget(n_bytes: int, largest: int = 10**12) -> MemoryBudget:
    return MemoryBudget(10 * n_bytes, 10 * n_bytes, 0, n_bytes, largest)


def test_budget() -> None:
    assert MemoryBudget(100, 80, 10, None, 50).bytes == 70
    assert MemoryBudget(100, 80, 10, 60, 50).bytes == 60
    assert MemoryBudget(100, 5, 10, None, 50).bytes == 0
    whole = memory.budget_of_total(24 * 10**9, 12 * 10**9)
    assert (whole.bytes, whole.margin_bytes) == (12 * 10**9, 1.2 * 10**9)
    assert memory.budget_of_total(10**9).bytes == 744 * 10**6
    assert "limit 12.0 GB" in MemoryBudget(10**12, 10**12, 0, 12 * 10**9, 10**9).lines()[0]


BUFFERS = (BufferNeed("images", 0, 100), BufferNeed("reference", 1000), BufferNeed("sums", 50, 25))


def test_plan_fills_the_budget() -> None:
    plan = plan_batches("E-step", 1000, BUFFERS, budget(10_000))
    assert plan.fits
    assert plan.batch_size == (10_000 - 1050) // 125
    assert plan.total_bytes <= 10_000 < plan.total_bytes + 125
    assert plan.n_batches == -(-1000 // plan.batch_size)
    lines = plan.lines()
    assert lines[0].startswith(f"E-step: {plan.n_batches} x {plan.batch_size} particles")
    assert [line.split()[0] for line in lines[1:]] == ["images", "reference", "sums"]


def test_plan_limits() -> None:
    assert plan_batches("", 7, BUFFERS, budget(10**6)).batch_size == 7
    assert plan_batches("", 999, BUFFERS, budget(10**6), max_batch=30).batch_size == 30
    assert (
        plan_batches("", 999, BUFFERS, budget(10**6), max_batch=30, multiple_of=8).batch_size == 24
    )
    assert plan_batches("", 999, BUFFERS, budget(10**6), max_batch=5, multiple_of=8).batch_size == 5
    assert plan_batches("", 999, BUFFERS, budget(10**6, largest=1000)).batch_size == 10
    # several buffers of one name: the largest of them must fit, not all in one
    several = [BufferNeed("images", 50, 100, largest_per_item=30), BufferNeed("sums", 1000, 25)]
    assert plan_batches("", 999, several, budget(10**6, largest=1500)).batch_size == 20
    assert plan_batches("", 999, several, budget(10**6, largest=1400)).batch_size == 16
    assert plan_batches("", 999, several[:1], budget(10**6, largest=1400)).batch_size == 45
    reserved = plan_batches("", 999, BUFFERS, budget(10_000), reserved_bytes=5000)
    assert reserved.batch_size == (5000 - 1050) // 125


def test_plan_that_does_not_fit_says_so() -> None:
    plan = plan_batches("E-step", 10, BUFFERS, budget(1100))
    assert (plan.batch_size, plan.fits) == (1, False)
    assert "MORE than the budget" in plan.lines()[0]


def test_only_memory_errors_are_translated() -> None:
    class Failure(cl.Error):
        def __init__(self, code: cl.status_code) -> None:
            self.status = code

        code = property(lambda self: self.status)

        def __str__(self) -> str:
            return "failure"

    with (
        pytest.raises(DeviceMemoryError, match="not enough memory"),
        memory.translated_allocation_errors("kernel f"),
    ):
        raise Failure(cl.status_code.OUT_OF_RESOURCES)
    with pytest.raises(Failure), memory.translated_allocation_errors("kernel f"):
        raise Failure(cl.status_code.INVALID_KERNEL_ARGS)


def test_session_counts_and_reports_memory(session: DeviceSession) -> None:
    before = session.allocated_bytes
    array = session.empty((1000, 1000), np.float32)
    assert session.allocated_bytes == before + 4_000_000
    del array
    assert session.allocated_bytes == before
    session.release_unused()
    total = session.memory_budget()
    assert 0 < total.bytes <= total.total_bytes
    assert 0 < total.largest_allocation_bytes <= session.info.max_allocation_bytes
    assert session.memory_budget(10**6).bytes == 10**6


def test_impossible_allocation(session: DeviceSession) -> None:
    with pytest.raises(DeviceMemoryError, match="--memory_limit"):
        session.empty(4 * session.info.global_memory_bytes, np.uint8)


def test_copies(session: DeviceSession) -> None:
    host = np.arange(24, dtype=np.float64).reshape(2, 3, 4)
    device = session.to_device(host.transpose(2, 0, 1), np.float32)
    assert device.shape == (4, 2, 3)
    assert device.dtype == np.float32
    np.testing.assert_array_equal(session.to_host(device), host.transpose(2, 0, 1))
    np.testing.assert_array_equal(session.to_host(session.zeros((3, 5), np.int16)), 0)
    np.testing.assert_array_equal(session.to_host(session.zeros(3, np.uint8)), 0)
    assert session.to_host(session.to_device(np.zeros((0, 4)))).shape == (0, 4)
    session.copy_to_device(np.full(5, 7, np.float32), device)
    overwritten = host.transpose(2, 0, 1).reshape(-1).copy()
    overwritten[:5] = 7
    np.testing.assert_array_equal(session.to_host(device).reshape(-1), overwritten)
    with pytest.raises(TypeError, match="C-contiguous float32"):
        session.copy_to_device(np.zeros(5), device)
