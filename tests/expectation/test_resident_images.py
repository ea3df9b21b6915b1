"""Images that stay on the device."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from clrelion.device.memory import MemoryBudget
from clrelion.device.session import DeviceSession
from clrelion.errors import DeviceMemoryError
from clrelion.expectation.resident_images import ResidentImages
from clrelion.expectation.results import ParticleResults
from clrelion.expectation.step import ExpectationStep
from clrelion.parallel.sharing import claims_on_all
from tests.expectation.small_run import ROOMY, ImagesInMemory, small_run


class CountingImages(ImagesInMemory):
    """Counts the images read."""

    n_read = 0

    def read(self, ids: Any, *args: Any, **names: Any) -> Any:
        self.n_read += len(ids)
        return super().read(ids, *args, **names)


@pytest.fixture
def card(session_double: DeviceSession, monkeypatch: pytest.MonkeyPatch) -> DeviceSession:
    """Take the CPU for a device with memory of its own."""
    monkeypatch.setattr(session_double, "is_cpu", False)
    return session_double


def step_sums(
    session: DeviceSession, images: CountingImages, resident: ResidentImages | None
) -> Any:
    run = small_run()
    order = np.array(sorted(run.images, key=lambda i: (run.table.optics_group[i], i)))
    source: Any = images
    step = ExpectationStep(
        session, run.settings, run.table, source, ROOMY, resident=resident
    )
    claims = claims_on_all(order, run.table.optics_group)
    return step.run(claims, ParticleResults.of(run.table)).parameters.to_vector()


def test_second_step_reads_nothing_and_finds_the_same(card: DeviceSession) -> None:
    run = small_run()
    images = CountingImages(run.images)
    resident = ResidentImages(card, run.table, ROOMY, np.arange(run.table.n))
    expected = step_sums(card, images, None)
    n = images.n_read
    first = step_sums(card, images, resident)
    assert images.n_read == 2 * n
    second = step_sums(card, images, resident)
    assert images.n_read == 2 * n
    np.testing.assert_allclose(first, expected, rtol=1e-10)
    np.testing.assert_allclose(second, expected, rtol=1e-10)


def test_not_on_a_cpu_and_not_beyond_the_budget(
    session_double: DeviceSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = small_run().table
    monkeypatch.setattr(session_double, "is_cpu", True)
    assert not ResidentImages(session_double, table, ROOMY, np.arange(table.n)).is_on
    monkeypatch.setattr(session_double, "is_cpu", False)
    assert ResidentImages(session_double, table, ROOMY, np.arange(table.n)).is_on
    n_bytes = sum(4 * table.optics[g].box_px ** 2 for g in table.optics_group.tolist())
    tight = replace(ROOMY, limit_bytes=4 * n_bytes - 4)
    assert not ResidentImages(session_double, table, tight, np.arange(table.n)).is_on
    small_buffers: MemoryBudget = replace(ROOMY, largest_allocation_bytes=4 * 15**2)
    assert not ResidentImages(session_double, table, small_buffers, np.arange(table.n)).is_on


def test_several_buffers(card: DeviceSession) -> None:
    """Where not all images fit into one buffer, batches are cut at its end."""
    run = small_run()
    largest = 2 * 4 * 16**2 + 8  # two images of one optics group, one of the other
    images = CountingImages(run.images)
    budget: MemoryBudget = replace(ROOMY, largest_allocation_bytes=largest)
    resident = ResidentImages(card, run.table, budget, np.arange(run.table.n))
    expected = step_sums(card, images, None)
    step_sums(card, images, resident)
    n = images.n_read
    np.testing.assert_allclose(step_sums(card, images, resident), expected, rtol=1e-10)
    assert images.n_read == n
    members = np.flatnonzero(run.table.optics_group == run.table.optics_group[0])
    found = resident.find(members[::-1])
    assert found is not None
    assert len(found) == -(-len(members) // 2)
    for part in found:
        held = card.to_host(part.images)[part.places]
        np.testing.assert_array_equal(held, images.read(part.ids))


def test_shares_that_move(card: DeviceSession) -> None:
    """Particles that went to another rank make room for those that came."""
    run = small_run()
    images = CountingImages(run.images)
    members = np.flatnonzero(run.table.optics_group == run.table.optics_group[0])
    resident = ResidentImages(card, run.table, ROOMY, members[:2])  # room for one more
    resident.keep(members[:2], images.read(members[:2]))
    assert resident.find(members[:2]) is not None
    resident.retain(members[1:])
    assert resident.find(members[:1]) is None
    resident.keep(members, images.read(members))
    found = resident.find(members[1:])
    assert found is not None
    held = card.to_host(found[0].images)[found[0].places]
    np.testing.assert_array_equal(held, images.read(members[1:]))


def test_memory_that_runs_out_switches_it_off(
    card: DeviceSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = small_run()
    images = CountingImages(run.images)
    resident = ResidentImages(card, run.table, ROOMY, np.arange(run.table.n))

    write_rows = card.write_rows

    def full(array: Any, first: int, rows: Any) -> None:
        if rows.dtype == np.float32:
            raise DeviceMemoryError("full")
        write_rows(array, first, rows)

    monkeypatch.setattr(card, "write_rows", full)
    found = step_sums(card, images, resident)
    assert not resident.is_on
    np.testing.assert_allclose(found, step_sums(card, images, None), rtol=1e-10)
