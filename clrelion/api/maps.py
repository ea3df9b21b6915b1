"""Maps: read, write, project, and reconstruct from particles."""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from clrelion.api.particles import Particles, read_particles
from clrelion.errors import ImageError
from clrelion.expectation.reference import ReferenceTransform, reference_transform
from clrelion.expectation.settings import CtfRules
from clrelion.fourier.filters import low_pass_map
from clrelion.fourier.transforms import centre_half_transform, inverse_2d
from clrelion.io import mrc
from clrelion.io.optics import OpticsGroup
from clrelion.orientations.euler import euler_matrix
from clrelion.projection.from_poses import (
    PoseReconstruction,
    map_of_sums,
    particles_of,
    sums_from_poses,
)
from clrelion.projection.optics import SlicePixels
from clrelion.projection.slices import extract_slices

__all__ = ["Map", "Projector", "project", "read_map", "reconstruct", "write_map"]

_PADDING = 2.0
_POINTS_AT_ONCE = 1 << 20


@dataclass(frozen=True, eq=False)
class Map:
    """A map in real space.

    Attributes
    ----------
    data
        float32 or float64, (N, N, N) as [z, y, x]; origin at N // 2.
    pixel_size_angst
        Å/px.
    """

    data: NDArray[np.floating]
    pixel_size_angst: float

    @property
    def box_px(self) -> int:
        """N, voxels."""
        return int(self.data.shape[0])

    def low_passed(self, resolution_angst: float) -> Map:
        """Give the map without the frequencies above a resolution, Å (a new one)."""
        filtered = low_pass_map(
            self.data, self.pixel_size_angst, resolution_angst, round_to_shell=True
        )
        return Map(filtered, self.pixel_size_angst)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the map as MRC file (float32)."""
        mrc.write_map(path, self.data, self.pixel_size_angst)


def read_map(path: str | os.PathLike[str]) -> Map:
    """Read a map.

    Parameters
    ----------
    path
        MRC file.

    Raises
    ------
    ImageError
        Missing, truncated, no MRC file, or NaN or infinite voxels.
    """
    found = mrc.read_map(path)
    return Map(found.data, found.pixel_size_angst)


def write_map(path: str | os.PathLike[str], volume: Map) -> None:
    """Write a map as MRC file (float32)."""
    volume.save(path)


class Projector:
    """Projections of one map, whose transform is made once.

    Parameters
    ----------
    volume
        The map, a cube of even size.

    Raises
    ------
    ImageError
        The map is no such cube.
    """

    def __init__(self, volume: Map) -> None:
        n = volume.box_px
        if volume.data.shape != (n, n, n) or n % 2:
            raise ImageError(f"a map to project is a cube of even size, not {volume.data.shape}")
        self._n = n
        self._pixel_size = volume.pixel_size_angst
        self._reference: ReferenceTransform = reference_transform(volume.data, _PADDING, n // 2)
        self._plain = self._pixels(
            OpticsGroup(
                name="map",
                number_in_file=1,
                voltage_kv=300.0,
                spherical_aberration_mm=0.0,
                amplitude_contrast=0.0,
                pixel_size_angst=volume.pixel_size_angst,
                box_px=n,
                ctf_premultiplied=False,
                ctf_corrected=False,
                beam_tilt_x_mrad=0.0,
                beam_tilt_y_mrad=0.0,
                odd_zernike=(),
                even_zernike=(),
                mag_matrix=np.eye(2),
                mtf_file=None,
            )
        )

    def _pixels(self, optics: OpticsGroup) -> SlicePixels:
        return SlicePixels.create(
            optics, self._n, self._pixel_size, self._n // 2,
            self._reference.padding_factor, for_projection=True,
        )  # fmt: skip

    def __call__(
        self, rot_deg: ArrayLike, tilt_deg: ArrayLike, psi_deg: ArrayLike
    ) -> NDArray[np.float64]:
        """Project the map.

        Parameters
        ----------
        rot_deg, tilt_deg, psi_deg
            Degrees; numbers, or arrays (n,) that broadcast together.

        Returns
        -------
        float64, (N, N), or (n, N, N) for arrays; sums of the density along the line of sight.
        """
        matrices = np.asarray(euler_matrix(rot_deg, tilt_deg, psi_deg))
        flat = matrices.reshape(-1, 3, 3)
        step = max(1, _POINTS_AT_ONCE // len(self._plain.kx))
        images = np.concatenate(
            [
                self._images(self._plain, extract_slices(self._reference, self._plain.xy, part))
                for part in (flat[i : i + step] for i in range(0, len(flat), step))
            ]
        )
        return np.asarray(images.reshape(*matrices.shape[:-2], self._n, self._n))

    def image_of(self, particles: Particles, i: int, ctf: bool = True) -> NDArray[np.float64]:
        """Project the map as a particle shows it: its pose, shift and CTF.

        Parameters
        ----------
        particles
            Particles with poses.
        i
            Which one.
        ctf
            Apply the particle's CTF.

        Returns
        -------
        float64, (box, box), of the particle's box, to be compared with its image.
        """
        table, ids = particles.table, np.array([range(particles.table.n)[i]])
        pixels = self._pixels(table.optics[int(table.optics_group[ids[0]])])
        matrix = euler_matrix(table.rot_deg[ids], table.tilt_deg[ids], table.psi_deg[ids])
        slices = extract_slices(self._reference, pixels.xy, matrix) / pixels.remap**2
        slices = slices * pixels.ctf(table, ids, CtfRules(ctf, True)) * pixels.aberration()
        origin = np.stack([table.origin_x_angst[ids], table.origin_y_angst[ids]], axis=-1)
        slices = slices * pixels.shift(-origin / pixels.optics.pixel_size_angst)
        return np.asarray(self._images(pixels, slices)[0])

    @staticmethod
    def _images(pixels: SlicePixels, slices: NDArray[np.complex128]) -> NDArray[np.float64]:
        """Images of slices."""
        box = pixels.optics.box_px
        transforms = np.zeros((len(slices), box, box // 2 + 1), dtype=np.complex128)
        rows, columns = pixels.place
        transforms[:, rows, columns] = slices
        # the column kx = 0 holds both of each pair of Friedel mates
        doubled = (columns == 0) & (rows > 0) & (rows < box // 2)
        transforms[:, -rows[doubled] % box, 0] = slices[:, doubled].conj()
        return np.asarray(inverse_2d(centre_half_transform(transforms)))


def project(
    volume: Map, rot_deg: ArrayLike, tilt_deg: ArrayLike, psi_deg: ArrayLike
) -> NDArray[np.float64]:
    """Project a map once; for many calls keep a `Projector`.

    Parameters
    ----------
    volume
        The map.
    rot_deg, tilt_deg, psi_deg
        Degrees; numbers, or arrays (n,).

    Returns
    -------
    float64, (N, N) or (n, N, N).
    """
    return Projector(volume)(rot_deg, tilt_deg, psi_deg)


def reconstruct(
    particles: Particles | str | os.PathLike[str],
    *,
    symmetry: str = "C1",
    half_set: int = 0,
    class_number: int = 0,
    max_resolution_angst: float = 0.0,
    ctf: bool = True,
) -> Map:
    """Reconstruct a map, not regularised, from particles in the poses of their table.

    Parameters
    ----------
    particles
        Particles, or their STAR file.
    symmetry
        Point group.
    half_set, class_number
        Only particles of this half-set (1, 2) and class (from 1); 0: all.
    max_resolution_angst
        Highest resolution, Å; 0: Nyquist.
    ctf
        Correct for the CTF.

    Returns
    -------
    Map
        float64, box and pixel size of the first optics group.

    Raises
    ------
    ClrelionError
        A file is missing or wrong, or there is no such particle.
    """
    chosen = particles if isinstance(particles, Particles) else read_particles(particles)
    how = PoseReconstruction.of_particles(
        chosen.table,
        symmetry=symmetry,
        max_resolution_angst=max_resolution_angst,
        ctf=CtfRules(ctf, True),
    )
    ids = particles_of(chosen.table, half_set, class_number)
    sums = sums_from_poses(chosen.table, ids, how, chosen.reader)
    return Map(map_of_sums(sums, how), how.pixel_size_angst)
