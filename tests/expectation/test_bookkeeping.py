"""The thread that keeps the sums over particles."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from clrelion.device.session import DeviceSession
from clrelion.expectation import fine_part, step
from clrelion.expectation.accumulate import Accumulator
from clrelion.expectation.bookkeeping import Bookkeeping
from clrelion.expectation.fine import FineSamples, fine_weights
from clrelion.expectation.projections import Projector
from tests.expectation.small_run import claims_on_all, room_for_results, small_run
from tests.reference.held_device import card_on


class Sums:
    """Stands for the accumulator."""

    def __init__(self) -> None:
        self.added: list[int] = []
        self.threads: set[int] = set()
        self.settled: list[int] = []

    def add(self, setup: Any, part: int, tables: Any) -> None:
        if part < 0:
            raise ValueError("part below zero")
        time.sleep(0.001 * (part % 3))
        self.threads.add(threading.get_ident())
        self.added.append(part)

    def settle(self) -> None:
        self.settled.append(len(self.added))

    def skip(self, particle: int, reason: str, is_told: bool) -> None:
        self.added.append(-particle)


def test_parts_are_added_in_their_order() -> None:
    sums = Sums()
    accumulator: Any = sums
    nothing: Any = None
    with Bookkeeping(accumulator) as books:
        for part in range(20):
            books.add(nothing, part, nothing)  # type: ignore[arg-type]
            if part == 7:
                books.skip(99, "blank")
        found: Any = books.finish()
    assert found is sums
    assert sums.added == [*range(8), -99, *range(8, 20)]
    assert sums.settled == [21]
    assert sums.threads
    assert threading.get_ident() not in sums.threads


def test_what_goes_wrong_is_raised() -> None:
    sums: Any = Sums()
    nothing: Any = None

    def run() -> None:
        with Bookkeeping(sums) as books:
            books.add(nothing, -1, nothing)  # type: ignore[arg-type]
            books.finish()

    with pytest.raises(ValueError, match="below zero"):
        run()


def test_sums_that_wait_hold_neither_references_nor_weights(
    session: DeviceSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Maps are made meanwhile, which may need their memory."""
    projectors: list[weakref.ref[Projector]] = []
    weights: list[weakref.ref[FineSamples]] = []

    def noted_weights(*arguments: Any) -> FineSamples:
        samples = fine_weights(*arguments)
        weights.append(weakref.ref(samples))
        return samples

    def noted(*arguments: Any) -> Projector:
        made = Projector(*arguments)
        projectors.append(weakref.ref(made))
        return made

    go_on = threading.Event()
    add = Accumulator.add

    def held_back(*arguments: Any) -> None:
        assert go_on.wait(20)
        add(*arguments)

    monkeypatch.setattr(step, "Projector", noted)
    monkeypatch.setattr(fine_part, "fine_weights", noted_weights)
    monkeypatch.setattr(Accumulator, "add", held_back)
    run = small_run()
    work = run.step(card_on(session))
    work._placement = replace(work._placement, stays=True)
    order = np.array(sorted(run.images, key=lambda i: (run.table.optics_group[i], i)))
    results = room_for_results(run.table)
    started = work.start(claims_on_all(order, run.table.optics_group), results)
    del work
    gc.collect()
    try:
        assert [projector() for projector in projectors] == [None]
        assert {samples() for samples in weights} == {None}
        assert not results.is_done.any()
    finally:
        go_on.set()
        started.result()
    assert results.is_done[order].all()
