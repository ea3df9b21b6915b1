"""A run: its iterations, maps and particles."""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from clrelion.api.maps import Map, read_map
from clrelion.api.particles import Particles, read_particles
from clrelion.errors import StarError
from clrelion.io.model_file import ModelFile
from clrelion.io.run_files import class_map_file, data_file, unfiltered_half_map_file
from clrelion.report.run_record import IterationRecord, find_root
from clrelion.report.run_record import read_run as read_records

__all__ = ["Run", "read_run"]


class Run:
    """A classification or auto-refine on disk, clrelion's or RELION's.

    Parameters
    ----------
    root
        Output root, e.g. ``Refine3D/job001/run``.
    images
        Folder that image names are relative to; None: the working directory or that of the files.
    """

    def __init__(self, root: str, images: str | os.PathLike[str] | None = None) -> None:
        self.root = root
        self._images = images
        self.iterations: list[IterationRecord] = read_records(root)

    def __repr__(self) -> str:
        """Root, iterations and resolution."""
        return (
            f"<Run {self.root}: {len(self.iterations)} iterations on disk, "
            f"{self.resolution_angst:.2f} Å>"
        )

    @property
    def last(self) -> IterationRecord:
        """The last iteration: the converged one of auto-refine, if it is there."""
        return self.iterations[-1]

    @property
    def model(self) -> ModelFile:
        """Model file of the last iteration: spectra, class sizes, accuracies."""
        return self.last.model

    @property
    def resolution_angst(self) -> float:
        """Resolution after the last iteration, Å."""
        return self.model.current_resolution_angst

    @property
    def resolutions_angst(self) -> NDArray[np.float64]:
        """Resolution after each iteration, float64, Å."""
        return np.array([record.model.current_resolution_angst for record in self.iterations])

    @property
    def class_sizes(self) -> NDArray[np.float64]:
        """Part of the particles in each class, float64, (K,)."""
        return self.model.pdf_class

    @cached_property
    def particles(self) -> Particles:
        """Particles of the last iteration.

        Raises
        ------
        StarError
            There is no data file.
        """
        iteration = self.last.iteration
        return read_particles(data_file(self.root, iteration), self._images)

    def map(self, class_number: int = 1) -> Map:
        """Map of a class (from 1) after the last iteration; of half 1 while halves are apart.

        Raises
        ------
        StarError
            There is no such map.
        """
        for half in (0, 1):
            name = class_map_file(self.root, self.last.iteration, class_number - 1, half)
            if Path(name).is_file():
                return read_map(name)
        raise StarError(
            f"{self.root}: no map of class {class_number} after iteration {self.last.label}"
        )

    def half_maps(self) -> tuple[Map, Map]:
        """Both half maps: the raw ones of a converged run, else those of its last iteration.

        Raises
        ------
        StarError
            There are none: the run was not split into halves.
        """
        names = [unfiltered_half_map_file(self.root, None, half) for half in (1, 2)]
        if not all(Path(name).is_file() for name in names):
            names = [class_map_file(self.root, self.last.iteration, 0, half) for half in (1, 2)]
        if not all(Path(name).is_file() for name in names):
            raise StarError(f"{self.root}: no half maps; only auto-refine has them")
        return read_map(names[0]), read_map(names[1])


def read_run(root: str | os.PathLike[str], images: str | os.PathLike[str] | None = None) -> Run:
    """Read a run of clrelion or RELION.

    Parameters
    ----------
    root
        Its output root (``--o``), its folder, or any of its files.
    images
        Folder that image names are relative to; None: the working directory or that of the files.

    Raises
    ------
    StarError
        There is no run with this root.
    """
    return Run(find_root(os.fspath(root)), images)
