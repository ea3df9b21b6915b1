"""Every transform library against numpy, for easy and awkward boxes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from clrelion.device import fft
from clrelion.device.fft import BatchFFT2D
from clrelion.device.line_kernel import passes_of
from clrelion.device.session import DeviceSession
from clrelion.errors import DeviceError, OptionsError

N_IMAGES = 5


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of at most 3 images, so that 5 images are a whole chunk and a part of one."""
    monkeypatch.setattr(fft, "_MAX_CHUNK", 3)


def random_images(session: DeviceSession, box: int, n: int = N_IMAGES) -> np.ndarray:
    return np.random.default_rng(box).standard_normal((n, box, box)).astype(session.real)


def check(session: DeviceSession, box: int, backend: str) -> None:
    images = random_images(session, box)
    try:
        transform = BatchFFT2D(session, box, backend=backend)
    except DeviceError as error:
        pytest.skip(str(error))
    result = session.to_host(transform(session.to_device(images)))
    expected = np.fft.rfft2(images.astype(np.float64), norm="forward")
    assert result.shape == (N_IMAGES, box, box // 2 + 1)
    assert result.dtype == session.complex
    relative = np.linalg.norm(result - expected) / np.linalg.norm(expected)
    # reikna's Bluestein transform loses up to two digits in double precision
    assert relative < (2e-6 if session.precision == "single" else 1e-13)


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("box", [2, 30, 44, 64, 100, 2 * 101])
@pytest.mark.parametrize("backend", ["host", "pyvkfft", "kernel"])
def test_against_numpy(session: DeviceSession, box: int, backend: str) -> None:
    check(session, box, backend)


# reikna compiles a plan for a second or two: fewer boxes
@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("box", [30, 32, 2 * 101])
def test_reikna_against_numpy(session: DeviceSession, box: int) -> None:
    check(session, box, "reikna")


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize(
    ("box", "backend"), [(44, "host"), (44, "pyvkfft"), (32, "reikna"), (90, "kernel")]
)
def test_double_precision(session_double: DeviceSession, box: int, backend: str) -> None:
    check(session_double, box, backend)


@pytest.mark.parametrize("box", [700, 2 * 499, 1000, 1024])
@pytest.mark.parametrize("backend", ["host", "kernel"])
def test_large_boxes(session: DeviceSession, box: int, backend: str) -> None:
    """Factors 2, 3, 5, 7, and a large prime."""
    image = random_images(session, box, 1)
    transform = BatchFFT2D(session, box, backend=backend)
    found = session.to_host(transform(session.to_device(image)))
    expected = np.fft.rfft2(image.astype(np.float64), norm="forward")
    assert np.linalg.norm(found - expected) / np.linalg.norm(expected) < 2e-6


def test_every_even_box_has_passes() -> None:
    """The kernel's radices multiply to the length, for every even box up to 1024."""
    for box in range(2, 1025, 2):
        done = 1
        for radix, before in passes_of(box):
            assert before == done
            done *= radix
        assert done == box


def test_auto_choice_is_measured_once_and_remembered(
    session: DeviceSession, monkeypatch: pytest.MonkeyPatch, nothing_remembered: Path
) -> None:
    seconds = {"host": 2.0, "kernel": 4.0, "reikna": 1.0, "pyvkfft": 3.0}
    measured: list[str] = []

    def trial(name: str, _session: DeviceSession, _box: int) -> float:
        measured.append(name)
        return seconds[name]

    monkeypatch.setattr(fft, "_trial_seconds", trial)
    monkeypatch.setattr(fft, "available_backends", lambda _session: list(seconds))
    # a short job does not wait for plans: 20 images take the host 1.25 s
    assert fft._fastest_backend(session, 64, 20) == "host"
    assert measured == ["host"]
    assert fft._fastest_backend(session, 64, None) == "reikna"
    assert measured == list(seconds)
    # a later run reads the file; another size is measured
    assert fft._fastest_backend(session, 64, None) == "reikna"
    assert measured == list(seconds)
    assert fft._fastest_backend(session, 66, 20) == "host"
    assert measured == [*seconds, "host"]
    # a file that is damaged, or of another driver, counts for nothing
    nothing_remembered.write_text("{")
    assert fft._fastest_backend(session, 64, 20) == "host"
    assert measured == [*seconds, "host", "host"]


def test_pyvkfft_is_taken_where_it_is_faster(
    session: DeviceSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pyvkfft.opencl")
    assert fft.available_backends(session)[-1] == "pyvkfft"
    seconds = {"host": 100.0, "pyvkfft": 1.0}
    monkeypatch.setattr(fft, "_trial_seconds", lambda name, _session, _box: seconds[name])
    transform = BatchFFT2D(session, 30)
    assert transform.backend == "pyvkfft"
    images = random_images(session, 30)
    expected = np.fft.rfft2(images.astype(np.float64), norm="forward")
    found = session.to_host(transform(session.to_device(images)))
    assert np.linalg.norm(found - expected) < 2e-6 * np.linalg.norm(expected)


def test_failing_library_is_not_chosen(
    session: DeviceSession, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def trial(name: str, _session: DeviceSession, _box: int) -> float:
        if name == "reikna":
            raise RuntimeError("INVALID_KERNEL")
        return 100.0

    monkeypatch.setattr(fft, "_trial_seconds", trial)
    monkeypatch.setattr(fft, "available_backends", lambda _session: ["host", "reikna"])
    assert fft._fastest_backend(session, 64, None) == "host"
    assert "reikna" in caplog.text


def test_auto_works(session: DeviceSession) -> None:
    transform = BatchFFT2D(session, 30)
    images = session.to_device(random_images(session, 30))
    output = session.empty((N_IMAGES, 30, 16), session.complex)
    assert transform(images, output) is output
    assert transform.backend in fft.BACKENDS
    assert transform(session.empty((0, 30, 30), session.real)).shape == (0, 30, 16)


def test_wrong_input(session: DeviceSession) -> None:
    with pytest.raises(OptionsError, match="must be even"):
        BatchFFT2D(session, 31)
    with pytest.raises(OptionsError, match="choose one of"):
        BatchFFT2D(session, 30, backend="fftw")
    transform = BatchFFT2D(session, 30, backend="host")
    with pytest.raises(TypeError, match=r"images of \(30, 30\)"):
        transform(session.zeros((2, 32, 32), session.real))
    with pytest.raises(TypeError, match="needs float32"):
        transform(session.zeros((2, 30, 30), np.float64))
    with pytest.raises(TypeError, match="writes complex64"):
        transform(session.zeros((2, 30, 30), np.float32), session.zeros((2, 30, 30), np.complex64))
