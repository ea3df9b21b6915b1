"""A random batch for the weighted sums, and the kernels that make them, in any of their ways."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from clrelion.device.session import DeviceSession
from tests import tolerances
from tests.kernels.launch import Output, int32, rounded, run_kernel
from tests.kernels.scoring_kernels import split_complex
from tests.kernels.slice_inputs import Grid, PixelList, pixel_list, random_grid
from tests.reference.group_rows import group_rows
from tests.reference.pack_images import pack_images
from tests.reference.weighted_sums import Row, WeightedSums, weighted_sums

BOX = 50
_N_DIR, _N_PSI = 4, 3


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
        return weighted_sums(
            self.image_ft, self.unmasked_ft, self.reference_ctf, self.bp_data, self.bp_weight,
            self.reference_rows(), self.pixels.phases(self.shifts_px, BOX), self.pixels.xy,
            self.scale_mask[:, self.pixels.shell], self.shape,
        )  # fmt: skip

    def reference_rows(self) -> list[Row]:
        return [
            Row(i, k, self.grid.matrices[d, p], self.slices_ft[s], entries)
            for i, k, d, p, s, entries in self.rows
        ]

    def groups(self) -> tuple[list[int], list[int]]:
        """Where each row is if those of an orientation are together, and where these begin."""
        pairs = [(i, (k * 100 + d) * 100 + p) for i, k, d, p, *_ in self.rows]
        return group_rows(pairs)


def random_batch(
    session: DeviceSession,
    rng: np.random.Generator,
    size: int,
    rows_of_image: Sequence[int],
    n_classes: int,
    n_trans: int,
) -> Batch:
    """No image has an orientation twice; each orientation has a slice."""
    pixels = pixel_list(size)
    n_images, n_slices = len(rows_of_image), n_classes * _N_DIR * _N_PSI
    shape = n_images, pixels.n
    slice_of = rng.permutation(n_slices).tolist()

    def noise(*dimensions: int) -> npt.NDArray[np.complex128]:
        return rounded(session, rng.standard_normal((*dimensions, 2)) @ [1, 1j])

    rows: list[tuple[int, int, int, int, int, list[tuple[int, float]]]] = []
    for image, n_rows in enumerate(rows_of_image):
        for o in rng.permutation(n_slices)[:n_rows].tolist():
            n_entries = int(rng.integers(1, n_trans + 1))
            translations = np.sort(rng.permutation(n_trans)[:n_entries])
            omega = rounded(session, rng.uniform(0, 1 / n_rows / n_entries, n_entries))
            entries = [(int(t), float(w)) for t, w in zip(translations, omega, strict=True)]
            orientation = o // (_N_DIR * _N_PSI), o // _N_PSI % _N_DIR, o % _N_PSI
            rows.append((image, *orientation, slice_of[o], entries))
    weight = rng.uniform(0.1, 3, shape) * (rng.random(shape) < 0.9)
    weight[:, -5:] = 0.0  # pixels beyond the sums' sphere, which only complete the shells
    return Batch(
        pixels, noise(*shape), noise(*shape),
        rounded(session, rng.uniform(-1, 1, shape)), rounded(session, rng.uniform(-1, 1, shape)),
        rounded(session, weight), rng.random((n_classes, size // 2 + 1)) < 0.5,
        random_grid(rng, _N_DIR, _N_PSI), noise(n_slices, pixels.n),
        rng.uniform(-5, 5, (n_trans, 2)), rows,
    )  # fmt: skip


@dataclass(frozen=True)
class Lists:
    """Rows as the kernels read them, image after image or orientation after orientation."""

    row_start: npt.NDArray[np.int32]
    place: npt.NDArray[np.int32] | None
    group_start: npt.NDArray[np.int32] | None
    n_groups: int
    columns: npt.NDArray[np.int32]  # image, class, frame, psi, slice
    omega: npt.NDArray[np.float64]
    entries: tuple[npt.NDArray[Any], ...]


def _lists(batch: Batch, grouped: bool) -> Lists:
    images = np.array([row[0] for row in batch.rows], dtype=int)
    place, start = batch.groups() if grouped else (list(range(len(batch.rows))), [])
    rows = [batch.rows[n] for n in np.argsort(place)]
    entries = [row[5] for row in rows]
    return Lists(
        int32(np.searchsorted(images, np.arange(len(batch.image_ft) + 1))),
        int32(place) if grouped else None,
        int32(start) if grouped else None,
        len(start) - 1 if grouped else len(rows),
        int32(np.array([row[:5] for row in rows], dtype=int).reshape(-1, 5).T),
        np.array([sum(w for _, w in e) for e in entries]),
        (
            int32(np.cumsum([0, *(len(e) for e in entries)])),
            int32([t for e in entries for t, _ in e]),
            np.array([w for e in entries for _, w in e]),
        ),
    )


def kernel_sums(
    session: DeviceSession,
    batch: Batch,
    way: str,
    group: tuple[int, int] = (1, 1),
    grouped: bool = False,
    n_workers: int = 1,
    start: npt.NDArray[np.float64] | None = None,
    units: tuple[float, float] = (1.0, 1.0),
    planes: tuple[int, int] | None = None,
    **parameters: Any,
) -> WeightedSums:
    """What the kernels write; volumes of the workers are added up.

    ``way``: "at once" (weighted_sums does all), "apart" (weighted_sums, then
    backproject_orientations) or "workers".  ``grouped``: by orientation.  ``start``: what was
    there.  ``planes``: first one and number of those that are stored.  ``units`` of data and
    weight: what the whole numbers of a fixed-point volume count.
    """
    fixed = parameters.get("fixed_point", False)
    whole = 0, batch.shape[0] * batch.shape[1]
    span = planes or whole
    shape = (n_workers, span[1], *batch.shape[2:], 3 if fixed else 4)
    there = np.zeros(shape) if start is None else start
    volumes = Output(session, shape, np.int64 if fixed else None, start=there)
    lists = _lists(batch, grouped)
    # where nothing is back-projected, nobody may look for the place
    xy = np.where(np.any(batch.bp_weight > 0, axis=0)[:, None], batch.pixels.xy, 1e6)
    if way == "workers":
        sums = _with_workers(session, batch, lists, xy, n_workers, span, volumes, **parameters)
    else:
        scales = (1 / units[0], 1 / units[1]) if fixed else ()
        sums = _with_atomics(
            session, batch, lists, xy, way, group, span, volumes, scales, **parameters
        )
    total = volumes.read().astype(np.float64).sum(axis=0)
    if span == whole:
        total = total.reshape(*batch.shape, -1)
    if fixed:
        total *= [units[0], units[0], units[1]]
    assert fixed or np.all(total[..., 3] == 0)
    return WeightedSums(sums, total[..., 0] + 1j * total[..., 1], total[..., 2])


def _with_workers(
    session: DeviceSession,
    batch: Batch,
    lists: Lists,
    xy: npt.NDArray[np.float64],
    n_workers: int,
    planes: tuple[int, int],
    volumes: Output,
    **parameters: Any,
) -> npt.NDArray[np.float64]:
    n_images, n_list = batch.image_ft.shape
    n_blocks = -(-n_list // 16)
    behind = (0, 16 * n_blocks - n_list)
    packed = pack_images(
        batch.image_ft, batch.unmasked_ft, batch.reference_ctf, batch.bp_data, batch.bp_weight
    )
    ramp_x, ramp_y = batch.pixels.ramps(batch.shifts_px, BOX)
    kx, ky = batch.pixels.kxy.T
    phases = ramp_x[:, kx] * ramp_y[:, ky + batch.pixels.half]
    counted = batch.scale_mask[:, batch.pixels.shell].astype(np.float64)
    pixel_sums = Output(session, (n_images, n_blocks, 4, 16))
    run_kernel(
        session, "weighted_sums_workers", (n_workers,), (1,),
        packed, batch.reference_ctf,
        np.pad(split_complex(batch.slices_ft), ((0, 0), (0, 0), behind)),
        lists.group_start, lists.n_groups, *lists.columns, lists.omega, *lists.entries,
        np.pad(xy.T, ((0, 0), behind)), np.pad(counted, ((0, 0), behind)), len(counted),
        np.pad(split_complex(phases), ((0, 0), (0, 0), behind)),
        batch.grid.frames, batch.grid.psis, n_list, 16 * n_blocks, *planes, batch.shape[1],
        batch.shape[3], batch.pixels.centre, n_images, volumes, pixel_sums,
        **{"tiled": False, **parameters},
    )  # fmt: skip
    sums = pixel_sums.read().transpose(0, 1, 3, 2).reshape(n_images, -1, 4)
    assert not sums[:, n_list:].any()
    return sums[:, :n_list]


def _with_atomics(
    session: DeviceSession,
    batch: Batch,
    lists: Lists,
    xy: npt.NDArray[np.float64],
    way: str,
    group: tuple[int, int],
    planes: tuple[int, int],
    volumes: Output,
    scales: tuple[float, ...],
    **parameters: Any,
) -> npt.NDArray[np.float64]:
    n_images, n_list = batch.image_ft.shape
    n_padded = n_list + 5
    image, class_number, frame, psi, projection = lists.columns
    ramp_x, ramp_y = batch.pixels.ramps(batch.shifts_px, BOX)
    phases = ramp_x, ramp_y, ramp_x.shape[1], batch.pixels.half
    of_images = batch.unmasked_ft, batch.bp_data, batch.bp_weight
    pixel_sums = Output(session, (n_images, n_list, 4))
    chosen = {"tiled": False, "fixed_point": False, **parameters}
    of_scatter: tuple[Any, ...] = ()
    if way == "at once":
        of_scatter = (
            *(*of_images, frame, psi, xy, batch.grid.frames, batch.grid.psis, batch.shape[1]),
            *(batch.shape[3], batch.pixels.centre, volumes),
        )
    run_kernel(
        session, "weighted_sums", (n_list, n_images), group,
        batch.image_ft, batch.reference_ctf,
        np.pad(split_complex(batch.slices_ft), ((0, 0), (0, 0), (0, 5))),
        lists.row_start, lists.place, class_number, projection, lists.omega, *lists.entries,
        batch.pixels.kxy, batch.pixels.shell, batch.scale_mask.astype(np.uint8),
        batch.scale_mask.shape[1], *phases, n_list, n_padded, n_images, *of_scatter, pixel_sums,
        **{**chosen, "tiled": False, "fixed_point": False}, scatters=way == "at once",
    )  # fmt: skip
    if way == "apart":
        run_kernel(
            session, "backproject_orientations", (n_list, lists.n_groups), group,
            *of_images, lists.group_start, lists.n_groups, image, class_number, frame, psi,
            lists.omega, *lists.entries, batch.pixels.kxy, xy, *phases, batch.grid.frames,
            batch.grid.psis, n_list, *planes, batch.shape[1], batch.shape[3], batch.pixels.centre,
            volumes, *scales, **chosen,
        )  # fmt: skip
    return pixel_sums.read()


def assert_same(
    session: DeviceSession, found: WeightedSums, expected: WeightedSums, n_terms: int, centre: int
) -> None:
    tolerances.assert_close(
        found.pixel_sums, expected.pixel_sums, tolerances.of_sum(session.real, n_terms)
    )
    scattered = tolerances.of_interpolation(session.real, centre, n_terms)
    tolerances.assert_close(found.data, expected.data, scattered)
    tolerances.assert_close(found.weight, expected.weight, scattered)


CASES = [
    (30, (4, 1, 3), 2, 7),
    (44, (1,), 1, 1),
    (14, (0, 5, 0, 2, 1, 1, 3), 3, 4),
    (12, (9,) * 37, 1, 3),
    (18, (12, 0, 1, 3, 20) * 3, 2, 5),
]
"""Size, rows of each image, classes, translations: from one image of an orientation to many."""
FIXED: dict[str, Any] = {
    "units": (2.0**-50, 2.0**-50), "fixed_point": True, "integer_atomics": "carry",
}  # fmt: skip
WAYS: list[tuple[str, dict[str, Any]]] = [
    ("at once", {}),
    ("apart", {}),
    ("apart", {"grouped": True}),
    ("apart", FIXED),
    ("apart", {**FIXED, "grouped": True}),
    ("workers", {"n_workers": 2}),
    ("workers", {"n_workers": 2, "grouped": True}),
]
