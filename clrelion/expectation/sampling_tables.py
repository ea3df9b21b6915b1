"""The orientations and translations of this iteration as tables on the device.

An orientation is a frame, rows 0 and 1 of Y(tilt) Z(rot) P with the perturbation P, and an in-plane
angle psi applied to the image pixels; together they are the rows of the Euler matrix that a central
slice needs (specification E 1.2, 4.5).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from clrelion.expectation.settings import ExpectationSettings
from clrelion.io.particle_table import ParticleTable
from clrelion.orientations.euler import euler_matrix
from clrelion.orientations.sampling import (
    OrientationGrid,
    perturb_orientations,
    perturbation_matrix,
)

if TYPE_CHECKING:
    from clrelion.device.array import Array
    from clrelion.device.session import DeviceSession

__all__ = ["OrientationTables"]


@dataclass(frozen=True)
class OrientationTables:
    """Frames and psi angles of the coarse and of the fine orientations.

    If orientations are kept (``--skip_align``, ``--skip_rotate``) the frames are those of the
    particles, with psi included, and there is one psi entry.

    Attributes
    ----------
    coarse_frames, coarse_psis, fine_frames, fine_psis
        real device arrays, (., 6) and (., 2).
    n_dir, n_psi, n_child_psi
        Coarse counts, and fine psi angles of a coarse one.
    fine_psi_deg
        float64, (n_fine_psi,); unperturbed.
    """

    coarse_frames: Array
    coarse_psis: Array
    fine_frames: Array
    fine_psis: Array
    n_dir: int
    n_psi: int
    fine_psi_deg: NDArray[np.float64]
    n_child_psi: int

    @classmethod
    def create(
        cls, session: DeviceSession, settings: ExpectationSettings, table: ParticleTable
    ) -> OrientationTables:
        """Make the tables of this iteration."""
        if settings.keeps_orientation:
            return cls._of_particles(session, table)
        grid = settings.orientation_grid
        psi = grid.child_psis().ravel()
        turn = perturbation_matrix(settings.perturbation, grid.angular_step_deg())
        real = session.real
        return cls(
            coarse_frames=_frames(session, grid, 0, turn),
            coarse_psis=session.to_device(_cos_sin(grid.psi_deg), real),
            fine_frames=_frames(session, grid, grid.oversampling, turn),
            fine_psis=session.to_device(_cos_sin(psi), real),
            n_dir=grid.n_dir,
            n_psi=grid.n_psi,
            fine_psi_deg=psi,
            n_child_psi=grid.n_child_psi,
        )

    @classmethod
    def _of_particles(cls, session: DeviceSession, table: ParticleTable) -> OrientationTables:
        matrices = euler_matrix(table.rot_deg, table.tilt_deg, table.psi_deg)
        frames = session.to_device(matrices[:, :2, :].reshape(-1, 6), session.real)
        psis = session.to_device(_cos_sin(np.zeros(1)), session.real)
        return cls(
            coarse_frames=frames,
            coarse_psis=psis,
            fine_frames=frames,
            fine_psis=psis,
            n_dir=table.n,
            n_psi=1,
            fine_psi_deg=np.zeros(1),
            n_child_psi=1,
        )

    def children(
        self,
        direction: NDArray[np.int64],
        psi: NDArray[np.int64],
        n_children: int,
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Fine direction and psi indices of the children of coarse orientations, (n * children,).

        Children are listed direction by direction, psi innermost (specification E 4.2).
        """
        child = np.arange(n_children)
        n_child_dir = n_children // self.n_child_psi if n_children > 1 else 1
        n_child_psi = self.n_child_psi if n_children > 1 else 1
        fine_dir = direction[:, None] * n_child_dir + child // n_child_psi
        fine_psi = psi[:, None] * n_child_psi + child % n_child_psi
        return fine_dir.ravel(), fine_psi.ravel()

    def angles(
        self,
        settings: ExpectationSettings,
        table: ParticleTable,
        fine_dir: NDArray[np.int64],
        fine_psi: NDArray[np.int64],
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Perturbed rot, tilt, psi in degrees of fine orientations."""
        if settings.keeps_orientation:
            return table.rot_deg[fine_dir], table.tilt_deg[fine_dir], table.psi_deg[fine_dir]
        rot, tilt = settings.orientation_grid.angles_of_children(fine_dir)
        return perturb_orientations(
            rot,
            tilt,
            self.fine_psi_deg[fine_psi],
            settings.perturbation,
            settings.orientation_grid.angular_step_deg(),
        )


def _frames(
    session: DeviceSession, grid: OrientationGrid, oversampling: int, turn: NDArray[np.float64]
) -> Array:
    """Rows 0 and 1 of Y(tilt) Z(rot) P of a grid's directions, real (n, 6)."""
    n_frames = grid.n_dir * 4**oversampling
    frames = session.empty((n_frames, 6), session.real)
    session.kernel("expectation/direction_frames")(
        (n_frames,),
        None,
        session.to_device(grid.pixels, np.int32),
        grid.healpix_order,
        oversampling,
        grid.n_dir,
        session.to_device(turn.ravel(), session.real),
        frames,
    )
    return frames


def _cos_sin(psi_deg: NDArray[np.float64]) -> NDArray[np.float64]:
    psi = np.deg2rad(psi_deg)
    return np.stack([np.cos(psi), np.sin(psi)], axis=-1)
