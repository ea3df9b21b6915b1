"""Run the kernels that project, shift and compare, on host arrays in the shapes of the twins."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from clrelion.device.session import DeviceSession
from tests.kernels.block_inputs import BlockVectors
from tests.kernels.launch import Output, int32, run_kernel
from tests.kernels.slice_inputs import Grid, PixelList
from tests.reference.brick_layout import brick_layout
from tests.reference.project_grid import into_panels
from tests.reference.split_panels import split_panels
from tests.reference.split_rows import split_rows


def slices(
    session: DeviceSession,
    reference: npt.NDArray[Any],
    grid: Grid,
    row_class: npt.NDArray[Any],
    row_frame: npt.NDArray[Any],
    row_psi: npt.NDArray[Any],
    pixels: PixelList,
    n_padded: int,
    n_projected: int | None = None,
    group: tuple[int, int] = (1, 1),
    name: str = "project_rows",
    tile_planes: int = 0,
    brick: tuple[int, int, int] = (2, 4, 4),
    rows: int = 16,
) -> npt.NDArray[np.complex128]:
    """What project_rows (_vector, _bricks) writes, as complex numbers (row, padded pixel).

    With ``tile_planes`` from tiles of so many planes, one after the other; ``brick`` and ``rows``
    are parameters of project_rows_bricks.
    """
    _, edge, _, nx = reference.shape
    n_rows = len(row_class)
    n_projected = pixels.n if n_projected is None else n_projected
    in_vectors = name.endswith("_vector")
    n_stored = -(-n_padded // 16) * 16 if in_vectors else n_padded
    shape = (n_rows, 2, n_stored)
    out = Output(session, shape, start=np.zeros(shape) if tile_planes else None)
    of_rows = (
        *(grid.frames, grid.psis, int32(row_class), int32(row_frame), int32(row_psi)),
        *(_pixel_table(pixels, n_projected, n_stored, in_vectors), n_projected, n_stored, n_rows),
    )
    if name.endswith("_bricks"):
        bricks = brick_layout(reference, brick)
        n_x, n_y = -(-nx // brick[0]), -(-edge // brick[1])
        run_kernel(
            session, name, (n_padded, -(-n_rows // rows)), group,
            bricks, n_x, n_y, bricks.shape[1], nx - 1, *of_rows, out, brick=brick, rows=rows,
        )  # fmt: skip
        return _as_complex(out, n_projected, n_padded)
    for planes, first_plane in reference_tiles(reference, tile_planes):
        run_kernel(
            session, name,
            (n_rows,) if in_vectors else (n_padded, n_rows), (1,) if in_vectors else group,
            planes, first_plane, len(planes), edge, nx, nx - 1, *of_rows,
            out, tiled=tile_planes > 0,
        )  # fmt: skip
    return _as_complex(out, n_projected, n_padded)


def _as_complex(out: Output, n_projected: int, n_padded: int) -> npt.NDArray[np.complex128]:
    result = out.read()
    assert not result[:, :, n_projected:].any()
    return (result[:, 0] + 1j * result[:, 1])[:, :n_padded]


def packed_slices(
    session: DeviceSession,
    reference: npt.NDArray[Any],
    grid: Grid,
    first: int,
    n_orientations: int,
    pixels: PixelList,
    n_padded: int,
    n_projected: int,
    panel: int,
    group: tuple[int, int] = (1, 1),
    name: str = "project_grid",
    tile_planes: int = 0,
) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """What project_grid (_vector) writes.

    Projections (panels, 2, n_padded, panel) and powers (panels, n_padded, panel).
    """
    _, edge, _, nx = reference.shape
    n_panels = -(-n_orientations // panel)
    in_vectors = name.endswith("_vector")
    n_columns = n_panels * panel
    n_stored = -(-n_padded // 16) * 16 if in_vectors else n_padded
    shape = (n_panels, n_stored, panel)
    zeros = np.zeros((n_panels, 2, n_stored, panel)) if tile_planes else None
    projections = Output(session, (n_panels, 2, n_stored, panel), start=zeros)
    powers = Output(session, shape, start=np.zeros(shape) if tile_planes else None)
    for planes, first_plane in reference_tiles(reference, tile_planes):
        run_kernel(
            session, name,
            (n_panels,) if in_vectors else (n_columns, n_padded), (1,) if in_vectors else group,
            planes, first_plane, len(planes), edge, nx, nx - 1, grid.frames, grid.psis,
            len(grid.rot_deg), len(grid.psi_deg), first, n_orientations,
            _pixel_table(pixels, n_projected, n_stored, in_vectors), n_projected, n_stored,
            n_panels if in_vectors else n_columns, projections, powers, panel=panel,
            tiled=tile_planes > 0,
        )  # fmt: skip
    assert not projections.read()[:, :, n_projected:].any()
    assert not powers.read()[:, n_projected:].any()
    return projections.read()[:, :, :n_padded], powers.read()[:, :n_padded]


def reference_tiles(
    reference: npt.NDArray[Any], tile_planes: int
) -> list[tuple[npt.NDArray[Any], int]]:
    """Planes of all classes and the number of the first; tiles share a plane with the next."""
    planes = reference.reshape(-1, *reference.shape[2:])
    if not tile_planes:
        return [(planes, 0)]
    starts = range(0, len(planes) - 1, tile_planes - 1)
    return [(planes[first : first + tile_planes], first) for first in starts]


def _pixel_table(
    pixels: PixelList, n_projected: int, n_padded: int, in_vectors: bool
) -> npt.NDArray[np.float64]:
    """Pixels in padded Fourier units; those that are not projected must not be looked at.

    The vector kernels look at all of them, sixteen at a time, and get zeros there.
    """
    table = np.full((n_padded, 2), 0.0 if in_vectors else 1e3)
    table[:n_projected] = pixels.xy[:n_projected]
    return np.ascontiguousarray(table.T) if in_vectors else table


def operands(
    session: DeviceSession,
    image_ft: npt.NDArray[Any],
    ctf: npt.NDArray[Any],
    scale: npt.NDArray[Any],
    weight: npt.NDArray[Any],
    subset: npt.NDArray[Any],
    pixels: PixelList,
    shifts_px: npt.NDArray[Any],
    box: int,
    power_factor: float,
    n_padded: int,
    group: tuple[int, int, int] = (1, 1, 1),
) -> tuple[npt.NDArray[np.complex128], npt.NDArray[Any]]:
    """What the kernel writes: coefficients (image, translation, padded pixel) and CTF power.

    ``subset`` tells where in the images' list each of the first ``len(subset)`` pixels is.
    """
    n_images, n_list = image_ft.shape
    n_pixels, n_trans = len(subset), len(shifts_px)
    padding = n_padded - n_pixels
    ramp_x, ramp_y = pixels.ramps(shifts_px, box)
    shifted = Output(session, (n_images, n_trans, 2, n_padded))
    power = Output(session, (n_images, n_padded))
    run_kernel(
        session, "scoring_operands", (n_padded, n_trans, n_images), group,
        image_ft, ctf, scale, np.pad(weight, (0, padding), constant_values=np.nan),
        int32(np.pad(subset, (0, padding), constant_values=10**8)),
        np.pad(pixels.kxy[subset], ((0, padding), (0, 0)), constant_values=10**8),
        ramp_x, ramp_y, n_images, n_list, n_pixels, n_padded, n_trans,
        ramp_x.shape[1], pixels.half, power_factor, shifted, power,
    )  # fmt: skip
    result = shifted.read()
    return result[:, :, 0] + 1j * result[:, :, 1], power.read()


def split_images(rows: npt.NDArray[Any]) -> tuple[npt.NDArray[np.uint8], npt.NDArray[Any]]:
    """What split_rows writes, from its twin."""
    high, low, scale = split_rows(rows)
    pairs = np.stack([part.reshape(len(rows), -1, 16) for part in (high, low)], axis=2)
    return np.ascontiguousarray(pairs).view(np.uint8), scale


def split_slices(panels: npt.NDArray[Any]) -> tuple[npt.NDArray[np.uint8], npt.NDArray[Any]]:
    """What split_panels writes, from its twin."""
    high, low, scale = split_panels(panels)
    n_panels, _, width = panels.shape
    pairs = np.stack([part.reshape(n_panels, -1, 16, width) for part in (high, low)], axis=2)
    return np.ascontiguousarray(pairs).view(np.uint8), scale


TILE = 128
"""Panel of diff2_coarse, which has no choice in it."""


def coarse_product(
    session: DeviceSession,
    name: str,
    images: npt.NDArray[Any],
    projections: npt.NDArray[Any],
    epilogue: str = "none",
    norm: npt.NDArray[Any] | None = None,
    inverse_image_norm: npt.NDArray[Any] | None = None,
    n_trans: int = 1,
    first_column: int = 0,
    **parameters: int,
) -> npt.NDArray[Any]:
    """What diff2_coarse (_vector) writes for ``images`` (m, depth), ``projections`` (r, depth).

    Checks that it writes the columns from ``first_column`` on, of whole panels, and no others.
    """
    n_rows, depth = images.shape
    n_orientations = len(projections)
    panel = parameters.get("panel", TILE)
    panels = into_panels(projections, panel)
    n_columns = len(panels) * panel
    stride = first_column + n_columns + 4
    norms = None
    if norm is not None:
        norms = np.zeros((len(norm), stride))
        norms[:, first_column : first_column + n_orientations] = norm
    out = Output(session, (n_rows, stride))
    given: tuple[Any, ...] = (images, panels)
    if name in ("diff2_coarse", "diff2_coarse_tensor"):
        n_items, group = (128 * -(-n_rows // 64), len(panels)), (128, 1)
    else:
        n_items, group = (-(-n_rows // parameters["rows"]), len(panels)), (1, 1)
    if name == "diff2_coarse_tensor":
        given = (*split_images(images), *split_slices(panels))
        given = (given[0], given[2], given[1], given[3])
    run_kernel(
        session, name, n_items, group,
        *given, norms, inverse_image_norm, out, n_rows, depth, n_trans, stride,
        first_column, epilogue=epilogue, **parameters,
    )  # fmt: skip
    untouched = out.read_untouched()
    written = np.zeros_like(untouched)
    written[:, first_column : first_column + n_columns] = True
    np.testing.assert_array_equal(untouched, ~written)
    return out.read()[:, first_column : first_column + n_orientations]


def fine_scores(
    session: DeviceSession,
    name: str,
    shifted: npt.NDArray[np.complex128],
    ctf_power: npt.NDArray[Any],
    projections: npt.NDArray[np.complex128],
    blocks: BlockVectors,
    inverse_image_norm: npt.NDArray[Any] | None = None,
    shifts: tuple[PixelList, npt.NDArray[Any], int] | None = None,
    **parameters: Any,
) -> npt.NDArray[Any]:
    """What diff2_fine (_vector) writes, one number a sample; ``shifted`` (image, child, pixel).

    With ``shifts``, a pixel list, shifts in px (child, 2) and the box, the kernel makes them:
    ``shifted`` (image, 1, pixel).
    """
    out = Output(session, blocks.n_samples)
    group = (parameters["wg"],) if name == "diff2_fine" else (1,)
    n_blocks, n_padded, n_trans = len(blocks.image), shifted.shape[-1], shifted.shape[1]
    phases: tuple[Any, ...] = ()
    if name == "diff2_fine":
        parameters["makes_shifts"] = shifts is not None
    if shifts is not None:
        pixels, shifts_px, box = shifts
        ramp_x, ramp_y = pixels.ramps(shifts_px, box)
        kxy = np.pad(pixels.kxy, ((0, n_padded - pixels.n), (0, 0)))
        phases = kxy, ramp_x, ramp_y, ramp_x.shape[1], pixels.half
        n_trans = len(shifts_px)
    run_kernel(
        session, name, (n_blocks * group[0],), group,
        split_complex(shifted), ctf_power, split_complex(projections),
        blocks.image, blocks.row, blocks.n_rows, blocks.row_projection, blocks.trans,
        blocks.n_trans, blocks.out, blocks.trans_list, inverse_image_norm, *phases, n_blocks,
        n_trans, blocks.n_children, n_padded, out,
        cross_correlation=inverse_image_norm is not None, **parameters,
    )  # fmt: skip
    return out.read()


def split_complex(values: npt.NDArray[np.complex128]) -> npt.NDArray[np.float64]:
    """(..., pixel) complex as (..., real | imaginary, pixel)."""
    return np.stack([values.real, values.imag], axis=-2)
