"""Sums over particles from the numbers of parts, against loops (specification E 5.6, M 4.2)."""

from __future__ import annotations

import gc
import weakref
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from clrelion.device.session import DeviceSession
from clrelion.expectation import accumulate
from clrelion.expectation.accumulate import Accumulator
from clrelion.expectation.fine import PendingResults
from clrelion.expectation.images import ImagePower
from clrelion.expectation.optics_setup import OpticsSetup
from clrelion.expectation.part_numbers import PendingPart
from clrelion.expectation.sampling_tables import OrientationTables
from clrelion.expectation.settings import ExpectationSettings
from clrelion.expectation.stored_sums import PendingSums, StoredSums
from clrelion.io.particle_table import ParticleTable
from clrelion.maximization.sums import ParameterSums
from tests.expectation.small_run import optics_group, particle_table, room_for_results, small_run

N = 37


class Desk:
    """An accumulator, and what it adds the numbers of ``N`` particles with."""

    def __init__(self, session: DeviceSession, group: int, is_exact: bool) -> None:
        run = small_run(symmetry="C2")
        optics = [optics_group("first", 16, 2.0), optics_group("second", 20, 1.7)]
        self.settings: ExpectationSettings = run.settings
        self.table: ParticleTable = particle_table(optics, [group] * N)
        self.setup = OpticsSetup(session, self.settings, group, 2.0)
        self.tables = OrientationTables.create(session, self.settings, self.table)
        self.results = room_for_results(self.table)
        self.books = Accumulator(self.settings, self.table, self.results, is_exact)

    def add(self, of_part: Numbers, asked: list[str] | None = None) -> None:
        self.books.add(self.setup, of_part.part(asked), self.tables)


class Here:
    """Stands for a read that has arrived; notes in ``asked`` that somebody wants it."""

    def __init__(self, *values: NDArray[Any], name: str = "", asked: list[str] | None = None):
        self.values = list(values)
        self._name, self._asked = name, asked

    def result(self) -> list[NDArray[Any]]:
        if self._asked is not None:
            self._asked.append(self._name)
        return self.values


@dataclass(frozen=True)
class Numbers:
    """Numbers of images as the device gives them."""

    ids: NDArray[np.int64]
    offset_px: NDArray[np.float64]
    power: NDArray[np.float32]
    sums: NDArray[np.float32]
    poses: NDArray[np.int32]
    stored: NDArray[np.float32]
    n_significant: NDArray[np.int64]

    def chosen(self, images: NDArray[np.bool_]) -> Numbers:
        names = [field.name for field in fields(self) if field.name != "stored"]
        some = {name: getattr(self, name)[images] for name in names}
        return Numbers(**some, stored=self.stored[:, images])

    def part(self, asked: list[str] | None = None) -> PendingPart:
        reads: list[Any] = [
            Here(*values, name=name, asked=asked)
            for name, *values in (
                ("power", self.power),
                ("samples", self.sums, self.poses),
                ("stored", self.stored),
            )
        ]
        power, samples, stored = reads
        n = len(self.ids)
        return PendingPart(
            ids=self.ids,
            scale=np.ones(n),
            offset_px=self.offset_px,
            power=ImagePower(power, slice(0, n)),
            results=PendingResults(samples),
            stored=PendingSums([stored]),
            n_significant=self.n_significant,
            ctf2=None,
        )


