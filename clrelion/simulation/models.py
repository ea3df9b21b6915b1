"""What is imaged: atoms or a map, projected exactly as half transforms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from clrelion.errors import ImageError, OptionsError
from clrelion.fourier.shells import fftw_frequencies, half_transform_frequencies
from clrelion.io.mrc import read_map
from clrelion.simulation.atoms import Atoms, read_atoms
from clrelion.simulation.molecule import MoleculeRecipe, grow_molecule
from clrelion.simulation.nonuniform import ATOM_TAPS, TransformGrid, nonuniform_half_transform

__all__ = ["AtomModel", "MapModel", "ScatteringModel", "open_models"]

_MAP_SUFFIXES = (".mrc", ".map")


class ScatteringModel(Protocol):
    """Something with a Fourier transform in three dimensions.

    All transforms are half transforms with the phase origin at the centre of the box, in units of
    scattering weight: the coefficient at the origin is the sum of all weights.
    """

    @property
    def radius_angst(self) -> float:
        """Radius of the sphere that holds it, Å."""

    def projection(
        self, rotation: NDArray[np.float64], box_px: int, pixel_size_angst: float
    ) -> NDArray[np.complex128]:
        """Transform of the projection along the third row of the Euler matrix ``rotation``."""

    def volume(self, box_px: int, pixel_size_angst: float) -> NDArray[np.complex128]:
        """Transform in three dimensions."""


def open_models(names: Sequence[str], folder: Path) -> list[ScatteringModel]:
    """Make the models of all states.

    Parameters
    ----------
    names
        Each a map (.mrc, .map), an atomic model (any other file), or ``seed:...`` for a grown
        molecule.
    folder
        Where the tables of maps are kept while the processes work.

    Returns
    -------
    list of ScatteringModel
        Maps and grown molecules as they are; atomic models moved, all by as much, so that the
        mass of the first is centred: the states of a molecule keep their common frame.

    Raises
    ------
    ClrelionError
        A file is missing or makes no sense.
    """
    shift: NDArray[np.float64] | None = None
    models: list[ScatteringModel] = []
    for i, name in enumerate(names):
        if name.startswith("seed:"):
            models.append(AtomModel(grow_molecule(MoleculeRecipe.from_text(name))))
        elif Path(name).suffix.lower() in _MAP_SUFFIXES:
            models.append(MapModel.from_file(name, folder / f".state{i + 1}.npy"))
        else:
            atoms = read_atoms(name)
            if shift is None:
                shift = -np.average(atoms.positions_angst, axis=0, weights=atoms.weights)
            models.append(AtomModel(Atoms(atoms.positions_angst + shift, atoms.weights)))
    return models


@dataclass(frozen=True)
class AtomModel:
    """Point atoms.

    Attributes
    ----------
    atoms
        Positions about the origin, and weights.
    """

    atoms: Atoms

    @property
    def radius_angst(self) -> float:
        """Distance of the farthest atom from the origin, Å."""
        return self.atoms.radius_angst

    def projection(
        self, rotation: NDArray[np.float64], box_px: int, pixel_size_angst: float
    ) -> NDArray[np.complex128]:
        """See :class:`ScatteringModel`. Specification E 1.2: ``r_image = A r_reference``."""
        in_image = self.atoms.positions_angst @ rotation[:2].T
        return self._sum(in_image[:, ::-1], box_px, pixel_size_angst)

    def volume(self, box_px: int, pixel_size_angst: float) -> NDArray[np.complex128]:
        """See :class:`ScatteringModel`."""
        return self._sum(self.atoms.positions_angst[:, ::-1], box_px, pixel_size_angst)

    def _sum(
        self, positions: NDArray[np.float64], box_px: int, pixel_size_angst: float
    ) -> NDArray[np.complex128]:
        extent = box_px * pixel_size_angst
        room = 0.5 * extent - 0.5 * (ATOM_TAPS + 1) * pixel_size_angst
        if self.radius_angst > room:
            raise OptionsError(
                f"the model has a radius of {self.radius_angst:.0f} Å, which does not fit into a "
                f"box of {box_px} px of {pixel_size_angst:g} Å; give a larger --box or --angpix"
            )
        return nonuniform_half_transform(positions / extent, self.atoms.weights, box_px)


class MapModel:
    """A map, taken as point scatterers at its voxels.

    Parameters
    ----------
    table_file
        ``.npy`` file of :meth:`TransformGrid.table_of`; read through memory, so that all
        processes share it.
    edge, pixel_size_angst
        Edge, voxels, and voxel size, Å, of the map.
    """

    def __init__(self, table_file: Path, edge: int, pixel_size_angst: float) -> None:
        self._table_file = table_file
        self._edge = edge
        self._pixel_size = pixel_size_angst
        self._grid: TransformGrid | None = None

    @classmethod
    def from_file(cls, path: str, table_file: Path) -> MapModel:
        """Read a map and write its table.

        Raises
        ------
        ImageError
            Unreadable, no even cube, or without voxel size.
        """
        found = read_map(path)
        n = found.data.shape[0]
        if found.data.shape != (n, n, n) or n % 2:
            raise ImageError(f"{path}: a cube of even edge is needed, not {found.data.shape}")
        if found.pixel_size_angst <= 0:
            raise ImageError(f"{path}: has no voxel size in its header; set it")
        # weights: the integral over a voxel, so that pixel values do not depend on its size
        weights = found.data * np.float32(found.pixel_size_angst**3)
        np.save(table_file, TransformGrid.table_of(weights))
        return cls(table_file, n, found.pixel_size_angst)

    def __getstate__(self) -> dict[str, Any]:
        """Leave the memory map out: each process opens it for itself."""
        return {**self.__dict__, "_grid": None}

    @property
    def radius_angst(self) -> float:
        """Half the edge of the map, Å."""
        return 0.5 * self._edge * self._pixel_size

    def remove_table(self) -> None:
        """Delete the table."""
        self._grid = None
        self._table_file.unlink(missing_ok=True)

    def projection(
        self, rotation: NDArray[np.float64], box_px: int, pixel_size_angst: float
    ) -> NDArray[np.complex128]:
        """See :class:`ScatteringModel`. Specification E 1.2: slice at ``A^T (kx, ky, 0)``."""
        kx, ky = half_transform_frequencies(box_px)
        in_image = np.stack(np.broadcast_arrays(kx, ky), axis=-1).reshape(-1, 2)
        frequencies = (in_image @ rotation[:2])[:, ::-1] / (box_px * pixel_size_angst)
        return self._at(frequencies).reshape(box_px, box_px // 2 + 1)

    def volume(self, box_px: int, pixel_size_angst: float) -> NDArray[np.complex128]:
        """See :class:`ScatteringModel`."""
        kx, ky = half_transform_frequencies(box_px)
        in_plane = np.stack(np.broadcast_arrays(ky, kx), axis=-1).reshape(-1, 2)
        planes = []
        for kz in fftw_frequencies(box_px):
            frequencies = np.insert(in_plane.astype(np.float64), 0, kz, axis=1)
            values = self._at(frequencies / (box_px * pixel_size_angst))
            planes.append(values.reshape(box_px, box_px // 2 + 1))
        return np.stack(planes)

    def _at(self, frequencies: NDArray[np.float64]) -> NDArray[np.complex128]:
        """Transform at (z, y, x) in 1/Å; zero beyond the map's own Nyquist frequency."""
        if self._grid is None:
            self._grid = TransformGrid(np.load(self._table_file, mmap_mode="r"), self._edge)
        per_voxel = frequencies * self._pixel_size
        is_inside = np.all(np.abs(per_voxel) <= 0.5, axis=1)
        values = np.zeros(len(frequencies), dtype=np.complex128)
        values[is_inside] = self._grid.sample(per_voxel[is_inside])
        return values
