"""weighted_sums and weighted_sums_workers: back-projection and sums over the posterior."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from clrelion.device.capabilities import integer_atomics_path
from clrelion.device.session import DeviceSession
from tests import tolerances
from tests.kernels.launch import Output, int32, rounded, run_kernel
from tests.kernels.scoring_kernels import slices, split_complex
from tests.kernels.slice_inputs import Grid, PixelList, pixel_list, random_grid, random_reference
from tests.reference.weighted_sums import Row, WeightedSums, weighted_sums

BOX = 50


@dataclass(frozen=True)
class Batch:
    """Images, their kept rows (image, class, direction, psi, slice, entries) and their weights."""

    pixels: PixelList
    image_ft: npt.NDArray[np.complex128]
    unmasked_ft: npt.NDArray[np.complex128]
    reference_ctf: npt.NDArray[np.float64]
    bp_data: npt.NDArray[np.float64]
    bp_weight: npt.NDArray[np.float64]
    scale_mask: npt.NDArray[np.bool_]  # (class, shell)
    grid: Grid
    slices_ft: npt.NDArray[np.complex128]  # (slice, pixel)
    shifts_px: npt.NDArray[np.float64]
    rows: Sequence[tuple[int, int, int, int, int, list[tuple[int, float]]]]

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Of the volumes."""
        centre = self.pixels.centre
        return len(self.scale_mask), 2 * centre + 1, 2 * centre + 1, centre + 1

    def expected(self) -> WeightedSums:
        rows = [
            Row(i, k, self.grid.matrices[d, p], self.slices_ft[s], entries)
            for i, k, d, p, s, entries in self.rows
        ]
        return weighted_sums(
            self.image_ft, self.unmasked_ft, self.reference_ctf, self.bp_data, self.bp_weight,
            rows, self.pixels.phases(self.shifts_px, BOX), self.pixels.xy,
            self.scale_mask[:, self.pixels.shell], self.shape,
        )  # fmt: skip