def numbers(desk: Desk, seed: int = 0) -> Numbers:
    """Numbers of all particles, in some order."""
    rng = np.random.default_rng(seed)
    grid, box = desk.settings.orientation_grid, desk.setup.geometry.optics.box_px
    n_trans = len(desk.settings.translations_px(2.0, fine=True))

    def real(*shape: int) -> NDArray[np.float32]:
        return rng.uniform(0.5, 1.5, shape).astype(np.float32)

    most = (2, 4 * grid.n_dir, 2 * grid.n_psi, n_trans, 99)
    return Numbers(
        ids=rng.permutation(N),
        offset_px=rng.integers(-3, 4, (N, 2)).astype(np.float64),
        power=3 * real(N, box // 2 + 3),
        sums=real(N, 4),
        poses=rng.integers(0, most, (N, 5)).astype(np.int32),
        stored=0.3 * real(4, N, desk.setup.pixels.n_shells),
        n_significant=rng.integers(0, 50, N),
    )


def assert_same_bits(found: Desk, expected: Desk) -> None:
    for one, two in (
        (found.books.total(), expected.books.total()),
        (found.results, expected.results),
    ):
        for field in fields(one):
            values = getattr(one, field.name), getattr(two, field.name)
            np.testing.assert_array_equal(*values, err_msg=field.name)


@pytest.mark.parametrize("group", [0, 1])
@pytest.mark.parametrize("is_exact", [False, True])
@pytest.mark.parametrize("portions", [1, 2, 16])
def test_parts_do_not_change_a_bit(
    session: DeviceSession,
    monkeypatch: pytest.MonkeyPatch,
    group: int,
    is_exact: bool,
    portions: int,
) -> None:
    """However they come, and however many of them wait for others."""
    monkeypatch.setattr(accumulate, "_PORTIONS", portions)
    whole, split = (Desk(session, group, is_exact) for _ in range(2))
    whole.results.rank = split.results.rank = 2
    part = numbers(whole)
    whole.add(part)
    place = np.arange(N)
    for first, last in ((0, 1), (1, 20), (20, 20), (20, 23), (23, N)):
        split.add(part.chosen((place >= first) & (place < last)))
    assert_same_bits(split, whole)
    assert (whole.results.done_by == 2).all()


def test_nothing_of_a_group_is_held_once_it_is_settled(session: DeviceSession) -> None:
    """Tables on the device hang on it."""
    desk = Desk(session, 0, False)
    part = numbers(desk)
    desk.add(part.chosen(np.arange(N) < 1))
    assert not desk.results.is_done.any()
    desk.books.settle()
    assert desk.results.is_done.sum() == 1
    setup = weakref.ref(desk.setup)
    del desk.setup
    gc.collect()
    assert setup() is None


def test_images_without_a_finite_weight(session: DeviceSession) -> None:
    all_good, some_bad = (Desk(session, 0, False) for _ in range(2))
    part = numbers(all_good)
    good = np.arange(N) % 5 > 0
    all_good.add(part.chosen(good))
    sums = np.where(good[:, None], part.sums, (-np.inf, 0.0, 0.0, 0.0)).astype(np.float32)
    bad = replace(part, sums=sums, poses=np.where(good[:, None], part.poses, -1))
    some_bad.add(bad)
    assert_same_bits(some_bad, all_good)
    assert sorted(some_bad.books.skipped) == sorted(part.ids[~good].tolist())
    assert not some_bad.results.is_done[part.ids[~good]].any()


@pytest.mark.parametrize("group", [0, 1])
def test_sums_are_those_of_loops(session: DeviceSession, group: int) -> None:
    desk = Desk(session, group, False)
    part, s, g = numbers(desk), desk.settings, desk.setup.geometry
    desk.add(part)
    spectra, edge_power = part.power[:, :-2].astype(np.float64), part.power[:, -2]
    maximum, sum_weight, sum_omega, sum_offset2 = part.sums.T.astype(np.float64)
    stored = StoredSums.of(part.stored)
    total: ParameterSums = desk.books.total()
    n_shells = spectra.shape[1]
    shares = g.model_shares(n_shells, s.ori_size // 2 + 1) * g.remap**2
    noise = np.zeros(s.ori_size // 2 + 1)
    scale = np.zeros((2, len(s.scale_correction)))
    norms = []
    for k, i in enumerate(part.ids.tolist()):
        residual = spectra[k].copy()
        inner = stored.power.shape[1]
        residual[:inner] *= sum_omega[k]
        residual[:inner] += stored.power[k].astype(np.float64)
        residual[:inner] -= 2.0 * stored.cross[k].astype(np.float64)
        for shell, model in enumerate(g.model_shells(n_shells).tolist()):
            if model < len(noise):
                noise[model] += shares[shell] * residual[shell]
        old = desk.table.norm_correction[i] / s.avg_norm_correction
        norms.append(old * np.sqrt(2 * max(0.0, residual.sum())))
        assert desk.results.norm_correction[i] == pytest.approx(norms[-1], rel=1e-12)
        q = s.scale_correction[desk.table.scale_group[i]]
        scale[:, desk.table.scale_group[i]] += (
            stored.scale_cross[k] / q,
            stored.scale_power[k] / q**2,
        )
        assert desk.results.pmax[i] == 1.0 / sum_weight[k]
        shift = s.translations_px(g.optics.pixel_size_angst, fine=True)[part.poses[k, 3]]
        x, y = (part.offset_px[k] + shift) * g.optics.pixel_size_angst
        assert desk.results.origin_x_angst[i] == pytest.approx(x)
        assert desk.results.origin_y_angst[i] == pytest.approx(y)
        assert desk.results.class_number[i] == part.poses[k, 0]
        assert desk.results.n_significant[i] == part.n_significant[k]
    np.testing.assert_allclose(total.sigma2_noise[group], noise, rtol=1e-12)
    np.testing.assert_allclose([total.scale_xa, total.scale_aa], scale, rtol=1e-12)
    assert total.norm_sum == pytest.approx(sum(norms), rel=1e-12)
    assert total.sigma2_offset_sum == pytest.approx(sum_offset2.sum(), rel=1e-12)
    assert total.pmax_sum == pytest.approx((1.0 / sum_weight).sum(), rel=1e-12)
    assert total.sumw_group[group] == pytest.approx(sum_omega.sum(), rel=1e-12)
    inner, outer = desk.setup.power_sums(spectra)
    likelihood = desk.setup.log_likelihoods(
        inner, edge_power.astype(np.float64), outer, maximum, sum_weight
    )
    assert total.log_likelihood == pytest.approx(likelihood.sum(), rel=1e-12)
    np.testing.assert_array_equal(desk.results.log_likelihood[part.ids], likelihood)


@pytest.mark.parametrize("portions", [1, 16])
def test_what_the_device_makes_last_is_asked_for_last(
    session: DeviceSession, monkeypatch: pytest.MonkeyPatch, portions: int
) -> None:
    """By then, best poses have been written down, of a part that is large enough for itself."""
    monkeypatch.setattr(accumulate, "_PORTIONS", portions)
    desk = Desk(session, 0, False)
    part = numbers(desk).chosen(np.arange(N) < N - 1)
    written: list[bool] = []

    class Asked(list[str]):
        def append(self, name: str) -> None:
            super().append(name)
            written.append(bool((desk.results.turned_deg > 0.0).any()))

    asked = Asked()
    desk.add(part, asked)
    assert asked == ["power", "samples", "stored"]
    assert written == [False, False, portions == 16]
    assert desk.results.is_done.any() == (portions == 16)
    desk.books.settle()
    assert desk.results.is_done.sum() == N - 1
    assert (desk.results.turned_deg > 0.0).sum() > N // 2


def test_sums_of_several_runs_are_joined() -> None:
    of_runs = np.random.default_rng(0).random((3, 4, 3, 9)).astype(np.float32)
    reads: list[Any] = [Here(by_shell) for by_shell in of_runs]
    found = PendingSums(reads).result()
    expected = of_runs.astype(np.float64).sum(axis=0)
    np.testing.assert_allclose(found.power, expected[0], rtol=1e-15)
    np.testing.assert_allclose(found.cross, expected[1], rtol=1e-15)
    np.testing.assert_allclose(found.scale_power, expected[2].sum(axis=1), rtol=1e-14)
    np.testing.assert_allclose(found.scale_cross, expected[3].sum(axis=1), rtol=1e-14)
