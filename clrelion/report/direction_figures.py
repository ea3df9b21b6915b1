"""Figure of the angular distribution: the sphere of directions as a Mollweide map."""

from __future__ import annotations

import functools

import healpix
import numpy as np
from numpy.typing import NDArray

from clrelion.errors import OptionsError
from clrelion.orientations.euler import direction_angles, direction_vector
from clrelion.orientations.healpix_grid import pixel_count
from clrelion.orientations.symmetry import PointGroup
from clrelion.report.figure import Cell, Panel, PanelRow, Pictures, Ramp, Table
from clrelion.report.palette import HEAT
from clrelion.report.run_record import RunRecord

__all__ = ["angular_distribution", "mollweide_angles"]

_WIDTH_PX, _HEIGHT_PX = 800, 400
_PARTICLES_A_CELL = 4
_COARSEST, _FINEST = 2, 4
_MOST_CLASSES = 12
_MERIDIANS_DEG, _PARALLELS_DEG = 60.0, 30.0
_LINE = np.array([255, 255, 255, 255], dtype=np.uint8)


def angular_distribution(run: RunRecord) -> Pictures | None:
    """Directions of view of the particles, class by class.

    Each particle counts at all directions that the symmetry makes equal, so that the whole sphere
    is filled; cells have equal areas.
    """
    table = run.particles
    if table is None or not (table.rot_deg.any() or table.tilt_deg.any()):
        return None
    group = _point_group(run)
    n_classes = run.last.model.n_classes
    classes = table.class_number if n_classes > 1 else np.zeros(table.n, np.int64)
    members = [np.flatnonzero(classes == k) for k in range(n_classes)]
    largest = sorted(range(n_classes), key=lambda k: -len(members[k]))[:_MOST_CLASSES]
    shown = [k for k in sorted(largest) if len(members[k])]
    if not shown:
        return None
    n_most = max(len(members[k]) for k in shown) * len(group.operators)
    order = _COARSEST
    while order < _FINEST and n_most >= _PARTICLES_A_CELL * pixel_count(order + 1):
        order += 1
    counts = [
        _count(table.rot_deg[members[k]], table.tilt_deg[members[k]], group, order) for k in shown
    ]
    highest = max(float(c.max()) for c in counts)
    panels = [
        Panel(
            f"class {k + 1}, {len(members[k]):,} particles" if n_classes > 1
            else f"{len(members[k]):,} particles",
            _sky(c / highest, order),
        )
        for k, c in zip(shown, counts, strict=True)
    ]  # fmt: skip
    per_row = 1 if len(panels) == 1 else 2
    rows = [PanelRow("", tuple(panels[i : i + per_row])) for i in range(0, len(panels), per_row)]
    symmetric = (
        f" Each particle counts at its {len(group.operators)} directions that {group.name} makes "
        "equal." if len(group.operators) > 1 else ""
    )  # fmt: skip
    return Pictures(
        "angular_distribution", "Angular distribution",
        "Directions of view as a Mollweide map: tilt 0° on top, 180° at the bottom, rot 0° in the "
        f"middle, lines every 60° and 30°; cells of equal area.{symmetric}",
        tuple(rows), _table(shown, counts, order), Ramp(HEAT, "0", f"{highest:.3g} in a cell"),
        is_wide=len(panels) > 1,
    )  # fmt: skip


def _point_group(run: RunRecord) -> PointGroup:
    sampling = next((r.sampling for r in reversed(run.iterations) if r.sampling), None)
    try:
        return PointGroup.from_name(sampling.symmetry if sampling else "C1")
    except OptionsError:  # a mirror group of RELION's
        return PointGroup.from_name("C1")


def _count(
    rot_deg: NDArray[np.float64], tilt_deg: NDArray[np.float64], group: PointGroup, order: int
) -> NDArray[np.float64]:
    """Particles in each HEALPix cell, float64 (n_cells,), symmetry mates included."""
    directions = direction_vector(rot_deg, tilt_deg)
    counts = np.zeros(pixel_count(order))
    for operator in group.operators:
        x, y, z = (directions @ operator).T  # rows d R are R.T d
        cells = healpix.vec2pix(2**order, x, y, z, nest=True)
        counts += np.bincount(cells, minlength=len(counts))
    return counts


def mollweide_angles(width: int, height: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Give rot and tilt, degrees, of each pixel of a Mollweide map; NaN outside of it.

    Returns
    -------
    rot_deg, tilt_deg
        float64, (height, width); row 0 on top, rot grows to the right.
    """
    y = 1 - (2 * np.arange(height)[:, None] + 1) / height
    x = (2 * np.arange(width)[None] + 1) / width - 1
    theta = np.arcsin(y)
    latitude = np.arcsin(np.clip((2 * theta + np.sin(2 * theta)) / np.pi, -1, 1))
    with np.errstate(divide="ignore", invalid="ignore"):
        longitude = np.pi * x / np.cos(theta)
    inside = np.abs(longitude) <= np.pi
    rot = np.where(inside, np.rad2deg(longitude), np.nan)
    return rot, np.where(inside, 90.0 - np.rad2deg(latitude), np.nan)


@functools.cache
def _layout(order: int) -> tuple[NDArray[np.bool_], NDArray[np.int64], NDArray[np.bool_]]:
    """Which pixels lie on the sphere, the cell of each of those, and which are on lines."""
    rot, tilt = mollweide_angles(_WIDTH_PX, _HEIGHT_PX)
    inside = np.isfinite(rot)
    theta, phi = np.deg2rad(tilt[inside]), np.deg2rad(rot[inside] % 360.0)
    is_line = np.zeros_like(inside)
    for angles, step in ((rot, _MERIDIANS_DEG), (tilt, _PARALLELS_DEG)):
        zones = np.floor(np.nan_to_num(angles, nan=1e6) / step)
        for axis in (0, 1):
            is_line |= np.diff(zones, axis=axis, append=np.take(zones, [-1], axis)) != 0
    return inside, healpix.ang2pix(2**order, theta, phi, nest=True), is_line & inside


def _sky(values: NDArray[np.float64], order: int) -> NDArray[np.uint8]:
    """Picture of a sphere, uint8 (height, width, 4), of cells with values 0 to 1."""
    inside, cells, is_line = _layout(order)
    image = np.zeros((_HEIGHT_PX, _WIDTH_PX, 4), dtype=np.uint8)
    image[inside, :3] = HEAT[np.round(values[cells] * (len(HEAT) - 1)).astype(np.int64)]
    image[inside, 3] = 255
    image[is_line] = (0.6 * image[is_line] + 0.4 * _LINE).astype(np.uint8)
    return image


def _table(shown: list[int], counts: list[NDArray[np.float64]], order: int) -> Table:
    x, y, z = healpix.pix2vec(2**order, np.arange(pixel_count(order)), nest=True)
    rot, tilt = direction_angles(np.stack([x, y, z], axis=-1))
    rows: list[list[Cell]] = [
        [round(float(rot[i]), 2), round(float(tilt[i]), 2), *(int(c[i]) for c in counts)]
        for i in range(len(rot))
    ]
    names = [f"Class {k + 1}" for k in shown] if len(shown) > 1 else ["Particles"]
    return Table(["Rot (°)", "Tilt (°)", *names], rows)
