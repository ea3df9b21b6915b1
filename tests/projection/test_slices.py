"""Slices out of and into a map's transform against their float64 twins."""

from __future__ import annotations

import numpy as np
import pytest

from clrelion.expectation.reference import reference_transform
from clrelion.io.optics import OpticsGroup
from clrelion.maximization.sums import BackprojectionSums
from clrelion.projection.optics import SlicePixels
from clrelion.projection.slices import extract_slices, insert_slices
from tests.reference.phantoms import blob_map, uniform_matrices
from tests.reference.slices import backproject, project

PIXEL = 2.5


def optics(box: int, pixel_size: float = PIXEL) -> OpticsGroup:
    return OpticsGroup(
        "g", 1, 300.0, 2.7, 0.1, pixel_size, box, False, False, 0.0, 0.0, (), (), np.eye(2), None
    )


@pytest.mark.parametrize(("n", "padding"), [(22, 2.0), (18, 1.5)])
def test_extraction(n: int, padding: float) -> None:
    reference = reference_transform(blob_map(n), padding, n // 2)
    matrices = uniform_matrices(7)
    pixels = SlicePixels.create(
        optics(n), n, PIXEL, n // 2, reference.padding_factor, for_projection=True
    )
    rows, columns = pixels.place
    found = extract_slices(reference, pixels.xy, matrices)
    expected = project(reference, matrices, n)[:, rows, columns]
    # (on the cut-off sphere the last bit of a rotated coordinate decides in the twin)
    inside = np.hypot(pixels.kx, pixels.ky) < n // 2 - 0.1
    scale = np.abs(expected).max()
    np.testing.assert_allclose(found[:, inside], expected[:, inside], atol=1e-12 * scale)


@pytest.mark.parametrize(("n", "r_max", "padding"), [(20, 10, 1.85), (26, 9, 2.0)])
def test_insertion(n: int, r_max: int, padding: float) -> None:
    rng = np.random.default_rng(n)
    matrices = uniform_matrices(9)
    shape = (9, n, n // 2 + 1)
    data = rng.normal(size=shape) + 1j * rng.normal(size=shape)
    weight = np.where(rng.random(shape) < 0.2, 0.0, rng.random(shape))
    pixels = SlicePixels.create(optics(n), n, PIXEL, r_max, padding)
    rows, columns = pixels.place
    found = BackprojectionSums.zeros(padding, r_max, n)
    insert_slices(found, pixels.xy, matrices, data[:, rows, columns], weight[:, rows, columns])
    keep = np.zeros(shape[1:], dtype=bool)
    keep[rows, columns] = True
    expected = BackprojectionSums.zeros(padding, r_max, n)
    backproject(expected, data, np.where(keep, weight, 0.0), matrices)
    np.testing.assert_allclose(found.data, expected.data, atol=1e-12)
    np.testing.assert_allclose(found.weight, expected.weight, atol=1e-12)


def test_they_are_adjoint() -> None:
    """<extract F, g> = <F, insert g> for any transform F."""
    n = 16
    rng = np.random.default_rng(4)
    matrices = uniform_matrices(5)
    reference = reference_transform(rng.normal(size=(n, n, n)), 2.0, n // 2)
    pixels = SlicePixels.create(optics(n), n, PIXEL, n // 2, 2.0)
    g = rng.normal(size=(5, len(pixels.kx))) + 1j * rng.normal(size=(5, len(pixels.kx)))
    sums = BackprojectionSums.zeros(2.0, n // 2, n)
    insert_slices(sums, pixels.xy, matrices, g, np.ones(g.shape))
    taken = extract_slices(reference, pixels.xy, matrices)
    left = np.sum(taken.real * g.real + taken.imag * g.imag)
    right = np.sum(reference.data.real * sums.data.real + reference.data.imag * sums.data.imag)
    assert left == pytest.approx(right, rel=1e-12)


def test_pixels_of_another_box() -> None:
    """The same frequencies of a larger box lie at the same places of the map's transform."""
    small = SlicePixels.create(optics(20), 20, PIXEL, 10, 2.0)
    large = SlicePixels.create(optics(40), 20, PIXEL, 10, 2.0)
    assert large.remap == 2.0
    places = {tuple(np.round(p, 9)) for p in large.xy}
    assert {tuple(np.round(p, 9)) for p in small.xy} <= places
    np.testing.assert_allclose(
        np.hypot(*large.uv.T), np.hypot(*large.xy.T) / (2.0 * 20 * PIXEL), atol=1e-12
    )
