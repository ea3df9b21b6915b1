"""weighted_sums and weighted_sums_workers: back-projection and sums over the posterior."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from clrelion.device.session import DeviceSession
from tests import tolerances
from tests.kernels.launch import rounded
from tests.kernels.scoring_kernels import slices
from tests.kernels.slice_inputs import Grid, pixel_list, random_grid, random_reference
from tests.kernels.sums_inputs import CASES, WAYS, Batch, assert_same, kernel_sums, random_batch


@pytest.mark.parametrize("group", [(1, 1), (16, 2), (64, 1)])
@pytest.mark.parametrize(("size", "rows_of_image", "n_classes", "n_trans"), CASES)
def test_random_batch_with_atomics(
    any_session: DeviceSession,
    group: tuple[int, int],
    size: int,
    rows_of_image: tuple[int, ...],
    n_classes: int,
    n_trans: int,
) -> None:
    rng = np.random.default_rng(size)
    batch = random_batch(any_session, rng, size, rows_of_image, n_classes, n_trans)
    # every device has compare-exchange; its own way may be a faster one
    for path in {any_session.template_params["float_atomics"], "cas"}:
        found = kernel_sums(any_session, batch, "at once", group, float_atomics=path)
        assert_same(any_session, found, batch.expected(), n_trans, batch.pixels.centre)


@pytest.mark.parametrize("n_classes", [1, 2])
def test_orientations_near_each_other(any_session: DeviceSession, n_classes: int) -> None:
    """Many rows of an image fall into the voxel of the one before, others do not."""
    rng = np.random.default_rng(12)
    batch = random_batch(any_session, rng, 26, (12, 1, 0, 9), n_classes, 3)
    rot, tilt, psi = (a + rng.uniform(-2, 2, n) for a, n in ((35, 4), (60, 4), (-20, 3)))
    batch = replace(batch, grid=Grid(rot, tilt, psi, batch.grid.perturbation))
    corners = [
        np.floor(batch.pixels.xy @ batch.grid.matrices[d, p, :2]) for _, _, d, p, *_ in batch.rows
    ]
    same = np.mean([np.all(a == b, axis=1) for a, b in pairwise(corners)])
    assert 0.2 < same < 0.8
    for group in ((1, 1), (64, 1)):
        found = kernel_sums(any_session, batch, "at once", group)
        assert_same(any_session, found, batch.expected(), 3, batch.pixels.centre)


@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("n_workers", [1, 2, 5])
@pytest.mark.parametrize(("size", "rows_of_image", "n_classes", "n_trans"), CASES)
def test_random_batch_with_workers(
    any_session: DeviceSession,
    grouped: bool,
    n_workers: int,
    size: int,
    rows_of_image: tuple[int, ...],
    n_classes: int,
    n_trans: int,
) -> None:
    """Workers with one block of pixels, with two and more, and with none."""
    rng = np.random.default_rng(size)
    batch = random_batch(any_session, rng, size, rows_of_image, n_classes, n_trans)
    found = kernel_sums(any_session, batch, "workers", grouped=grouped, n_workers=n_workers)
    assert_same(any_session, found, batch.expected(), n_trans, batch.pixels.centre)


def test_workers_sum_pixels_in_a_fixed_order(any_session: DeviceSession) -> None:
    batch = random_batch(any_session, np.random.default_rng(7), 22, (9,) * 20, 2, 3)
    first, *others = (
        kernel_sums(any_session, batch, "workers", grouped=True, n_workers=n) for n in (2, 2, 3, 7)
    )
    np.testing.assert_array_equal(others[0].data, first.data)
    np.testing.assert_array_equal(others[0].weight, first.weight)
    for other in others:
        np.testing.assert_array_equal(other.pixel_sums, first.pixel_sums)


@pytest.mark.parametrize(("way", "given"), WAYS)
def test_adds_to_what_is_there(any_session: DeviceSession, way: str, given: dict[str, Any]) -> None:
    rng = np.random.default_rng(1)
    batch = random_batch(any_session, rng, 10, (1, 2, 1), 2, 3)
    there = rounded(any_session, rng.standard_normal((given.get("n_workers", 1), *batch.shape, 4)))
    there[..., 3] = 0
    start = np.rint(there[..., :3] * 2.0**50) if "units" in given else there
    found = kernel_sums(any_session, batch, way, start=start, **given)
    expected, before = batch.expected(), there.sum(axis=0)
    tolerance = tolerances.of_interpolation(any_session.real, batch.pixels.centre)
    tolerances.assert_close(
        found.data, before[..., 0] + 1j * before[..., 1] + expected.data, tolerance
    )
    tolerances.assert_close(found.weight, before[..., 2] + expected.weight, tolerance)


@pytest.mark.parametrize(("way", "given"), WAYS[1:])
@pytest.mark.parametrize("tile_planes", [1, 8, 30, 1000])
def test_tiles_hold_their_planes(
    any_session: DeviceSession, way: str, given: dict[str, Any], tile_planes: int
) -> None:
    """Tile after tile, within a class or beyond it, holds what the whole volumes hold there."""
    batch = random_batch(any_session, np.random.default_rng(5), 12, (2, 1, 3), 3, 3)
    whole = kernel_sums(any_session, batch, way, **given)
    n_planes = batch.shape[0] * batch.shape[1]
    parts = []
    for first in range(0, n_planes, tile_planes):
        tile = first, min(tile_planes, n_planes - first)
        parts.append(kernel_sums(any_session, batch, way, planes=tile, tiled=True, **given))
        np.testing.assert_array_equal(parts[-1].pixel_sums, whole.pixel_sums)
    tolerance = tolerances.of_sum(any_session.real, 10)
    for found, expected in (
        (np.concatenate([p.data.reshape(-1, *p.data.shape[-2:]) for p in parts]), whole.data),
        (np.concatenate([p.weight.reshape(-1, *p.data.shape[-2:]) for p in parts]), whole.weight),
    ):
        tolerances.assert_close(found, expected.reshape(found.shape), tolerance)


@pytest.mark.parametrize(("way", "given"), WAYS)
def test_total_weight(any_session: DeviceSession, way: str, given: dict[str, Any]) -> None:
    """Trilinear shares add up to one: all the weight arrives, and nothing where it is zero."""
    batch = random_batch(any_session, np.random.default_rng(2), 16, (2, 1, 3), 2, 3)
    found = kernel_sums(any_session, batch, way, **given)
    total = np.zeros(2)
    for image, class_number, *_, entries in batch.rows:
        total[class_number] += sum(w for _, w in entries) * batch.bp_weight[image].sum()
    tolerance = tolerances.of_sum(any_session.real, 10)
    tolerances.assert_close(found.weight.sum(axis=(1, 2, 3)), total, tolerance)
    assert np.all(found.weight >= 0)
    empty = Batch(**{**vars(batch), "bp_weight": np.zeros_like(batch.bp_weight)})
    nothing = kernel_sums(any_session, empty, way, **given)
    assert not nothing.data.any()
    assert not nothing.weight.any()


@pytest.mark.parametrize(("way", "given"), WAYS)
@pytest.mark.parametrize("n_padding", [2.0, 1.6])
def test_scatter_is_the_adjoint_of_projection(
    any_session: DeviceSession, way: str, given: dict[str, Any], n_padding: float
) -> None:
    """<P x, y> = <x, B y> for every reference x and every image y, in three orientations."""
    rng = np.random.default_rng(3)
    pixels = pixel_list(20, n_padding)
    grid = random_grid(rng, 3, 1)
    x = random_reference(rng, 1, pixels.centre)
    y = rng.standard_normal((3, pixels.n, 2)) @ np.array([1, 1j])
    zero, each = np.zeros(3), np.arange(3)
    projected = slices(any_session, x, grid, zero, each, zero, pixels, pixels.n)
    ones = np.ones((3, pixels.n))
    batch = Batch(
        pixels, y, y, ones, ones, ones, np.ones((1, 11), dtype=bool), grid,
        np.zeros((1, pixels.n), dtype=complex), np.zeros((1, 2)),
        [(i, 0, i, 0, 0, [(0, 1.0)]) for i in range(3)],
    )  # fmt: skip
    back = kernel_sums(any_session, batch, way, **given).data
    here, there = np.vdot(projected, y).real, np.vdot(x, back).real
    scale = np.linalg.norm(projected) * np.linalg.norm(y)
    assert abs(here - there) <= tolerances.adjointness(any_session.real) * scale
    assert abs(here) > 1e-3 * scale


@pytest.mark.parametrize(("way", "given"), WAYS)
def test_images_without_rows(any_session: DeviceSession, way: str, given: dict[str, Any]) -> None:
    batch = random_batch(any_session, np.random.default_rng(4), 10, (1, 0), 1, 2)
    batch = Batch(**{**vars(batch), "rows": []})
    found = kernel_sums(any_session, batch, way, **given)
    assert not found.pixel_sums.any()
    assert not found.data.any()
    assert not found.weight.any()
