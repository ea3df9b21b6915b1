"""Deterministic sessions: the same bits however the particles come and whoever adds first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from clrelion.device.session import DeviceSession
from clrelion.errors import NumericalError
from clrelion.expectation import coarse_product, volumes
from clrelion.expectation.fixed_point import FixedPointSums, expected_totals
from clrelion.expectation.results import ExpectationResult, ParticleResults
from clrelion.expectation.step import ExpectationStep
from clrelion.expectation.volumes import BackprojectionVolumes
from clrelion.expectation.whole_sums import WholeUnits
from clrelion.maximization.sums import BackprojectionSums
from tests.expectation.small_run import SmallRun, claims_on_all, room_for_results, small_run
from tests.expectation.test_step import case, deviations
from tests.reference.fixed_to_real import fixed_to_real


def run_on_host(run: SmallRun, session: DeviceSession) -> tuple[ExpectationResult, ParticleResults]:
    """Run a step; the volumes come to the host."""
    found, particles = run.run(session)
    found.backprojections = [volume.to_host() for volume in found.backprojections]
    return found, particles


@pytest.fixture
def batch_size(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Set the number of particles of a batch in the following steps."""
    original = ExpectationStep._plan

    def change(n: int) -> None:
        def plan(step: ExpectationStep, *args: Any) -> Any:
            made = original(step, *args)
            return replace(made, batch=replace(made.batch, batch_size=n))

        monkeypatch.setattr(ExpectationStep, "_plan", plan)

    return change


def card(session: DeviceSession, precision: str = "single") -> DeviceSession:
    """Open a deterministic session that runs the kernels of graphics cards."""
    opened = DeviceSession(session.info, precision, deterministic=True)
    opened.is_cpu = False
    return opened


def assert_same_parameters(found: Any, expected: Any) -> None:
    for field in fields(found):
        one, two = getattr(found, field.name), getattr(expected, field.name)
        np.testing.assert_array_equal(one, two, err_msg=field.name)


def assert_same_bits(
    found: tuple[ExpectationResult, ParticleResults],
    expected: tuple[ExpectationResult, ParticleResults],
) -> None:
    assert_same_parameters(found[0].parameters, expected[0].parameters)
    assert_same_parameters(found[1], expected[1])
    for mine, other in zip(found[0].backprojections, expected[0].backprojections, strict=True):
        np.testing.assert_array_equal(mine.data, other.data)
        np.testing.assert_array_equal(mine.weight, other.weight)


@pytest.mark.parametrize("name", ["normal", "cross-correlation", "local", "premultiplied"])
def test_sums_are_right(session: DeviceSession, name: str) -> None:
    run, twin = case(name)
    found, particles = run_on_host(run, card(session))
    wrong = {k: v for k, v in deviations(found, particles, twin).items() if not v < 1e-4}
    assert wrong == {}


def test_sums_are_right_in_double_precision(session_double: DeviceSession) -> None:
    run, twin = case("padding 1.85")
    found, particles = run_on_host(run, card(session_double, "double"))
    wrong = {k: v for k, v in deviations(found, particles, twin).items() if not v < 1e-9}
    assert wrong == {}


@pytest.mark.parametrize("name", ["normal", "local", "premultiplied"])
def test_batches_do_not_change_a_bit(
    session: DeviceSession, batch_size: Callable[[int], None], name: str
) -> None:
    run, _ = case(name)
    opened = card(session)
    expected = run_on_host(run, opened)
    assert_same_bits(run_on_host(run, opened), expected)
    for n in (1, 2):
        batch_size(n)
        assert_same_bits(run_on_host(run, opened), expected)


def test_tiles(session: DeviceSession, batch_size: Callable[[int], None]) -> None:
    """Planes that come and go, with several batches that add to each."""
    run, twin = case("normal")
    opened = card(session)
    batch_size(2)
    results = []
    for _ in range(2):
        step = run.step(opened)
        step._placement = replace(step._placement, sum_planes=7, maximizes_on_device=False)
        results.append(run.results_of(step))
    wrong = {k: v for k, v in deviations(*results[0], twin).items() if not v < 1e-4}
    assert wrong == {}
    assert_same_bits(results[1], results[0])


