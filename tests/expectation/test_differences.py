"""Coarse comparisons and their significance against direct formulae (specification E 5.4, 5.5)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from clrelion.device.session import DeviceSession
from clrelion.expectation import differences
from clrelion.expectation.coarse_product import chosen_product
from clrelion.expectation.device_space import DeviceSpace
from clrelion.expectation.differences import CoarsePanels, CoarseSamples, dense_differences
from clrelion.expectation.optics_setup import OpticsSetup
from clrelion.expectation.projections import Projector
from clrelion.expectation.sampling_tables import OrientationTables
from clrelion.expectation.scoring import ScoringOperands
from clrelion.expectation.search_space import SearchSpace, dense_search_space
from clrelion.expectation.settings import CtfRules
from clrelion.expectation.sparse import sparse_differences
from clrelion.expectation.weights import find_significant
from tests.expectation.small_run import SmallRun, small_run
from tests.reference.expectation_step import Step, shifts

GROUP = 1


class Coarse:
    """Coarse pass of one optics group, by both ways."""

    def __init__(self, session: DeviceSession, run: SmallRun) -> None:
        s = self.s = run.settings
        self.session = session
        projector = Projector(session, s.references)
        self.setup = OpticsSetup(session, s, GROUP, s.padding_factor)
        tables = OrientationTables.create(session, s, run.table)
        self.ids = np.flatnonzero(run.table.optics_group == GROUP)
        images = np.stack([run.images[i] for i in self.ids.tolist()])
        batch = self.setup.preparation.prepare(self.ids, images, run.table)
        coarse = self.setup.coarse
        self.operands = ScoringOperands.create(s, batch, self.setup.pixels.n, coarse)
        self.space = dense_search_space(s, self.ids)
        self.n = s.n_classes * s.orientation_grid.n_dir * s.orientation_grid.n_psi
        self._projector, self._tables = projector, tables

    def dense(self, columns_per_run: int, keep: bool) -> NDArray[np.float64]:
        coarse = self.setup.coarse
        panels = CoarsePanels(
            chosen_product(self.session), self._projector, self._tables, self.n, coarse.pixels,
            coarse.pixel_xy, columns_per_run, keep,
        )  # fmt: skip
        for _ in range(2):  # the second time from what was kept
            samples = dense_differences(
                self.session, self.operands, len(self.ids), self.n, panels, coarse.pixels.n_padded
            )
        return self.table(samples)

    def sparse(self, rows_per_run: int) -> NDArray[np.float64]:
        """The dense space written as a list for each image."""
        n_images = len(self.ids)
        lists = SearchSpace(
            False,
            self.space.n_orientations,
            np.arange(n_images) * self.n,
            np.tile(self.space.log_prior, n_images),
            *(
                np.tile(values, n_images)
                for values in (
                    self.space.orientation_class,
                    self.space.orientation_dir,
                    self.space.orientation_psi,
                )
            ),
        )
        coarse = self.setup.coarse
        space = DeviceSpace.upload(self.session, lists)
        samples = sparse_differences(
            self.session, self.operands, space, self._projector, self._tables, coarse.pixels,
            coarse.pixel_xy, rows_per_run,
        )  # fmt: skip
        return self.table(samples)

    def table(self, samples: CoarseSamples) -> NDArray[np.float64]:
        """(image, orientation, translation)."""
        values = self.session.to_host(samples.values).ravel()
        e, t = np.arange(self.n)[:, None], np.arange(samples.n_trans)
        return np.stack([
            values[base + e * samples.orientation_stride + t * samples.translation_stride]
            for base in samples.sample_base
        ])  # fmt: skip


def direct(run: SmallRun, particle: int) -> NDArray[np.float64]:
    """diff2 or -correlation of all coarse samples, less what no reference has a part in."""
    s = run.settings
    step = Step(s, run.table, run.images, run.noise())
    g = s.geometry[GROUP]
    p = step.prepare(particle)
    size = g.coarse_size
    pixel = g.optics.pixel_size_angst
    t_px = np.array([t[0] for t in step.translations(fine=False)]) / pixel
    phases = shifts(t_px, g.optics.box_px, size)
    grid = s.orientation_grid
    out = np.array([
        step.diff2(p, g, GROUP, k, step.orientations(particle, d, psi, False)[0][0], size, phases)
        for k in range(2) for d in range(grid.n_dir) for psi in range(grid.n_psi)
    ])  # fmt: skip
    if s.do_cross_correlation:
        return out
    w = step.inverse_sigma2(g, GROUP, size)
    kx = np.arange(size // 2 + 1)
    ky = np.concatenate([np.arange(size // 2 + 1), np.arange(-size // 2 + 1, 0)])
    x = p.masked[ky % p.masked.shape[0]][:, kx]
    constant = 0.5 * (w * np.abs(x) ** 2).sum() + p.shell_power[g.image_size // 2 + 1 :].sum() / 2
    return np.asarray(out - constant)


@pytest.mark.parametrize("correlate", [False, True])
def test_dense_sparse_and_direct(session_double: DeviceSession, correlate: bool) -> None:
    changes: dict[str, Any] = {"do_cross_correlation": correlate}
    if correlate:
        # scores at the window that correlations are normalised by
        changes |= {"score_at_coarse_size": True, "ctf": CtfRules(True, False)}
    run = small_run(**changes)
    coarse = Coarse(session_double, run)
    expected = np.stack([direct(run, i) for i in coarse.ids.tolist()])
    for found in (
        coarse.dense(160, keep=True),
        coarse.dense(32, keep=False),
        coarse.sparse(10**6),
        coarse.sparse(1),
        coarse.sparse(17),
    ):
        np.testing.assert_allclose(found, expected, atol=1e-11 * np.abs(expected).max())


@pytest.mark.parametrize(
    ("n_trans", "n_children", "expected"),
    [(9, 1, 9), (21, 1, 7), (29, 1, 8), (1, 1, 1), (4.3, 4, 4), (8, 4, 8), (40, 4, 8), (16, 16, 8),
     (9, 9, 9), (3, 4, 4)],
)  # fmt: skip
def test_tiles_of_translations(n_trans: float, n_children: int, expected: int) -> None:
    """No more than nine, children together, the last tile about full."""
    assert differences._translations_of_tile(n_trans, n_children) == expected


@pytest.mark.parametrize(
    ("fraction", "limit"), [(0.999, 0), (0.5, 0), (0.9999999, 0), (0.999, 4), (0.999, 10**6)]
)
def test_significant_samples_against_a_sort(
    session_double: DeviceSession, fraction: float, limit: int
) -> None:
    """Samples of random weights; a class without probability takes no part."""
    session = session_double
    run = small_run(
        adaptive_fraction=fraction, max_significants=limit, pdf_class=np.array([0.0, 1.0])
    )
    s, ids = run.settings, np.array([0, 2, 4])
    space = dense_search_space(s, ids)
    n, n_trans = len(space.orientation_class), s.n_coarse_translations
    rng = np.random.default_rng(1)
    diff2 = rng.uniform(0, [[[4.0]], [[30.0]], [[900.0]]], (3, n, n_trans))
    log_translation = rng.normal(size=(3, n_trans))
    samples = CoarseSamples(
        session.to_device(diff2.ravel()), np.arange(3) * n * n_trans, n_trans, 1, n_trans
    )
    found = find_significant(
        session, s, samples, DeviceSpace.upload(session, space),
        session.to_device(log_translation),
    ).finish()  # fmt: skip
    trans_list, trans = session.to_host(found.trans_list), session.to_host(found.trans)
    image, orientation = session.to_host(found.image), session.to_host(found.orientation)
    assert not found.is_bad.any()
    np.testing.assert_array_equal(trans[found.block_start], found.sample_start)
    for i in range(3):
        log = space.log_prior[:, None] + log_translation[i] - diff2[i]
        weight = np.exp(log - log.max())
        order = np.argsort(-weight, axis=None)
        running = np.cumsum(weight.ravel()[order])
        last = int(np.argmax(running > fraction * weight.sum()))
        if limit > 0:
            last = min(last, limit - 1)
        expected = {divmod(int(p), n_trans) for p in order[: last + 1]}
        assert found.n_significant[i] == last + 1
        blocks = range(int(found.block_start[i]), int(found.block_start[i + 1]))
        assert {int(image[b]) for b in blocks} == {i}
        listed = [
            (int(orientation[b]), int(t))
            for b in blocks
            for t in trans_list[trans[b] : trans[b + 1]]
        ]
        assert len(listed) == len(expected)
        assert set(listed) == expected
        assert listed == sorted(listed)
        assert all(e >= n // 2 for e, _ in listed)


def test_an_image_without_finite_weights_is_bad(session_double: DeviceSession) -> None:
    session = session_double
    run = small_run()
    space = dense_search_space(run.settings, np.array([0, 2]))
    n, n_trans = len(space.orientation_class), run.settings.n_coarse_translations
    diff2 = np.random.default_rng(0).uniform(size=(2, n, n_trans))
    diff2[0] = np.inf
    samples = CoarseSamples(
        session.to_device(diff2.ravel()), np.arange(2) * n * n_trans, n_trans, 1, n_trans
    )
    found = find_significant(
        session, run.settings, samples, DeviceSpace.upload(session, space),
        session.zeros((2, n_trans), np.float64),
    ).finish()  # fmt: skip
    np.testing.assert_array_equal(found.is_bad, [True, False])
    np.testing.assert_array_equal(found.block_start[:2], [0, 0])
    assert found.n_significant[0] == 0


def test_cross_correlation_takes_the_best_sample_alone(session_double: DeviceSession) -> None:
    """The first one on ties; no priors but those that exclude."""
    session = session_double
    run = small_run(do_cross_correlation=True, pdf_class=np.array([0.0, 1.0]))
    space = dense_search_space(run.settings, np.array([0, 2]))
    n, n_trans = len(space.orientation_class), run.settings.n_coarse_translations
    values = np.random.default_rng(0).uniform(-0.5, 0, (2, n, n_trans))
    values[:, 3, 4] = -0.9  # of the dead class
    values[0, 100, 2] = values[0, 100, 5] = values[0, 130, 0] = -0.8
    values[1, n - 1, n_trans - 1] = -0.7
    samples = CoarseSamples(
        session.to_device(values.ravel()), np.arange(2) * n * n_trans, n_trans, 1, n_trans
    )
    found = find_significant(
        session, run.settings, samples, DeviceSpace.upload(session, space),
        session.zeros((2, n_trans), np.float64),
    ).finish()  # fmt: skip
    np.testing.assert_array_equal(session.to_host(found.orientation), [100, n - 1])
    np.testing.assert_array_equal(session.to_host(found.trans_list), [2, n_trans - 1])
    np.testing.assert_array_equal(found.n_significant, [1, 1])
    np.testing.assert_array_equal(found.block_start, [0, 1, 2])
    np.testing.assert_array_equal(found.sample_start, [0, 1, 2])
