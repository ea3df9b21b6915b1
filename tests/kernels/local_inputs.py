"""Particles, grids and wide numbers for the kernels that list local searches."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clrelion.device.session import DeviceSession
from clrelion.device.wide_numbers import wide_to_device
from clrelion.orientations.euler import direction_vector
from clrelion.orientations.healpix_grid import maximum_pixel_radius_deg
from clrelion.orientations.sampling import OrientationGrid
from clrelion.orientations.symmetry import PointGroup
from tests.kernels.launch import Output, int32
from tests.reference.local_lists import Directions, prior_mates, psi_windows

KINDS = ["double", "pair"]
_EVERYWHERE = 8.0


class WideOutput(Output):
    """Device array of wide numbers that a kernel fills."""

    def __init__(self, session: DeviceSession, shape: tuple[int, ...], kind: str) -> None:
        is_pair = kind == "pair"
        super().__init__(
            session, (*shape, 2) if is_pair else shape, np.float32 if is_pair else np.float64
        )
        self._is_pair = is_pair

    def read(self) -> NDArray[Any]:
        host = super().read().astype(np.float64)
        return np.asarray(host.sum(axis=-1)) if self._is_pair else host


def needs(session: DeviceSession, kind: str) -> bool:
    """Tell whether a session may use these numbers: pairs stand for double where there is none."""
    return session.capabilities.fp64 if kind == "double" else session.precision == "single"


@dataclass(frozen=True)
class LocalInputs:
    """A few particles with a prior, somewhere and in places of their own; a grid."""

    order: int
    symmetry: str
    prior: str
    sigma_deg: float
    sigma_psi_deg: float
    n: int = 13
    top: int = 0

    @cached_property
    def group(self) -> PointGroup:
        return PointGroup.from_name(self.symmetry)

    @cached_property
    def grid(self) -> OrientationGrid:
        return OrientationGrid.create(self.order, None, self.group)

    @cached_property
    def angles_deg(self) -> NDArray[np.float64]:
        """Prior rot, tilt, psi; among them poles and a direction of the grid."""
        rng = np.random.default_rng(self.order + 7)
        angles = np.stack(
            [
                rng.uniform(-180, 180, self.n),
                rng.uniform(0, 180, self.n),
                rng.uniform(-180, 360, self.n),
            ],
            axis=-1,
        )
        angles[0] = 30.0, 0.0, 20.0
        angles[1] = 30.0, 180.0, 20.0
        angles[2] = self.grid.rot_deg[-1], self.grid.tilt_deg[-1], self.grid.psi_deg[-1]
        return angles

    @cached_property
    def directions(self) -> Directions:
        """Twin's view."""
        centres, _ = self.mates
        vectors = direction_vector(self.grid.rot_deg, self.grid.tilt_deg)
        return Directions(self.prior, vectors, centres, self.group.order)

    @cached_property
    def mates(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        return prior_mates(self.angles_deg, self.group.operators, self.prior, True)

    @cached_property
    def windows(self) -> list[tuple[int, int, float, float]]:
        return psi_windows(self.mates[1], self.grid.n_psi, self.sigma_psi_deg)

    @property
    def n_roots(self) -> int:
        return int(12 * 4**self.top)

    @property
    def sigma(self) -> float:
        """Radians."""
        return math.radians(self.sigma_deg)

    @property
    def psi_count(self) -> NDArray[np.int64]:
        return np.array([window[1] for window in self.windows])

    @property
    def roots(self) -> NDArray[np.int64]:
        """Root pixel of each direction of the grid."""
        return np.asarray(self.grid.pixels >> 2 * (self.order - self.top))

    def measure(self, angle: float) -> float:
        """Measure of an angle (radians) in the kernels."""
        if self.prior == "rot":
            return math.sin(angle) ** 2 if angle < math.pi / 2 else _EVERYWHERE
        return (2 * math.sin(angle / 2)) ** 2 if angle < math.pi else _EVERYWHERE

    def grid_arguments(self) -> tuple[Any, ...]:
        return int32(self.grid.pixels), self.grid.n_dir, self.order, self.top

    def radius(self) -> NDArray[np.float64]:
        """Of the pixels of each order, radians."""
        return np.deg2rad([maximum_pixel_radius_deg(k) for k in range(self.order + 1)])

    def reach(self) -> NDArray[np.float64]:
        """Rather more than is needed."""
        angles = 3 * self.sigma + self.radius()
        return np.array([1.01 * self.measure(angle) + 1e-3 for angle in angles])

    def limit(self, session: DeviceSession, kind: str) -> Any:
        return wide_to_device(session, np.array([self.measure(3 * self.sigma)]), kind)

    def centres(self, session: DeviceSession, kind: str) -> Any:
        return wide_to_device(session, self.mates[0], kind)
