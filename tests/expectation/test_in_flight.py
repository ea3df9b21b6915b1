"""Batches that are under way at the same time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from clrelion.device.session import DeviceSession
from clrelion.expectation.batch_work import BatchWork
from clrelion.expectation.in_flight import BatchesInFlight
from clrelion.expectation.step import ExpectationStep
from tests.expectation.test_step import case, deviations


@pytest.fixture
def card(session: DeviceSession) -> DeviceSession:
    """Session that runs the kernels of graphics cards, several batches at a time."""
    opened = DeviceSession(session.info)
    opened.is_cpu = False
    opened._transfers._waits_for_uploads = False
    return opened


@pytest.fixture
def one_particle_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    original = ExpectationStep._plan

    def plan(step: ExpectationStep, *args: Any) -> Any:
        made = original(step, *args)
        assert made.in_flight > 1
        return replace(made, batch=replace(made.batch, batch_size=1))

    monkeypatch.setattr(ExpectationStep, "_plan", plan)


@pytest.mark.usefixtures("one_particle_a_batch")
@pytest.mark.parametrize(
    "name", ["normal", "cross-correlation", "local", "premultiplied", "noise fill"]
)
def test_results_are_those_of_the_twin(
    card: DeviceSession, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: dict[int, int] = {}
    process = BatchWork.process

    def counted(work: BatchWork, *args: Any) -> None:
        thread = threading.get_ident()
        threads[thread] = threads.get(thread, 0) + 1
        process(work, *args)

    monkeypatch.setattr(BatchWork, "process", counted)
    run, twin = case(name)
    found, particles = run.run(card)
    found.backprojections = [volume.to_host() for volume in found.backprojections]
    wrong = {k: v for k, v in deviations(found, particles, twin).items() if not v < 1e-4}
    assert wrong == {}
    assert threading.get_ident() not in threads
    assert len(threads) > 1


def test_one_batch_works_while_another_waits(card: DeviceSession) -> None:
    """Both are inside at the same time, and only one of them has the turn."""
    both, holders = threading.Barrier(2, timeout=20), []

    def work() -> None:
        holders.append(card.turns.is_mine)
        with card.turns.given_up():
            both.wait()
        assert card.turns.is_mine
        time.sleep(0.01)
        assert card.turns.is_mine

    with BatchesInFlight(card, 2) as batches:
        for _ in range(4):
            batches.submit(work)
    assert holders == [True] * 4


def test_no_more_than_allowed(card: DeviceSession) -> None:
    inside, most, lock = 0, 0, threading.Lock()

    def work() -> None:
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
        with card.turns.given_up():
            time.sleep(0.02)
        with lock:
            inside -= 1

    with BatchesInFlight(card, 2) as batches:
        for _ in range(7):
            batches.submit(work)
    assert (inside, most) == (0, 2)


def test_answers_do_not_wait_for_work_that_came_later(card: DeviceSession) -> None:
    """What one thread reads is what it wrote, whatever the other does to the queue meanwhile."""
    wrong: list[int] = []

    def work(seed: int) -> None:
        rng = np.random.default_rng(seed)
        for _ in range(30):
            host = rng.integers(0, 1000, 257).astype(np.int32)
            array = card.to_device(host)
            host_copy = host.copy()
            host[:] = -1  # the device must have got the numbers as they were
            if not np.array_equal(card.to_host(array), host_copy):
                wrong.append(seed)
            if card.read_int(array, 256) != host_copy[256]:
                wrong.append(seed)

    def job(seed: int) -> Callable[[], None]:
        return lambda: work(seed)

    with BatchesInFlight(card, 2) as batches:
        for seed in range(4):
            batches.submit(job(seed))
    assert wrong == []


def test_an_error_ends_all_and_frees_the_session(card: DeviceSession) -> None:
    done = []

    def fails() -> None:
        raise ValueError("image 7")

    def works() -> None:
        card.finish()
        done.append(1)

    def run() -> None:
        with BatchesInFlight(card, 2) as batches:
            batches.submit(works)
            batches.submit(fails)

    with pytest.raises(ValueError, match="image 7"):
        run()
    assert done == [1]
    assert not card.turns.is_mine
    with card.turns.taken():  # nobody has kept it
        assert card.turns.is_mine


def test_what_is_kept_is_not_given_up(card: DeviceSession) -> None:
    with card.turns.taken(), card.turns.kept(), card.turns.given_up():
        assert card.turns.is_mine


def test_threads_share_the_time_of_the_rows(card: DeviceSession) -> None:
    """Two threads in two rows for the same time: half of it each, not all of it twice."""
    card.profile.reset()

    def job(row: str) -> Callable[[], None]:
        def work() -> None:
            with card.profile.timer(row), card.turns.given_up():
                time.sleep(0.1)

        return work

    started = time.perf_counter()
    with BatchesInFlight(card, 2) as batches:
        batches.submit(job("getImg"))
        batches.submit(job("store"))
    passed = time.perf_counter() - started
    seconds = card.profile.seconds()
    assert set(seconds) == {"getImg", "store"}
    assert 0.1 <= sum(seconds.values()) <= passed
    assert min(seconds.values()) > 0.02
