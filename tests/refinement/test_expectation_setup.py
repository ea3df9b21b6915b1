"""From the state of a run to what one expectation step needs."""

from __future__ import annotations

import contextlib
import gc
import weakref
from dataclasses import make_dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from clrelion.device.memory import MemoryBudget
from clrelion.errors import NumericalError, StarError
from clrelion.expectation.accumulate import empty_sums
from clrelion.expectation.results import RESULT_TYPES, ExpectationResult, ParticleResults
from clrelion.parallel.common_columns import CommonColumns
from clrelion.parallel.communicator import Communicator
from clrelion.parallel.exchange import BlockExchange
from clrelion.parallel.sharing import WorkSharing
from clrelion.particles.random_numbers import c_library_random
from clrelion.refinement import shared_expectation
from clrelion.refinement.ended_step import EndedStep
from clrelion.refinement.expectation_setup import (
    considered_classes,
    image_geometry,
    is_cross_correlation,
    reference_transforms,
)
from clrelion.refinement.processing_order import ProcessingOrder, order_of_run
from clrelion.refinement.progress import no_progress
from clrelion.refinement.schedule import ImageSizes
from clrelion.refinement.shared_expectation import SharedExpectation
from clrelion.refinement.state import RunState
from tests.refinement.small_state import PIXEL, N, S, half_model, options_of, run_state

SIZES = ImageSizes(S, (14, 18), (8, 10))


def test_geometry_of_other_boxes() -> None:
    state = run_state(1)
    state.table.optics[1] = replace(state.table.optics[1], box_px=20, pixel_size_angst=1.7)
    one, two = image_geometry(state, SIZES)
    assert (one.remap, one.image_size, one.coarse_size) == (1.0, 14, 8)
    assert two.remap == 20 * 1.7 / (N * PIXEL)
    assert (two.image_size, two.coarse_size) == (18, 10)
    assert one.response is None
    assert two.response is None
    assert two.amplitude == pytest.approx(1 / two.remap**2)


def test_geometry_with_two_detectors(tmp_path: Path) -> None:
    """MTF files are found beside the particle file that the run began with."""
    for name, last in (("a", 0.2), ("b", 0.6)):
        (tmp_path / f"{name}.star").write_text(
            f"data_\n\nloop_\n_rlnResolutionInversePixel\n_rlnMtfValue\n0 1\n0.5 {last}\n",
            encoding="utf-8",
        )
    state = run_state(1, image_folder=str(tmp_path))
    optics = state.table.optics
    optics[:] = [replace(o, mtf_file=f"{n}.star") for o, n in zip(optics, "ab", strict=True)]
    one, two = image_geometry(state, SIZES)
    assert one.response is not None
    assert two.response is not None
    nyquist = np.array([0.25])
    assert one.response.factors(nyquist)[0] == pytest.approx(0.4 / 0.2)
    assert two.response.factors(nyquist)[0] == pytest.approx(0.4 / 0.6)
    optics[1] = replace(optics[1], mtf_file="missing.star")
    with pytest.raises(StarError, match=r"missing\.star"):
        image_geometry(state, SIZES)


def test_dead_classes_have_no_reference() -> None:
    model = half_model(3)
    model.pdf_class[:] = [0.5, 0.0, 0.5]
    found = reference_transforms(model, options_of("--K", "3"), N, PIXEL, S)
    assert [r is None for r in found] == [False, True, False]
    assert found[0] is not None
    assert found[0].r_max == S // 2


def test_low_resolutions_left_out_of_the_comparison() -> None:
    """--strict_lowres_exp zeroes the references inside, tau2 stays."""
    model = half_model(1)
    rng = np.random.default_rng(0)
    model.maps = [rng.standard_normal((N, N, N))]
    plain, cut = (
        reference_transforms(model, options_of(*arguments), N, PIXEL, S)[0]
        for arguments in ((), ("--strict_lowres_exp", "10"))
    )
    assert plain is not None
    assert cut is not None
    centre = plain.data.shape[0] // 2
    assert plain.data[centre, centre, 5] != 0
    assert cut.data[centre, centre, 5] == 0  # within 2 rnd(32 / 10) = 6
    assert cut.data[centre, centre, 7] == plain.data[centre, centre, 7]
    np.testing.assert_array_equal(plain.power_spectrum, cut.power_spectrum)


def test_seeded_classes() -> None:
    state = run_state(3, seeding_iteration=2)
    state.order = ProcessingOrder(np.arange(state.table.n)[::-1].copy(), [])
    first = considered_classes(state, 1, 5)
    assert first is not None
    assert not first.any()
    seeded = considered_classes(state, 2, 5)
    assert seeded is not None
    # each place in the order has its seed
    drawn = [c_library_random(5 + i, 1)[0] % 3 for i in range(state.table.n)]
    assert seeded.tolist() == drawn[::-1]
    assert considered_classes(state, 3, 5) is None
    assert considered_classes(run_state(3), 1, 5) is None


def test_which_iterations_correlate() -> None:
    options = options_of("--firstiter_cc")
    assert is_cross_correlation(run_state(), options, 1)
    assert not is_cross_correlation(run_state(), options, 2)
    assert not is_cross_correlation(run_state(is_continued=True), options, 1)
    assert not is_cross_correlation(run_state(), options_of(), 1)
    assert is_cross_correlation(run_state(), options_of("--always_cc"), 7)


