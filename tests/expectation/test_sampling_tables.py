"""Orientation tables on the device against Euler matrices (specification E 1.2, 4.2, 4.5)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from clrelion.device.session import DeviceSession
from clrelion.expectation.sampling_tables import OrientationTables
from clrelion.orientations.euler import euler_matrix
from tests.expectation.small_run import small_run
from tests.reference.expectation_step import Step


def rows(
    session: DeviceSession, tables: OrientationTables, fine: bool, frame: int, psi: int
) -> NDArray[np.float64]:
    """Rows 0 and 1 of the matrix that a frame and a psi entry stand for."""
    frames = tables.fine_frames if fine else tables.coarse_frames
    psis = tables.fine_psis if fine else tables.coarse_psis
    upper = session.to_host(frames)[frame].reshape(2, 3)
    cosine, sine = session.to_host(psis)[psi]
    # the kernels turn the pixel instead: transpose of Z(psi)
    return np.array([[cosine, sine], [-sine, cosine]]) @ upper


@pytest.mark.parametrize("perturbation", [0.0, 0.3, -0.47])
@pytest.mark.parametrize("oversampling", [0, 1, 2])
def test_frames_and_psi_make_euler_matrices(
    session_double: DeviceSession, oversampling: int, perturbation: float
) -> None:
    run = small_run(oversampling=oversampling, perturbation=perturbation)
    tables = OrientationTables.create(session_double, run.settings, run.table)
    step = Step(run.settings, run.table, {}, {})
    n_children = 8**oversampling
    for d, psi in [(0, 0), (3, 5), (11, 2)]:
        coarse = step.orientations(0, d, psi, fine=False)[0][0]
        found = rows(session_double, tables, False, d, psi)
        np.testing.assert_allclose(found, coarse[:2], atol=1e-12)
        frame, fine_psi = tables.children(np.array([d]), np.array([psi]), n_children)
        rot, tilt, gamma = tables.angles(run.settings, run.table, frame, fine_psi)
        children = step.orientations(0, d, psi, fine=True)
        assert len(children) == n_children == len(frame)
        for c, (matrix, _) in enumerate(children):
            found = rows(session_double, tables, True, int(frame[c]), int(fine_psi[c]))
            np.testing.assert_allclose(found, matrix[:2], atol=1e-12)
            again = euler_matrix(rot[c], tilt[c], gamma[c])
            np.testing.assert_allclose(again, matrix, atol=1e-12)


def test_children_of_several_orientations() -> None:
    """Directions outermost, then children's directions, psi innermost."""
    tables = object.__new__(OrientationTables)
    object.__setattr__(tables, "n_child_psi", 2)
    frame, psi = tables.children(np.array([5, 2]), np.array([1, 0]), 8)
    np.testing.assert_array_equal(frame, np.repeat([20, 21, 22, 23, 8, 9, 10, 11], 2))
    np.testing.assert_array_equal(psi, [2, 3] * 4 + [0, 1] * 4)
    frame, psi = tables.children(np.array([5, 2]), np.array([1, 0]), 1)
    np.testing.assert_array_equal(frame, [5, 2])
    np.testing.assert_array_equal(psi, [1, 0])


@pytest.mark.parametrize("flag", ["skip_align", "skip_rotate"])
def test_kept_orientations_are_those_of_the_particles(
    session_double: DeviceSession, flag: str
) -> None:
    """Not perturbed: they have been before."""
    run = small_run().changed(**{flag: True})
    tables = OrientationTables.create(session_double, run.settings, run.table)
    t = run.table
    for i in range(t.n):
        expected = euler_matrix(t.rot_deg[i], t.tilt_deg[i], t.psi_deg[i])[:2]
        np.testing.assert_allclose(rows(session_double, tables, True, i, 0), expected, atol=1e-12)
    ids = np.array([3, 1])
    rot, tilt, psi = tables.angles(run.settings, t, ids, np.zeros(2, dtype=np.int64))
    kept = [t.rot_deg[ids], t.tilt_deg[ids], t.psi_deg[ids]]
    np.testing.assert_array_equal([rot, tilt, psi], kept)


def test_translations_of_the_settings() -> None:
    """Perturbed, in pixels of the group; children innermost, y inside x."""
    run = small_run(perturbation=0.25)
    step = Step(run.settings, run.table, {}, {})
    for fine in (False, True):
        expected = np.array([t for children in step.translations(fine) for t in children]) / 1.7
        np.testing.assert_allclose(run.settings.translations_px(1.7, fine), expected, atol=1e-12)
    kept = replace(run.settings, skip_align=True)
    np.testing.assert_array_equal(kept.translations_px(1.7, True), [[0.0, 0.0]])
