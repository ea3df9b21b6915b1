"""Expected accuracies against a loop over particles (specification E C.3, F.3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from clrelion.device.session import DeviceSession
from clrelion.expectation import trials
from clrelion.expectation.accuracy import TrialErrors, expected_accuracies, try_particles
from clrelion.orientations.euler import euler_matrix
from clrelion.particles.random_numbers import c_library_random
from tests.expectation.small_run import SmallRun, small_run
from tests.reference.expectation_step import Step, counted_shells, frequencies, project, rnd
from tests.reference.held_device import card_on, while_held

IDS = np.array([3, 0, 1, 2])


def increment(error: float, steps: Sequence[tuple[float, float]], largest: float) -> float:
    return next((step for limit, step in steps if error < limit), largest)


ROTATION = [(0.2, 0.05), (1, 0.1), (2, 0.2), (5, 0.5), (10, 1), (20, 2)]
SHIFT = [(1, 0.1), (2, 0.2), (5, 0.5), (10, 1)]


class Trial:
    """One particle in one class."""

    def __init__(self, run: SmallRun, i: int, k: int) -> None:
        s, t = run.settings, run.table
        group = int(t.optics_group[i])
        step = Step(s, t, run.images, run.noise())
        self.g = g = s.geometry[group]
        self.ctf = step.ctf(i, g) / g.remap**2
        self.reference = s.references[k]
        self.noise = s.sigma2_fudge * step.own_noise(g, group)
        self.angles = [float(t.rot_deg[i]), float(t.tilt_deg[i]), float(t.psi_deg[i])]
        self.shell = counted_shells(g.image_size)
        self.model = rnd(self.shell / g.remap)
        self.scored = self.shell > 0
        if s.score_at_coarse_size:
            # projections of that size end at its border
            kx, ky = frequencies(g.image_size)
            self.scored &= kx**2 + ky**2 <= (g.coarse_size // 2) ** 2
        self.draw = c_library_random(s.random_seed + i, 1)[0] / (2**31 - 1)
        self.one = self.slice(self.angles)

    def slice(self, angles: list[float]) -> NDArray[np.complex128]:
        assert self.reference is not None
        return self.ctf * project(self.reference, euler_matrix(*angles), self.g, self.g.image_size)

    def terms(self, other: NDArray[np.complex128]) -> NDArray[np.float64]:
        """|F1 - F2|^2 / (2 sigma^2) by model shell."""
        counted = self.scored & (self.model < len(self.noise))
        value = np.abs(self.one - other) ** 2
        out = np.zeros(len(self.noise))
        np.add.at(out, self.model[counted], value[counted])
        return out / (2 * self.noise)

    def rotation(self) -> tuple[float, NDArray[np.float64]]:
        error = 0.0
        which = 0 if self.draw < 0.3333 else 1 if self.draw < 0.6667 else 2
        while True:
            error += increment(error, ROTATION, 5.0)
            if error > 30.0:
                return error, np.zeros(len(self.noise))
            angles = list(self.angles)
            angles[which] += error
            terms = self.terms(self.slice(angles))
            if terms.sum() > 4.60517:
                return error, terms

    def translation(self) -> float:
        error = 0.0
        kx, ky = frequencies(self.g.image_size)
        along = kx if self.draw < 0.5 else ky
        while True:
            error += increment(error, SHIFT, 2.0)
            if error > 10.0:
                return error
            phase = np.exp(-2j * np.pi * along * error / self.g.optics.box_px)
            if self.terms(self.one * phase).sum() > 4.60517:
                return error


def literal(run: SmallRun, k: int) -> tuple[list[float], list[float], NDArray[np.float64]]:
    rotations, shifts, histogram = [], [], np.zeros(9)
    for i in IDS.tolist():
        trial = Trial(run, i, k)
        error, terms = trial.rotation()
        rotations.append(error)
        histogram += terms
        shifts.append(trial.translation() * trial.g.optics.pixel_size_angst)
    return rotations, shifts, histogram


def tried(session: DeviceSession, run: SmallRun, ids: NDArray[np.int64] = IDS) -> TrialErrors:
    return try_particles(session, run.settings, run.table, ids).result()


@pytest.mark.parametrize(
    ("amplitude", "is_coarse"), [(4.0, False), (1.0, False), (0.03, False), (1.0, True)]
)
def test_against_a_loop(session_double: DeviceSession, amplitude: float, is_coarse: bool) -> None:
    """From trials that end within a few steps to such that never end; also at the coarse size."""
    run = small_run(score_at_coarse_size=is_coarse)
    s = run.settings
    references = [replace(r, data=amplitude * r.data) for r in s.references if r is not None]
    run = run.changed(references=references).with_optics(0, ctf_premultiplied=True)
    found = expected_accuracies([tried(session_double, run)])
    for k in range(2):
        rotations, shifts, histogram = literal(run, k)
        assert found.rot_deg[k] == pytest.approx(np.mean(rotations), rel=1e-9)
        assert found.trans_angst[k] == pytest.approx(np.mean(shifts), rel=1e-9)
        total = histogram.sum()
        expected = histogram / total if total > 0 else histogram
        np.testing.assert_allclose(found.orientability[k], expected, atol=1e-9)
        if amplitude == 4.0:
            assert max(rotations) < 30.0
        if amplitude == 0.03:
            assert min(rotations) > 30.0
            assert min(shifts) > 10.0


def test_parts_of_several_ranks_add_up(session_double: DeviceSession) -> None:
    run = small_run()
    whole = expected_accuracies([tried(session_double, run)])
    parts = [tried(session_double, run, ids) for ids in (IDS[:1], IDS[1:])]
    found = expected_accuracies(parts)
    np.testing.assert_array_equal(found.rot_deg, whole.rot_deg)
    np.testing.assert_array_equal(found.trans_angst, whole.trans_angst)
    np.testing.assert_array_equal(found.orientability, whole.orientability)


def test_launches_of_any_size(
    session_double: DeviceSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory for a slice at a time: class after class, error after error."""
    run = small_run()
    expected = tried(session_double, run)
    monkeypatch.setattr(trials, "_LAUNCH_BYTES", 1)
    found = tried(session_double, run)
    np.testing.assert_array_equal(found.rotation_deg, expected.rotation_deg)
    np.testing.assert_array_equal(found.by_shell, expected.by_shell)
    np.testing.assert_array_equal(found.shift_angst, expected.shift_angst)


def test_small_classes_are_not_tried(session_double: DeviceSession) -> None:
    run = small_run(pdf_class=np.array([0.992, 0.008]))
    found = expected_accuracies([tried(session_double, run)])
    assert found.rot_deg[1] == found.trans_angst[1] == 999.0
    assert found.rot_deg[0] < 999.0
    assert not found.orientability[1].any()


def test_only_the_answers_are_waited_for(session_double: DeviceSession) -> None:
    run, card = small_run(), card_on(session_double)
    expected = tried(card, run)
    started = while_held(
        card, lambda: try_particles(card, run.settings, run.table, IDS)
    )
    found = started.result()
    np.testing.assert_array_equal(found.rotation_deg, expected.rotation_deg)
    np.testing.assert_array_equal(found.by_shell, expected.by_shell)
    np.testing.assert_array_equal(found.shift_angst, expected.shift_angst)
    np.testing.assert_allclose(found.rotation_deg, tried(session_double, run).rotation_deg)
