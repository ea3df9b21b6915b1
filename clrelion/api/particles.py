"""Particles of a STAR file, one by one or as columns."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np
from numpy.typing import NDArray

from clrelion.fourier.ctf import contrast_transfer, frequency_grid
from clrelion.io.mrc_stack import ImageReader
from clrelion.io.optics import OpticsGroup
from clrelion.io.particle_table import ParticleTable
from clrelion.io.particle_table import read_particles as read_table

__all__ = ["Particle", "Particles", "read_particles"]


@dataclass(frozen=True)
class Particle:
    """One particle.

    Attributes
    ----------
    index
        Its place in `Particles`, from 0.
    name
        rlnImageName.
    rot_deg, tilt_deg, psi_deg
        Orientation, degrees.
    shift_angst
        (x, y), Å: brings the particle to the origin of its box.
    defocus_u_angst, defocus_v_angst, defocus_angle_deg
        Å, degrees.
    class_number, half_set
        As in the file, from 1; 0: none.
    pmax
        Largest probability of the last iteration; 0: none.
    optics
        Its optics group.
    """

    index: int
    name: str
    rot_deg: float
    tilt_deg: float
    psi_deg: float
    shift_angst: tuple[float, float]
    defocus_u_angst: float
    defocus_v_angst: float
    defocus_angle_deg: float
    class_number: int
    half_set: int
    pmax: float
    optics: OpticsGroup
    _particles: Particles

    @property
    def image(self) -> NDArray[np.float32]:
        """Pixels, float32, (box, box) as [y, x]; read at each call.

        Raises
        ------
        ImageError
            The stack is missing, or does not hold the image.
        """
        return np.asarray(self._particles.images([self.index])[0])

    def ctf(self) -> NDArray[np.float64]:
        """CTF of the image's half transform, float64, (box, box // 2 + 1)."""
        table, i, optics = self._particles.table, self.index, self.optics
        u, v = frequency_grid(
            optics.box_px, optics.box_px, optics.pixel_size_angst, optics.mag_matrix
        )
        return contrast_transfer(
            u,
            v,
            voltage_kv=optics.voltage_kv,
            spherical_aberration_mm=optics.spherical_aberration_mm,
            amplitude_contrast=optics.amplitude_contrast or 0.0,
            defocus_u_angst=self.defocus_u_angst,
            defocus_v_angst=self.defocus_v_angst,
            defocus_angle_deg=self.defocus_angle_deg,
            phase_shift_deg=table.phase_shift_deg[i],
            bfactor=table.ctf_bfactor[i],
            scale_factor=table.ctf_scalefactor[i],
            even_zernike=optics.even_zernike,
        )


class Particles(Sequence[Particle]):
    """Particles of a STAR file, in the order of their micrographs.

    Attributes
    ----------
    table
        All columns as arrays.
    reader
        Access to their stacks.

    Notes
    -----
    A slice, or a boolean array or array of indices, gives a list of particles.
    """

    def __init__(self, table: ParticleTable, reader: ImageReader | None = None) -> None:
        self.table = table
        self.reader = reader or ImageReader(table.star_path)

    def __len__(self) -> int:
        """Number of particles."""
        return self.table.n

    @overload
    def __getitem__(self, i: int) -> Particle: ...

    @overload
    def __getitem__(self, i: slice | NDArray[np.generic]) -> list[Particle]: ...

    def __getitem__(self, i: int | slice | NDArray[np.generic]) -> Particle | list[Particle]:
        """One particle, or several as a list."""
        if isinstance(i, slice | np.ndarray):
            return [self._particle(int(k)) for k in np.arange(len(self))[i]]
        return self._particle(range(len(self))[i])

    def __iter__(self) -> Iterator[Particle]:
        """Go through all particles."""
        return map(self._particle, range(len(self)))

    def images(self, indices: Sequence[int] | NDArray[np.integer]) -> NDArray[np.float32]:
        """Read several images at once.

        Parameters
        ----------
        indices
            Places of particles of one box size.

        Returns
        -------
        float32, (n, box, box).

        Raises
        ------
        ImageError
            A stack is missing, or boxes differ.
        """
        ids = [range(len(self))[int(i)] for i in indices]
        names = [self.table.image_name[i] for i in ids]
        return self.reader.read(names, self.table.source_row[ids])

    def _particle(self, i: int) -> Particle:
        table = self.table
        return Particle(
            index=i,
            name=table.image_name[i],
            rot_deg=float(table.rot_deg[i]),
            tilt_deg=float(table.tilt_deg[i]),
            psi_deg=float(table.psi_deg[i]),
            shift_angst=(float(table.origin_x_angst[i]), float(table.origin_y_angst[i])),
            defocus_u_angst=float(table.defocus_u_angst[i]),
            defocus_v_angst=float(table.defocus_v_angst[i]),
            defocus_angle_deg=float(table.defocus_angle_deg[i]),
            class_number=int(table.class_number[i]) + 1,
            half_set=int(table.random_subset[i]),
            pmax=float(table.pmax[i]),
            optics=table.optics[int(table.optics_group[i])],
            _particles=self,
        )


def read_particles(
    path: str | os.PathLike[str], images: str | os.PathLike[str] | None = None
) -> Particles:
    """Read a particle STAR file.

    Parameters
    ----------
    path
        RELION's, of any version since 1.3, or clrelion's.
    images
        Folder that image names are relative to (the project's), if it is not the working directory
        or the folder of the file.

    Raises
    ------
    StarError
        Anything missing or impossible.
    """
    table = read_table(path)
    folder = None if images is None else os.fspath(images)
    return Particles(table, ImageReader(table.star_path, folder=folder))
