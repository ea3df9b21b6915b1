from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from clrelion.fourier import padded

CASES = [(16, 2.0, 8), (16, 2.0, 5), (16, 1.85, 8), (12, 1.0, 6), (12, 1.0, 4)]


def frequencies(n: int) -> NDArray[np.int64]:
    return np.asarray(np.r_[0 : n // 2 + 1, -n // 2 + 1 : 0])


def full_forward(volume: NDArray[Any], size: int, radius: int) -> NDArray[np.complex128]:
    """Zero-pad, transform everything and pick the sphere."""
    n, o = volume.shape[0], size // 2 - volume.shape[0] // 2
    box = np.zeros((size, size, size))
    box[o : o + n, o : o + n, o : o + n] = volume
    transform = np.fft.rfftn(np.fft.ifftshift(box))
    result = np.zeros((2 * radius + 3, 2 * radius + 3, radius + 2), dtype=complex)
    for i, z in enumerate(frequencies(size)):
        for j, y in enumerate(frequencies(size)):
            for x in range(size // 2 + 1):
                if x * x + y * y + z * z <= radius * radius:
                    result[z + radius + 1, y + radius + 1, x] = transform[i, j, x]
    return result


@pytest.mark.parametrize(("n", "factor", "r_max"), CASES)
def test_forward_equals_the_full_padded_transform(
    monkeypatch: pytest.MonkeyPatch, n: int, factor: float, r_max: int
) -> None:
    monkeypatch.setattr(padded, "_CHUNK_BYTES", 1 << 14)
    monkeypatch.setattr(padded, "_RUN_BYTES", 1 << 14)
    size = padded.padded_size_of(n, factor)
    radius = round(size / n * r_max)
    volume = np.random.default_rng(0).normal(size=(n, n, n))
    found = padded.padded_forward(volume, size, radius)
    np.testing.assert_allclose(found, full_forward(volume, size, radius), atol=1e-10)
    single = padded.padded_forward(volume.astype(np.float32), size, radius)
    assert single.dtype == np.complex64
    np.testing.assert_allclose(single, found, atol=1e-3)


@pytest.mark.parametrize(("n", "factor", "r_max"), CASES)
def test_inverse_equals_the_full_padded_transform(
    monkeypatch: pytest.MonkeyPatch, n: int, factor: float, r_max: int
) -> None:
    monkeypatch.setattr(padded, "_CHUNK_BYTES", 1 << 14)
    monkeypatch.setattr(padded, "_RUN_BYTES", 1 << 14)
    size = padded.padded_size_of(n, factor)
    radius = round(size / n * r_max)
    rng = np.random.default_rng(1)
    shape = (2 * radius + 3, 2 * radius + 3, radius + 2)
    data = rng.normal(size=shape) + 1j * rng.normal(size=shape)
    half = np.zeros((size, size, size // 2 + 1), dtype=complex)
    for i, z in enumerate(frequencies(size)):
        for j, y in enumerate(frequencies(size)):
            if max(abs(z), abs(y)) <= radius:
                half[i, j, : radius + 1] = data[z + radius + 1, y + radius + 1, : radius + 1]
    full = np.fft.irfftn(half, s=(size,) * 3, axes=(0, 1, 2), norm="forward")
    o = size // 2 - n // 2
    expected = np.fft.fftshift(full)[o : o + n, o : o + n, o : o + n]
    np.testing.assert_allclose(padded.padded_inverse(data, size, n), expected, atol=1e-9)


def test_padded_size_is_even() -> None:
    assert padded.padded_size_of(64, 1.85) == 118
    assert padded.padded_size_of(60, 1.85) == 112
    assert padded.padded_size_of(80, 2.0) == 160


@pytest.mark.parametrize(
    ("factor", "at_edge", "at_corner"), [(2.0, 0.81057, 0.51682), (1.0, 0.40528, 0.022561)]
)
def test_gridding_divisors_of_the_specification(
    factor: float, at_edge: float, at_corner: float
) -> None:
    n = 32
    volume = np.ones((n, n, n))
    padded.correct_gridding(volume, factor)
    c = n // 2
    assert volume[c, c, c] == 1.0
    assert 1.0 / volume[c, c, 0] == pytest.approx(at_edge, abs=1e-5)
    # the specification quotes 0.866 N, which is sqrt(3)/2 to three digits
    assert 1.0 / volume[0, 0, 0] == pytest.approx(at_corner, abs=1e-4)
    assert volume[c + 3, c + 4, c] == volume[c, c, c - 5]
