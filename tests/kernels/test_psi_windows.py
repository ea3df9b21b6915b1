"""psi_windows: psi angles near a prior psi."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from clrelion.device.session import DeviceSession
from clrelion.device.wide_numbers import wide_to_device
from tests.kernels.launch import Output, run_kernel
from tests.kernels.local_inputs import KINDS, needs
from tests.reference.local_lists import psi_windows


def check(
    session: DeviceSession, psi_deg: Any, n_psi: int, sigma_deg: float, kind: str, group: int
) -> None:
    if not needs(session, kind):
        pytest.skip("not used there")
    step = 360.0 / n_psi
    n_near = min(n_psi, 2 * int(3 * sigma_deg / step) + 4) if sigma_deg > 0 else 0
    limit = (2 * math.sin(math.radians(3 * sigma_deg) / 2)) ** 2 if 3 * sigma_deg < 180 else 8.0
    own, angles = np.deg2rad(psi_deg), np.deg2rad(step * np.arange(n_psi))
    n = len(own)
    first, count = Output(session, n, np.int32), Output(session, n, np.int32)
    offset, log_sum = Output(session, n), Output(session, n)
    run_kernel(
        session, "psi_windows", (n,), (group,),
        wide_to_device(session, np.stack([np.cos(own), np.sin(own)], axis=-1), kind),
        wide_to_device(session, np.stack([np.cos(angles), np.sin(angles)], axis=-1), kind),
        wide_to_device(session, np.array([limit]), kind),
        n_psi, n_near, math.radians(step), math.radians(sigma_deg), n,
        first, count, offset, log_sum, wide=kind,
    )  # fmt: skip
    expected = psi_windows(np.asarray(psi_deg), n_psi, sigma_deg)
    counts = np.array([window[1] for window in expected])
    assert count.read().tolist() == counts.tolist()
    firsts, offsets = first.read(), offset.read()
    wanted = np.array([window[0] for window in expected])
    # a full circle may begin anywhere
    is_arc = counts < n_psi
    assert firsts[is_arc].tolist() == wanted[is_arc].tolist()
    tolerance = 1e-6 if session.precision == "single" else 1e-12
    expected_offsets = np.array([window[2] for window in expected])
    room = tolerance * (np.abs(expected_offsets) + math.radians(step))
    if kind == "pair":
        room += 1e-13  # 48 bits of cosines and sines
    turned = offsets - expected_offsets - math.radians(step) * (firsts - wanted)
    turned -= 2 * np.pi * np.rint(turned / (2 * np.pi))
    assert (np.abs(turned) <= np.where(is_arc, room, 10 * tolerance)).all()
    np.testing.assert_allclose(
        log_sum.read(), [window[3] for window in expected], rtol=tolerance, atol=10 * tolerance
    )


@pytest.mark.parametrize("group", [1, 64])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("n_psi", "sigma_deg"),
    [(96, 3.75), (1536, 0.234375), (1536, 1.7), (7, 30.0), (5, 12.0), (24, 59.9), (6144, 0.0586)],
)
def test_random_priors(
    any_session: DeviceSession, group: int, kind: str, n_psi: int, sigma_deg: float
) -> None:
    psi = np.random.default_rng(n_psi).uniform(-300, 500, 1003)
    check(any_session, psi, n_psi, sigma_deg, kind, group)


@pytest.mark.parametrize("kind", KINDS)
def test_the_nearest_and_all(any_session: DeviceSession, kind: str) -> None:
    psi = np.random.default_rng(1).uniform(-180, 180, 99)
    check(any_session, psi, 48, 1e-7, kind, 16)
    check(any_session, psi, 48, 0.0, kind, 16)


@pytest.mark.parametrize("kind", KINDS)
def test_angles_just_at_the_limit_are_outside(any_session: DeviceSession, kind: str) -> None:
    """Priors on the angles of the grid, 3 sigma a whole number of steps; the seam at 0."""
    psi = np.arange(-96, 192) * 3.75
    check(any_session, psi, 96, 3.75, kind, 1)
    # midway between two: those at equal distance are in or out together, the nearest is the first
    check(any_session, psi + 1.875, 96, 3.75 / 2, kind, 1)
    check(any_session, psi[96:190] + 1.875, 96, 0.1, kind, 1)