def test_room_that_was_not_expected(
    session: DeviceSession,
    batch_size: Callable[[int], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Images far above the noise: what is there moves to the real volumes, and nothing is lost."""
    run, twin = case("normal")
    moved = []
    move = FixedPointSums.move_to

    def counted(sums: FixedPointSums, target: Any) -> None:
        moved.append(sums.scales)
        move(sums, target)

    monkeypatch.setattr(FixedPointSums, "move_to", counted)
    monkeypatch.setattr(volumes, "expected_totals", lambda *_: (1e-9, 1e-6))
    batch_size(1)
    found, particles = run_on_host(run, card(session))
    assert len(moved) >= 2
    assert moved[-1][0] < moved[0][0]
    wrong = {k: v for k, v in deviations(found, particles, twin).items() if not v < 1e-4}
    assert wrong == {}


def whole_step(
    run: SmallRun, session: DeviceSession, ids: list[int], placement: dict[str, Any]
) -> tuple[ExpectationResult, ParticleResults]:
    """Run a rank's part of a step, whose sums stay whole numbers."""
    step = run.step(session)
    step._stays_whole = True
    step._placement = replace(step._placement, **placement)
    results = room_for_results(run.table)
    claims = claims_on_all(np.array(ids), run.table.optics_group)
    return step.run(claims, results), results


PLACEMENTS = [
    {"stays": True},
    {"stays": False, "maximizes_on_device": False},
    {"stays": False, "maximizes_on_device": True, "sum_planes": 7},
]


@pytest.mark.parametrize("placement", PLACEMENTS)
@pytest.mark.parametrize("others", PLACEMENTS)
def test_sums_of_two_ranks(
    session: DeviceSession, placement: dict[str, Any], others: dict[str, Any]
) -> None:
    """Wherever the volumes of either live, their sum is that of one rank."""
    run, _ = case("normal")
    opened = card(session)
    everybody = sorted(run.images, key=lambda i: run.table.optics_group[i])
    expected, _ = run_on_host(run, opened)
    mine, _ = whole_step(run, opened, everybody[::2], placement)
    theirs, _ = whole_step(run, opened, everybody[1::2], others)
    edge, _, nx = BackprojectionVolumes(
        opened, run.settings, run.step(opened)._placement, 1
    ).shape
    for own, other in zip(mine.backprojections, theirs.backprojections, strict=True):
        assert WholeUnits.agree([own.units, other.units])
        for first in range(0, edge, 5):
            block = np.full((min(5, edge - first), edge, nx, 3), 7, dtype=np.int64)
            other.read_planes(first, first + len(block), block)
            own.add_planes(first, block)
    mine.parameters.add(theirs.parameters)
    assert_same_parameters(mine.parameters, expected.parameters)
    for own, one in zip(mine.backprojections, expected.backprojections, strict=True):
        sums = own.to_reals()
        sums = sums if isinstance(sums, BackprojectionSums) else sums.to_host()
        np.testing.assert_array_equal(sums.data, one.data)
        np.testing.assert_array_equal(sums.weight, one.weight)


def test_when_whole_numbers_are_added_as_they_are() -> None:
    one, two = WholeUnits((8.0, 2.0), (0.4, 0.1)), WholeUnits((8.0, 2.0), (0.5, 0.1))
    assert WholeUnits.agree([one, two])
    assert not WholeUnits.agree([one, two, two])  # no room for the sum
    assert not WholeUnits.agree([one, None])  # reals already
    assert not WholeUnits.agree([one, replace(two, scales=(8.0, 4.0))])


@pytest.mark.parametrize("deterministic", [False, True])
def test_the_form_of_the_coarse_product_is_not_measured(
    monkeypatch: pytest.MonkeyPatch, deterministic: bool
) -> None:
    session: Any = SimpleNamespace(
        is_cpu=False, precision="single", deterministic=deterministic, kept={},
        capabilities=SimpleNamespace(tensor="tf32"), info=SimpleNamespace(label="card"),
    )  # fmt: skip
    plain, tensor = SimpleNamespace(name="plain"), SimpleNamespace(name="tensor")
    monkeypatch.setattr(coarse_product, "CoarseProduct", lambda _session: plain)
    monkeypatch.setattr(coarse_product, "TensorProduct", lambda _session: tensor)
    # slower this time, and correct
    trials = {"tensor": (2.0, 1e-7), "plain": (1.0, 1e-7)}
    monkeypatch.setattr(coarse_product, "_trial", lambda _session, form: trials[form.name])
    chosen = coarse_product.chosen_product(session)
    assert chosen.name == ("tensor" if deterministic else "plain")
    trials["tensor"] = (0.5, 1.0)  # wrong
    session.kept.clear()
    assert coarse_product.chosen_product(session).name == "plain"


def test_expected_totals() -> None:
    """Every image brings less than what is expected, and not much less."""
    settings = small_run().settings
    data, weight = expected_totals(settings, 10)
    assert expected_totals(settings, 20) == (2 * data, 2 * weight)
    noise = settings.sigma2_noise[0, : settings.r_max + 1] * settings.sigma2_fudge
    scale = settings.scale_correction.max()
    assert data >= 10 * 2**8 * scale * np.sqrt(2 / noise.min())
    assert weight >= 10 * 2**3 * scale**2 / noise.min()
    loud = replace(settings, sigma2_noise=4 * settings.sigma2_noise)
    assert expected_totals(loud, 10) == pytest.approx((data / 2, weight / 4))
    silent = replace(settings, sigma2_noise=0 * settings.sigma2_noise)
    assert all(0 < total < np.inf for total in expected_totals(silent, 0))


class TestFixedPointSums:
    """Room and units of the whole numbers."""

    def test_units_are_as_fine_as_the_room_allows(self, session: DeviceSession) -> None:
        sums = FixedPointSums(session, 2, (3.0, 2.0**20))
        assert sums.scales == (2.0**60, 2.0**42)
        tiny = FixedPointSums(session, 2, (1e-300, 1e300))
        assert tiny.scales == (2.0**100, 2.0**-100)

    def test_what_is_there_moves_only_when_it_must(self, session: DeviceSession) -> None:
        sums = FixedPointSums(session, 2, (8.0, 8.0))
        host = np.array([[2**40, -(2**41), 2**42], [1, 2, 3]])
        session.copy_to_device(host, sums.values)
        target = session.zeros((2, 4), session.real)
        scales = sums.scales
        sums.reserve(np.array([[1.0, 0.25], [0.5, 0.25]]), target)  # 6 of 8, 2 of 8
        np.testing.assert_array_equal(session.to_host(sums.values), host)
        sums.reserve(np.array([[0.6, 0.0]]), target)
        np.testing.assert_array_equal(session.to_host(sums.values), 0)
        expected = fixed_to_real(host, 1 / scales[0], 1 / scales[1], np.zeros((2, 4)))
        np.testing.assert_allclose(session.to_host(target), expected, rtol=1e-6)
        assert sums.scales[0] < scales[0]
        assert sums.scales[1] == scales[1]

    def test_no_numbers(self, session: DeviceSession) -> None:
        sums = FixedPointSums(session, 2, (1.0, 1.0))
        with pytest.raises(NumericalError, match="NaN or infinity"):
            sums.reserve(np.array([[np.nan, 1.0]]), session.zeros((2, 4), session.real))