def random_batch(
    session: DeviceSession,
    rng: np.random.Generator,
    size: int,
    rows_of_image: Sequence[int],
    n_classes: int,
    n_trans: int,
) -> Batch:
    pixels = pixel_list(size)
    n_images, n_slices = len(rows_of_image), 6
    shape = n_images, pixels.n

    def noise(*dimensions: int) -> npt.NDArray[np.complex128]:
        return rounded(session, rng.standard_normal((*dimensions, 2)) @ [1, 1j])

    rows: list[tuple[int, int, int, int, int, list[tuple[int, float]]]] = []
    for image, n_rows in enumerate(rows_of_image):
        for _ in range(n_rows):
            n_entries = int(rng.integers(1, n_trans + 1))
            translations = np.sort(rng.permutation(n_trans)[:n_entries])
            omega = rounded(session, rng.uniform(0, 1 / n_rows / n_entries, n_entries))
            entries = [(int(t), float(w)) for t, w in zip(translations, omega, strict=True)]
            k, d, p, s = rng.integers(0, (n_classes, 4, 3, n_slices)).tolist()
            rows.append((image, k, d, p, s, entries))
    weight = rng.uniform(0.1, 3, shape) * (rng.random(shape) < 0.9)
    weight[:, -5:] = 0.0  # pixels beyond the sums' sphere, which only complete the shells
    return Batch(
        pixels, noise(*shape), noise(*shape),
        rounded(session, rng.uniform(-1, 1, shape)), rounded(session, rng.uniform(-1, 1, shape)),
        rounded(session, weight), rng.random((n_classes, size // 2 + 1)) < 0.5,
        random_grid(rng, 4, 3), noise(n_slices, pixels.n), rng.uniform(-5, 5, (n_trans, 2)), rows,
    )  # fmt: skip


def kernel_sums(
    session: DeviceSession,
    batch: Batch,
    name: str,
    group: tuple[int, int] = (1, 1),
    first_image: Sequence[int] = (),
    start: npt.NDArray[np.float64] | None = None,
    units: tuple[float, float] = (1.0, 1.0),
    **parameters: Any,
) -> WeightedSums:
    """What the kernel writes; volumes of the workers are added up.

    ``start``: what was there.  ``planes``: first one and number of those that are stored.
    ``units`` of data and weight: what the whole numbers of a fixed-point volume count.
    """
    n_images, n_list = batch.image_ft.shape
    atomic = name == "weighted_sums"
    if atomic:
        parameters = {"fixed_point": False, **parameters}
    fixed = parameters.get("fixed_point", False)
    n_padded = n_list + 5 if atomic else -(-n_list // 16) * 16
    behind = (0, n_padded - n_list)
    images = np.array([row[0] for row in batch.rows], dtype=int)
    numbers = np.array([row[:5] for row in batch.rows], dtype=int).reshape(-1, 5)
    entries = [row[5] for row in batch.rows]
    n_entries = [len(e) for e in entries]
    ramp_x, ramp_y = batch.pixels.ramps(batch.shifts_px, BOX)
    # where nothing is back-projected, nobody may look for the place
    xy = np.where(np.any(batch.bp_weight > 0, axis=0)[:, None], batch.pixels.xy, 1e6)
    n_volumes = len(first_image) - 1 if first_image else 1
    planes = parameters.pop("planes", None) or (0, batch.shape[0] * batch.shape[1])
    shape = (n_volumes, planes[1], *batch.shape[2:], 3 if fixed else 4)
    there = np.zeros(shape) if start is None else start
    volumes = Output(session, shape, np.int64 if fixed else None, start=there)
    pixel_sums = Output(session, (n_images, n_list, 4))
    if atomic:
        about_pixels: tuple[Any, ...] = (
            batch.pixels.kxy, batch.pixels.shell, xy,
            batch.scale_mask.astype(np.uint8), batch.scale_mask.shape[1],
            ramp_x, ramp_y, ramp_x.shape[1], batch.pixels.half,
        )  # fmt: skip
    else:
        kx, ky = batch.pixels.kxy.T
        phases = ramp_x[:, kx] * ramp_y[:, ky + batch.pixels.half]
        about_pixels = (
            np.pad(batch.pixels.shell, behind), np.pad(xy.T, ((0, 0), behind)),
            batch.scale_mask.astype(np.uint8), batch.scale_mask.shape[1],
            np.pad(split_complex(phases), ((0, 0), (0, 0), behind)),
        )  # fmt: skip
    run_kernel(
        session, name, (n_list, n_images) if atomic else (n_volumes,), group if atomic else (1,),
        batch.image_ft, batch.unmasked_ft, batch.reference_ctf, batch.bp_data, batch.bp_weight,
        np.pad(split_complex(batch.slices_ft), ((0, 0), (0, 0), behind)),
        int32(np.searchsorted(images, np.arange(n_images + 1))),
        *(int32(numbers[:, column]) for column in (1, 2, 3, 4)),
        np.array([sum(w for _, w in e) for e in entries]),
        int32(np.cumsum([0, *n_entries])), int32([t for e in entries for t, _ in e]),
        np.array([w for e in entries for _, w in e]),
        *about_pixels,
        batch.grid.frames, batch.grid.psis, n_list, n_padded, *planes, batch.shape[1],
        batch.shape[3], batch.pixels.centre, n_images if atomic else int32(first_image),
        volumes, pixel_sums, *((1 / units[0], 1 / units[1]) if fixed else ()), **parameters,
    )  # fmt: skip
    total = volumes.read().astype(np.float64).sum(axis=0)
    if planes[1] == batch.shape[0] * batch.shape[1]:
        total = total.reshape(*batch.shape, -1)
    if fixed:
        total *= [units[0], units[0], units[1]]
    assert fixed or np.all(total[..., 3] == 0)
    return WeightedSums(pixel_sums.read(), total[..., 0] + 1j * total[..., 1], total[..., 2])


def assert_same(
    session: DeviceSession, found: WeightedSums, expected: WeightedSums, n_terms: int, centre: int
) -> None:
    tolerances.assert_close(
        found.pixel_sums, expected.pixel_sums, tolerances.of_sum(session.real, n_terms)
    )
    scattered = tolerances.of_interpolation(session.real, centre, n_terms)
    tolerances.assert_close(found.data, expected.data, scattered)
    tolerances.assert_close(found.weight, expected.weight, scattered)


CASES = [(30, (4, 1, 3), 2, 7), (44, (1,), 1, 1), (14, (0, 5, 0, 2, 1, 1, 3), 3, 4)]


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
        found = kernel_sums(any_session, batch, "weighted_sums", group, float_atomics=path)
        assert_same(any_session, found, batch.expected(), n_trans, batch.pixels.centre)


def integer_paths(session: DeviceSession) -> list[str]:
    """Ways of adding 64-bit integers that work on a device; ``carry`` works on all of them."""
    best = integer_atomics_path(session.device, session.context)
    return ["carry"] if best == "carry" else [best, "carry"]


@pytest.mark.parametrize(("size", "rows_of_image", "n_classes", "n_trans"), CASES)
def test_random_batch_in_fixed_point(
    any_session: DeviceSession,
    size: int,
    rows_of_image: tuple[int, ...],
    n_classes: int,
    n_trans: int,
) -> None:
    """As exact as sums of reals, and the same bits whichever way and however often."""
    rng = np.random.default_rng(size)
    batch = random_batch(any_session, rng, size, rows_of_image, n_classes, n_trans)
    first, *others = (
        kernel_sums(
            any_session, batch, "weighted_sums", group, units=(2.0**-54, 2.0**-50),
            fixed_point=True, integer_atomics=path,
        )
        for path in integer_paths(any_session)
        for group in [(1, 1), (16, 2), (64, 1)]
    )  # fmt: skip
    assert_same(any_session, first, batch.expected(), n_trans, batch.pixels.centre)
    for other in others:
        np.testing.assert_array_equal(other.data, first.data)
        np.testing.assert_array_equal(other.weight, first.weight)


def test_shares_are_rounded_to_whole_numbers(any_session: DeviceSession) -> None:
    batch = random_batch(any_session, np.random.default_rng(5), 14, (3, 1), 2, 3)
    units = (2.0**-4, 2.0**-6)
    found = kernel_sums(
        any_session, batch, "weighted_sums", units=units, fixed_point=True, integer_atomics="carry"
    )
    expected = batch.expected()
    # rows x 14^2/2 pixels, eight shares each: few on any one voxel, each off by half a unit
    for values, wanted, unit in (
        (found.data.real, expected.data.real, units[0]),
        (found.data.imag, expected.data.imag, units[0]),
        (found.weight, expected.weight, units[1]),
    ):
        counts = values / unit
        np.testing.assert_array_equal(counts, np.rint(counts))
        assert 0.1 * unit < np.abs(values - wanted).max() < 6 * unit


@pytest.mark.parametrize("n_workers", [1, 2, 5])
@pytest.mark.parametrize(("size", "rows_of_image", "n_classes", "n_trans"), CASES)
def test_random_batch_with_workers(
    any_session: DeviceSession,
    n_workers: int,
    size: int,
    rows_of_image: tuple[int, ...],
    n_classes: int,
    n_trans: int,
) -> None:
    rng = np.random.default_rng(size)
    batch = random_batch(any_session, rng, size, rows_of_image, n_classes, n_trans)
    first_image = np.sort([0, *rng.integers(0, len(rows_of_image) + 1, n_workers - 1)])
    found = kernel_sums(
        any_session, batch, "weighted_sums_workers",
        first_image=[*(int(i) for i in first_image), len(rows_of_image)],
    )  # fmt: skip
    assert_same(any_session, found, batch.expected(), n_trans, batch.pixels.centre)


FIXED: dict[str, Any] = {
    "units": (2.0**-50, 2.0**-50), "fixed_point": True, "integer_atomics": "carry",
}  # fmt: skip
VARIANTS: list[tuple[str, dict[str, Any]]] = [
    ("weighted_sums", {}),
    ("weighted_sums", FIXED),
    ("weighted_sums_workers", {"first_image": [0, 3]}),
]


@pytest.mark.parametrize(("name", "given"), VARIANTS)
def test_adds_to_what_is_there(
    any_session: DeviceSession, name: str, given: dict[str, Any]
) -> None:
    rng = np.random.default_rng(1)
    batch = random_batch(any_session, rng, 10, (1, 2, 1), 2, 3)
    there = rounded(any_session, rng.standard_normal((1, *batch.shape, 4)))
    there[..., 3] = 0
    start = np.rint(there[..., :3] * 2.0**50) if "units" in given else there
    found = kernel_sums(any_session, batch, name, start=start, **given)
    expected = batch.expected()
    tolerance = tolerances.of_interpolation(any_session.real, batch.pixels.centre)
    tolerances.assert_close(
        found.data, there[0, ..., 0] + 1j * there[0, ..., 1] + expected.data, tolerance
    )
    tolerances.assert_close(found.weight, there[0, ..., 2] + expected.weight, tolerance)


@pytest.mark.parametrize(("name", "given"), VARIANTS)
@pytest.mark.parametrize("tile_planes", [1, 8, 30, 1000])
def test_tiles_hold_their_planes(
    any_session: DeviceSession, name: str, given: dict[str, Any], tile_planes: int
) -> None:
    """Tile after tile, within a class or beyond it, holds what the whole volumes hold there."""
    batch = random_batch(any_session, np.random.default_rng(5), 12, (2, 1, 3), 3, 3)
    whole = kernel_sums(any_session, batch, name, **given)
    n_planes = batch.shape[0] * batch.shape[1]
    parts = []
    for first in range(0, n_planes, tile_planes):
        tile = first, min(tile_planes, n_planes - first)
        parts.append(kernel_sums(any_session, batch, name, planes=tile, tiled=True, **given))
        np.testing.assert_array_equal(parts[-1].pixel_sums, whole.pixel_sums)
    tolerance = tolerances.of_sum(any_session.real, 10)
    for found, expected in (
        (np.concatenate([p.data.reshape(-1, *p.data.shape[-2:]) for p in parts]), whole.data),
        (np.concatenate([p.weight.reshape(-1, *p.data.shape[-2:]) for p in parts]), whole.weight),
    ):
        tolerances.assert_close(found, expected.reshape(found.shape), tolerance)


@pytest.mark.parametrize(("name", "given"), VARIANTS)
def test_total_weight(any_session: DeviceSession, name: str, given: dict[str, Any]) -> None:
    """Trilinear shares add up to one: all the weight arrives, and nothing where it is zero."""
    batch = random_batch(any_session, np.random.default_rng(2), 16, (2, 1, 3), 2, 3)
    found = kernel_sums(any_session, batch, name, **given)
    total = np.zeros(2)
    for image, class_number, *_, entries in batch.rows:
        total[class_number] += sum(w for _, w in entries) * batch.bp_weight[image].sum()
    tolerance = tolerances.of_sum(any_session.real, 10)
    tolerances.assert_close(found.weight.sum(axis=(1, 2, 3)), total, tolerance)
    assert np.all(found.weight >= 0)
    empty = Batch(**{**vars(batch), "bp_weight": np.zeros_like(batch.bp_weight)})
    nothing = kernel_sums(any_session, empty, name, **given)
    assert not nothing.data.any()
    assert not nothing.weight.any()


@pytest.mark.parametrize(("name", "given"), VARIANTS)
@pytest.mark.parametrize("n_padding", [2.0, 1.6])
def test_scatter_is_the_adjoint_of_projection(
    any_session: DeviceSession, name: str, given: dict[str, Any], n_padding: float
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
    back = kernel_sums(any_session, batch, name, **given).data
    here, there = np.vdot(projected, y).real, np.vdot(x, back).real
    scale = np.linalg.norm(projected) * np.linalg.norm(y)
    assert abs(here - there) <= tolerances.adjointness(any_session.real) * scale
    assert abs(here) > 1e-3 * scale


def test_images_without_rows(any_session: DeviceSession) -> None:
    batch = random_batch(any_session, np.random.default_rng(4), 10, (1, 0), 1, 2)
    batch = Batch(**{**vars(batch), "rows": []})
    for name, given in (*VARIANTS[:2], ("weighted_sums_workers", {"first_image": [0, 1, 2]})):
        found = kernel_sums(any_session, batch, name, **given)
        assert not found.pixel_sums.any()
        assert not found.data.any()
        assert not found.weight.any()