def started(result: ExpectationResult, closed: list[ExpectationResult] | None = None) -> Any:
    """A step that has been started, and is done; notes in ``closed`` that it has been closed."""
    return SimpleNamespace(
        volumes=result.backprojections,
        class_weights=lambda: result.parameters.pdf_class,
        result=lambda: result,
        close=lambda: None if closed is None else closed.append(result),
    )


class Settings:
    """Gives settings of half-sets; holds the references."""

    def __init__(self, settings: Any) -> None:
        self.settings = settings

    def __call__(self, i_half: int) -> Any:
        return self.settings


def shared_step(state: RunState, others: Any, is_last: bool) -> EndedStep:
    """Run the expectation step of both half-sets with settings of the smallest size."""
    anything: Any = object()
    values = {
        "n_classes": 1, "pdf_direction": np.ones((1, 12)), "geometry": [None],
        "scale_correction": np.ones(1), "ori_size": 16, "padding_factor": 2.0, "r_max": 4,
        "references": [],
    }  # fmt: skip
    settings: Any = make_dataclass("Settings", list(values))(**values)
    profile = SimpleNamespace(timer=lambda _: contextlib.nullcontext())
    session: Any = SimpleNamespace(is_cpu=True, real=np.float32, profile=profile)
    session.to_host_later = lambda: SimpleNamespace(result=lambda: [])
    budget = MemoryBudget(10**9, 10**9, 0, None, 10**9)
    orders = order_of_run(state, 1).halves
    sharing = WorkSharing(Communicator(), orders, state.table.optics_group, [1.0])
    comm = Communicator()
    exchange = BlockExchange(comm, 0)
    columns = CommonColumns(comm, state.table.n, RESULT_TYPES)
    resident: Any = SimpleNamespace(fill_room=lambda: None, is_empty=True)
    runs = SharedExpectation(
        comm, session, budget, anything, others, sharing, columns, exchange, resident
    )
    settings_of = Settings(settings)
    ended = runs.run(
        state, settings_of, settings, anything, orders, is_last, "Expectation", no_progress
    )
    # nothing that is left of the step holds the references: maps may need their memory
    held = weakref.ref(settings_of)
    del settings_of
    gc.collect()
    assert held() is None
    return ended


@pytest.mark.parametrize("is_last", [False, True])
def test_images_for_reconstruction_count_in_the_last_iteration_only(
    monkeypatch: pytest.MonkeyPatch, is_last: bool
) -> None:
    """And every half gets its own particles (specification E 2.2)."""
    steps: list[tuple[Any, Any]] = []
    closed: list[ExpectationResult] = []

    class Step:
        def __init__(self, *arguments: Any, stays_whole: bool) -> None:
            self.settings, self.others = arguments[1], arguments[6]

        def start(self, claims: Any, found: ParticleResults, count: Any) -> Any:
            ids: list[int] = []
            while (group := claims.next_group()) is not None:
                ids += claims.claim(group, 100).tolist()
            found.done_by[ids] = found.rank
            steps.append((self.others, sorted(ids)))
            sums = empty_sums(self.settings)
            sums.pdf_class[:] = len(ids)
            return started(ExpectationResult(sums, [anything], {ids[0]: "why"}), closed)

    monkeypatch.setattr(shared_expectation, "ExpectationStep", Step)
    anything: Any = object()
    others: Any = object()
    state = run_state(1, is_split=True)
    ended = shared_step(state, others, is_last)
    expected = others if is_last else None
    assert steps == [(expected, [0, 2, 5]), (expected, [1, 3, 4])]
    assert ended.volumes == [[anything], [anything]]
    assert [of_half.tolist() for of_half in ended.class_weights] == [[3.0], [3.0]]
    assert closed == []  # sums over particles are still being added up
    with ended:
        assert [sums.pdf_class.tolist() for sums in ended.parameters()] == [[3.0], [3.0]]
    assert len(closed) == 2
    assert list(state.skipped.values()) == ["why", "why"]


def test_no_particle_with_a_finite_weight_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    class Step:
        def __init__(self, *arguments: Any, stays_whole: bool) -> None:
            self.settings = arguments[1]

        def start(self, claims: Any, found: ParticleResults, count: Any) -> Any:
            return started(ExpectationResult(empty_sums(self.settings), [object()]), closed)

    closed: list[ExpectationResult] = []
    monkeypatch.setattr(shared_expectation, "ExpectationStep", Step)
    with pytest.raises(NumericalError, match="no particle has a finite weight; check the images"):
        shared_step(run_state(1), None, is_last=False)
    assert len(closed) == 1


def test_class_weights_are_those_of_all_ranks() -> None:
    of_ranks = [{0: np.array([1.0, 0.0])}, {1: np.array([0.0, 2.0])}, {0: np.array([0.5, 4.0])}]
    runs: Any = SharedExpectation.__new__(SharedExpectation)
    runs._comm = SimpleNamespace(allgather=lambda mine: [mine, *of_ranks[1:]])
    step: Any = SimpleNamespace(
        state=run_state(2, is_split=True),
        started=SimpleNamespace(class_weights=lambda: of_ranks[0]),
    )
    weights = runs._class_weights(step)
    assert [of_half.tolist() for of_half in weights] == [[1.5, 4.0], [0.0, 2.0]]
    # a half-set that nobody has anything of
    del of_ranks[1][1]
    with pytest.raises(NumericalError, match="no particle has a finite weight"):
        runs._class_weights(step)
