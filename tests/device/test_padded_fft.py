"""Padded transforms on the device against the host's, for every size of run."""

from __future__ import annotations

from dataclasses import astuple
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from clrelion.device.padded_fft import Coefficients, PaddedFFT
from clrelion.device.session import DeviceSession
from clrelion.fourier.padded import padded_forward, padded_inverse, padded_size_of
from clrelion.fourier.shells import centred_z_chunks
from tests.reference.divide_volume import part_of

# box, padding, R: whole and part of Fourier space, odd n/2, P = N_p/2 and below
CASES = [(24, 2.0, 12), (26, 1.85, 13), (24, 1.0, 12), (48, 1.0, 20), (24, 2.0, 3)]
WORK_BYTES = [None, 60_000]  # the second: several runs of columns


def ball(radius: int) -> NDArray[np.bool_]:
    return np.concatenate([squared <= radius**2 for _, squared in centred_z_chunks(radius)])


def relative(found: NDArray[Any], expected: NDArray[Any]) -> float:
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


def check(session: DeviceSession, case: tuple[int, float, int], work_bytes: int | None) -> None:
    tolerance = 1e-6 if session.precision == "single" else 1e-13
    box, padding, r_max = case
    size = padded_size_of(box, padding)
    radius = round(size / box * r_max)
    transform = PaddedFFT(session, box, size, radius, work_bytes)
    volume = np.random.default_rng(box).standard_normal((box,) * 3).astype(session.real)
    n = int(np.prod(transform.shape))
    target = session.zeros(n + 10, session.complex)
    transform.forward(session.to_device(volume), target, 7)
    found = session.to_host(target)
    assert not found[:7].any()
    assert not found[7 + n :].any()
    cube = found[7 : 7 + n].reshape(transform.shape)
    margin = cube.copy()
    margin[1:-1, 1:-1, :-1] = 0
    assert not margin.any()
    expected = padded_forward(volume.astype(np.float64), size, radius)
    inside = ball(radius) & (expected != 0)
    assert relative(cube[inside], expected[inside]) < tolerance

    cube[~inside] = 0
    cube_d = session.to_device(cube)

    def fill(block: Any, part: Coefficients) -> None:
        rows = part_of(session.to_host(cube_d)[1:-1, 1:-1], *astuple(part))
        session.copy_to_device(np.ascontiguousarray(rows), block)

    back = session.empty((box,) * 3, session.real)
    transform.inverse(fill, back)
    expected = padded_inverse(cube.astype(np.complex128), size, box)
    assert relative(session.to_host(back), expected) < tolerance


@pytest.mark.parametrize("work_bytes", WORK_BYTES)
@pytest.mark.parametrize("case", CASES)
def test_like_the_host(
    session: DeviceSession, case: tuple[int, float, int], work_bytes: int | None
) -> None:
    check(session, case, work_bytes)


@pytest.mark.parametrize("case", CASES[:3])
def test_double_precision(session_double: DeviceSession, case: tuple[int, float, int]) -> None:
    check(session_double, case, 60_000)


@pytest.mark.parametrize("case", CASES[:3])
def test_the_limit_changes_no_bit(session: DeviceSession, case: tuple[int, float, int]) -> None:
    """However many runs of columns there are."""
    box, padding, r_max = case
    size = padded_size_of(box, padding)
    radius = round(size / box * r_max)
    rng = np.random.default_rng(1)
    volume = session.to_device(rng.standard_normal((box,) * 3), session.real)
    cube = rng.standard_normal((2 * radius + 1, 2 * radius + 1, radius + 1, 2)) @ [1, 1j]
    found = []
    for work_bytes in (10**9, 100_000, 1):
        transform = PaddedFFT(session, box, size, radius, work_bytes)
        starts: list[int] = []

        def fill(block: Any, part: Coefficients, starts: list[int] = starts) -> None:
            rows = np.ascontiguousarray(part_of(cube, *astuple(part)), session.complex)
            session.copy_to_device(rows, block)
            starts.append(part.first_column)

        target = session.zeros(transform.shape, session.complex)
        transform.forward(volume, target)
        back = session.empty((box,) * 3, session.real)
        transform.inverse(fill, back)
        found.append((len(starts), session.to_host(target), session.to_host(back)))
    assert found[0][0] == 1 < found[1][0] < found[2][0] == radius + 1
    for _, *arrays in found[1:]:
        np.testing.assert_array_equal(arrays[0], found[0][1])
        np.testing.assert_array_equal(arrays[1], found[0][2])
