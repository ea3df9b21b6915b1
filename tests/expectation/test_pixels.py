"""Pixel lists against loops over half-transforms (specification E 1.6, 1.7, 1.11, 5.2, F.1)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from clrelion.expectation.pixels import PixelList, make_pixel_list, phase_ramps, shell_lists
from clrelion.expectation.settings import ImageGeometry
from tests.expectation.small_run import optics_group
from tests.reference.expectation_step import rnd

MAG = np.array([[1.03, 0.02], [-0.01, 0.95]])


def geometry(remap: float = 1.0, mag: NDArray[np.float64] | None = None) -> ImageGeometry:
    optics = optics_group("g", 64, 1.0, mag_matrix=np.eye(2) if mag is None else mag)
    return ImageGeometry(optics, remap, 40, 20)


def half_plane(size: int) -> Iterator[tuple[int, int]]:
    """Each pixel of a half-transform once."""
    for ky in range(-size // 2 + 1, size // 2 + 1):
        for kx in range(size // 2 + 1):
            if kx > 0 or ky >= 0:
                yield kx, ky


def brute_force(
    g: ImageGeometry, size: int, r_max: int, p: float, q: float
) -> tuple[set[tuple[int, int]], set[tuple[int, int]]]:
    """Pixels that references with padding p reach, and those that sums with padding q take."""
    projected, backprojected = set(), set()
    for kx, ky in half_plane(size):
        x, y = g.optics.mag_matrix @ [kx, ky] / g.remap
        length2 = x * x + y * y
        if rnd(np.hypot(kx, ky)) > size // 2:
            continue
        within = kx * kx + ky * ky <= (size // 2) ** 2
        if within and p * p * length2 <= np.floor(r_max * p) ** 2:
            projected.add((kx, ky))
        if q * q * length2 <= rnd(r_max * q) ** 2:
            backprojected.add((kx, ky))
    return projected, backprojected


def places(pixels: PixelList, chosen: slice) -> list[tuple[int, int]]:
    return list(zip(pixels.kx[chosen].tolist(), pixels.ky[chosen].tolist(), strict=True))


CASES = [
    (geometry(), 30, 15, 2.0, 2.0),  # (9, 12) and (15, 0) lie on the sphere
    (geometry(), 30, 15, 118 / 64, 1.85),
    (geometry(), 20, 15, 2.0, 2.0),
    (geometry(1.25), 38, 15, 2.0, 2.0),
    (geometry(0.8), 24, 15, 118 / 64, 1.85),
    (geometry(1.0 + 1e-9), 30, 15, 2.0, 2.0),
    (geometry(1.0 - 1e-9), 30, 15, 2.0, 2.0),
    (geometry(1.1, MAG), 34, 15, 2.0, 2.0),
]


@pytest.mark.parametrize("complete", [False, True])
@pytest.mark.parametrize(("g", "size", "r_max", "p", "q"), CASES)
def test_which_pixels_count(
    g: ImageGeometry, size: int, r_max: int, p: float, q: float, complete: bool
) -> None:
    pixels = make_pixel_list(g, size, r_max, p, q, complete)
    projected, backprojected = brute_force(g, size, r_max, p, q)
    assert set(places(pixels, slice(0, pixels.n_projected))) == projected
    assert set(places(pixels, slice(pixels.n_projected, pixels.n_used))) == (
        backprojected - projected
    )
    everything = places(pixels, slice(None))
    assert len(set(everything)) == pixels.n
    band = {(x, y) for x, y in half_plane(size) if rnd(np.hypot(x, y)) <= size // 2}
    assert set(everything) == (band if complete else projected | backprojected)
    assert pixels.n_padded % 16 == 0
    assert 0 <= pixels.n_padded - pixels.n < 16


@pytest.mark.parametrize(("g", "size", "r_max", "p", "q"), CASES)
def test_what_is_known_of_each_pixel(
    g: ImageGeometry, size: int, r_max: int, p: float, q: float
) -> None:
    pixels = make_pixel_list(g, size, r_max, p, q)
    for j, (kx, ky) in enumerate(places(pixels, slice(None))):
        assert pixels.shell[j] == rnd(np.hypot(kx, ky))
        point = g.optics.mag_matrix @ [kx, ky] / g.remap
        np.testing.assert_allclose(pixels.projected_xy[j], p * point, rtol=1e-12)
        np.testing.assert_allclose(pixels.backprojected_xy[j], q * point, rtol=1e-12)
        # column kx = 0 holds ky and -ky, but the Nyquist frequency once
        assert pixels.multiplicity[j] == (2 if kx == 0 and 0 < ky < size // 2 else 1)
    model = pixels.shells_of_model(g.remap, 12)
    expected = rnd(pixels.shell / g.remap)
    np.testing.assert_array_equal(model, np.where(expected < 12, expected, -1))


def test_the_cut_off_sphere_is_decided_in_double_precision() -> None:
    """A ratio below 1 by 1e-9 puts all pixels with r = R outside, one above 1 inside (F.1)."""
    on_it = {(15, 0), (0, 15), (9, 12), (12, 9), (9, -12), (12, -9)}
    for remap, inside in ((1.0, True), (1.0 - 1e-9, False), (1.0 + 1e-9, True)):
        pixels = make_pixel_list(geometry(remap), 30, 15, 2.0, 2.0)
        found = set(places(pixels, slice(0, pixels.n_projected)))
        assert on_it <= found if inside else not on_it & found


def test_places_in_a_larger_list() -> None:
    g = geometry(1.1)
    small = make_pixel_list(g, 12, 15, 2.0, 2.0)
    large = make_pixel_list(g, 34, 15, 2.0, 2.0)
    found = small.places_in(large)
    assert len(found) == small.n_projected
    np.testing.assert_array_equal(large.kx[found], small.kx[: small.n_projected])
    np.testing.assert_array_equal(large.ky[found], small.ky[: small.n_projected])


def test_kxy_and_padding() -> None:
    pixels = make_pixel_list(geometry(), 12, 15, 2.0, 2.0)
    table = pixels.kxy()
    assert table.shape == (pixels.n_padded, 2)
    np.testing.assert_array_equal(table[: pixels.n], np.stack([pixels.kx, pixels.ky], -1))
    assert not table[pixels.n :].any()
    padded = pixels.padded(np.ones((pixels.n, 3)))
    assert padded.shape == (pixels.n_padded, 3)
    assert padded.sum() == 3 * pixels.n


def test_phase_ramps_shift_the_content() -> None:
    box, size = 20, 12
    shift = np.array([[1.0, -3.0], [0.4, 2.5]])
    x, y = phase_ramps(shift, box, size)
    assert x.shape == (2, 7)
    assert y.shape == (2, 13)
    image = np.random.default_rng(0).standard_normal((box, box))
    transform = np.fft.rfft2(image)
    moved = np.fft.rfft2(np.roll(image, (-3, 1), axis=(0, 1)))
    for kx, ky in half_plane(size):
        factor = x[0, kx] * y[0, ky + size // 2]
        assert abs(transform[ky, kx] * factor - moved[ky, kx]) < 1e-10
        expected = np.exp(-2j * np.pi * (0.4 * kx + 2.5 * ky) / box)
        assert abs(x[1, kx] * y[1, ky + size // 2] - expected) < 1e-12


@pytest.mark.parametrize(("box", "size"), [(16, 16), (16, 10), (20, 2)])
def test_shell_lists(box: int, size: int) -> None:
    start, pixel, n_pixels = shell_lists(box, size)
    assert len(start) == box // 2 + 3
    for shell in range(box // 2 + 1):
        listed = pixel[start[shell] : start[shell + 1]]
        found = {(int(p) % (box // 2 + 1), int(p) // (box // 2 + 1)) for p in listed}
        expected = {
            (kx, ky % box)
            for kx, ky in half_plane(box if shell > size // 2 else size)
            if rnd(np.hypot(kx, ky)) == shell
        }
        assert found == expected
        assert len(listed) == n_pixels[shell] == len(found)
    window = pixel[start[-2] : start[-1]]
    rows = [ky % box for ky in range(-size // 2 + 1, size // 2 + 1)]
    expected_window = {row * (box // 2 + 1) + kx for row in rows for kx in range(size // 2 + 1)}
    assert len(window) == size * (size // 2 + 1)
    assert set(window.tolist()) == expected_window


def test_values_of_image_shells_on_model_shells() -> None:
    """Mean of the image's pixels there, times the pixels of the model."""
    for box, pixel_size in ((16, 2.0), (24, 2.0), (12, 2.0), (20, 1.7), (24, 1.5)):
        optics = optics_group("g", box, pixel_size)
        g = ImageGeometry(optics, box * pixel_size / 32.0, box, box)
        counts = np.zeros(box // 2 + 1)
        own = np.zeros(9)
        for kx, ky in half_plane(box):
            if (shell := rnd(np.hypot(kx, ky))) <= box // 2:
                counts[shell] += 1
        for kx, ky in half_plane(16):
            if (shell := rnd(np.hypot(kx, ky))) <= 8:
                own[shell] += 1
        weighted = 3.0 * counts * g.model_shares(len(counts), 9)
        found = g.sums_of_model_shells(weighted, 9)
        received = [i for i in range(9) if i in rnd(np.arange(box // 2 + 1) / g.remap)]
        np.testing.assert_allclose(found[received], 3.0 * own[received])
        assert found.sum() == pytest.approx(3.0 * own[received].sum())
    same = replace(g, remap=1.0, optics=optics_group("g", 16, 2.0))
    values = np.random.default_rng(0).uniform(size=9)
    np.testing.assert_array_equal(same.model_shares(9, 9), 1.0)
    np.testing.assert_array_equal(same.sums_of_model_shells(values, 9), values)
