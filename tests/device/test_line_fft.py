"""Transforms of padded and cropped lines by every backend, against the definition."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from clrelion.device import line_fft as module
from clrelion.device import line_libraries
from clrelion.device.line_fft import LineFFT, line_fft
from clrelion.device.line_kernel import Samples, passes_of
from clrelion.device.measured_times import MeasuredTimes
from clrelion.device.session import DeviceSession
from clrelion.errors import DeviceError, OptionsError
from tests.reference.line_fft import crop_lines, hermitian_lines, pad_lines
from tests.reference.line_fft import line_fft as expected_lines

# products of small primes, a large prime, and every radix at least once
LENGTHS = [2, 21, 30, 52, 88, 90, 98, 180, 240, 512, 2 * 101]
BACKENDS = ["kernel", "pyvkfft", "host"]


def transform_of(session: DeviceSession, length: int, backend: str) -> LineFFT:
    try:
        return LineFFT(session, length, backend)
    except DeviceError as error:
        pytest.skip(str(error))


def tolerance(session: DeviceSession, backend: str) -> float:
    # reikna's Bluestein transform loses up to two digits in double precision
    return 1e-6 if session.precision == "single" else 1e-12 if backend == "reikna" else 1e-13


def complex_noise(session: DeviceSession, shape: tuple[int, ...], seed: int) -> NDArray[Any]:
    rng = np.random.default_rng(seed)
    values = rng.standard_normal(shape) + 1j * rng.standard_normal(shape)
    return values.astype(session.complex)


def check_strided(session: DeviceSession, length: int, backend: str, inverse: bool) -> None:
    """Lines along the middle axis of a volume, from the middle of one array into another's."""
    n_in, n_out = max(1, length // 2), min(length + 1, length // 2 + 3)
    first_in, first_out = -(n_in // 2), -(n_out // 2)
    source = complex_noise(session, (3, n_in, 5), length)
    source_d = session.to_device(source)
    target = complex_noise(session, (4, n_out + 2, 7), 1)
    target_d = session.to_device(target)
    transform_of(session, length, backend)(
        Samples(source_d, 5 * n_in, 5, first_in, n_in),
        Samples(target_d, 7 * (n_out + 2), 7, first_out, n_out, start=7 + 1),
        3,
        5,
        inverse=inverse,
        scale=0.75,
    )
    found = session.to_host(target_d)
    lines = source.swapaxes(1, 2).reshape(15, n_in)
    wanted = expected_lines(lines, length, first_in, first_out, n_out, inverse)
    expected = target.astype(np.complex128)
    expected[:3, 1 : n_out + 1, 1:6] = 0.75 * wanted.reshape(3, 5, n_out).swapaxes(1, 2)
    error = np.linalg.norm(found - expected) / np.linalg.norm(expected)
    assert error < tolerance(session, backend)
    expected[:3, 1 : n_out + 1, 1:6] = target[:3, 1 : n_out + 1, 1:6]
    found[:3, 1 : n_out + 1, 1:6] = target[:3, 1 : n_out + 1, 1:6]
    np.testing.assert_array_equal(found, expected.astype(session.complex))


def check_real(session: DeviceSession, length: int, backend: str) -> None:
    """Real lines forward, Hermitian ones backward in two parts, whose sum is the whole."""
    n, half = max(1, length - 1), length // 2 + 1
    transform = transform_of(session, length, backend)
    rows = np.random.default_rng(length).standard_normal((9, n)).astype(session.real)
    out_d = session.empty((9, half), session.complex)
    given = Samples(session.to_device(rows), n, 1, -(n // 2), n)
    transform(given, Samples(out_d, half, 1, 0, half), 9)
    expected = expected_lines(rows, length, -(n // 2), 0, half, False)
    assert np.linalg.norm(session.to_host(out_d) - expected) < (
        tolerance(session, backend) * np.linalg.norm(expected)
    )
    coefficients = complex_noise(session, (9, half), 2)
    source_d = session.to_device(coefficients)
    result_d = session.empty((9, n), session.real)
    target = Samples(result_d, n, 1, -(n // 2), n)
    result = np.zeros((9, n))
    cut = half // 2
    for first, count in ((0, cut), (cut, half - cut)):
        part = Samples(source_d, half, 1, first, count, start=first)
        transform(part, target, 9, inverse=True)
        result += session.to_host(result_d)
    whole = hermitian_lines(coefficients, length)
    expected = expected_lines(whole, length, 0, -(n // 2), n, True)
    assert np.abs(expected.imag).max() < 1e-10 * length
    assert np.linalg.norm(result - expected.real) < (
        tolerance(session, backend) * np.linalg.norm(expected)
    )


@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("backend", BACKENDS)
def test_strided_lines(session: DeviceSession, length: int, backend: str, inverse: bool) -> None:
    check_strided(session, length, backend, inverse)


@pytest.mark.parametrize("length", [2, 30, 98, 2 * 101])
@pytest.mark.parametrize("backend", BACKENDS)
def test_real_lines(session: DeviceSession, length: int, backend: str) -> None:
    check_real(session, length, backend)


def test_every_radix_is_among_the_lengths() -> None:
    assert {radix for n in LENGTHS for radix, _ in passes_of(n)} == {*range(2, 17), 101}


# reikna compiles a plan for a second or two: fewer lengths
@pytest.mark.parametrize("length", [30, 2 * 101])
def test_reikna(session: DeviceSession, length: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line_libraries, "_MAX_CHUNK", 4)  # four lines, the last ones fewer
    check_strided(session, length, "reikna", inverse=True)
    check_real(session, length, "reikna")


@pytest.mark.parametrize("length", [30, 512, 2 * 101])
def test_double_precision(session_double: DeviceSession, length: int) -> None:
    check_strided(session_double, length, "kernel", inverse=True)
    check_real(session_double, length, "kernel")


def test_whole_lines_are_padded_and_cropped(session: DeviceSession) -> None:
    lines = complex_noise(session, (3, 4), 0)
    work_d = session.empty((3, 10), session.complex)
    pad = session.kernel("device/pad_lines", real_input=False, real_output=False)
    pad((30,), (1,), session.to_device(lines), 0, 4, 1, -2, 4, 1, 0, 3, 10, work_d)
    padded = session.to_host(work_d)
    np.testing.assert_array_equal(padded, pad_lines(lines, 10, -2))
    out_d = session.zeros((3, 6), session.complex)
    crop = session.kernel("device/crop_lines", real_output=False)
    crop((18,), (1,), work_d, out_d, 0, 6, 1, -3, 6, 1, 0, 3, 10, 2.0)
    np.testing.assert_array_equal(session.to_host(out_d), 2 * crop_lines(padded, -3, 6))


def test_the_choice_is_remembered_and_works(session: DeviceSession) -> None:
    chosen = line_fft(session, 44, n_lines_expected=1e12)
    assert line_fft(session, 44) is chosen
    assert line_fft(session, 46) is not chosen
    check_strided(session, 44, chosen.backend, inverse=False)


def test_the_fastest_that_works_is_chosen(
    session: DeviceSession, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Libraries are tried on devices that are no CPUs, where our own kernel would take long."""
    seconds = {"kernel": 2e-3, "host": 1e-3}
    monkeypatch.setattr(session, "is_cpu", False)
    monkeypatch.setattr(session, "kept", {})
    monkeypatch.setattr(module, "_trial_seconds", lambda transform: seconds[transform.backend])
    # what earlier tests have measured on this device
    monkeypatch.setattr(MeasuredTimes, "get", lambda *_: None)
    monkeypatch.setattr(module, "_installed_libraries", lambda: ["broken", "host"])
    with caplog.at_level("WARNING"):
        assert line_fft(session, 44, n_lines_expected=1e12).backend == "host"
    assert "transforms by broken do not work here" in caplog.text
    assert line_fft(session, 46, n_lines_expected=10.0).backend == "kernel"
    seconds["host"] = 3e-3
    assert line_fft(session, 48, n_lines_expected=1e12).backend == "kernel"


def test_wrong_calls(session: DeviceSession) -> None:
    transform = LineFFT(session, 8)
    wide = session.zeros((2, 9), session.complex)
    good = Samples(wide, 9, 1, 0, 8)
    with pytest.raises(ValueError, match="9 samples given"):
        transform(Samples(wide, 9, 1, 0, 9), good, 2)
    with pytest.raises(ValueError, match="places from 8"):
        transform(good, Samples(wide, 9, 1, 8, 2), 2)
    real = Samples(session.zeros((2, 8), session.real), 8, 1, 0, 8)
    with pytest.raises(TypeError, match="input"):
        transform(real, good, 2, inverse=True)
    with pytest.raises(TypeError, match="output"):
        transform(good, real, 2)
    with pytest.raises(OptionsError, match="choose one of"):
        LineFFT(session, 8, "fftw")
    with pytest.raises(DeviceError, match="exceeds its local memory"):
        LineFFT(session, 10**9)
