"""Text files of an iteration beside its particles, in pieces that other processes may write."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clrelion.io.bild import write_angular_distribution
from clrelion.io.journal import Journal, write_journal
from clrelion.io.model_file import ModelFile, write_model
from clrelion.io.optimiser_file import OptimiserFile, write_optimiser

__all__ = ["Directions", "write_end", "write_half_model"]


@dataclass(frozen=True)
class Directions:
    """Coarse directions of an iteration: float64, (n_dir,), degrees, and their spacing."""

    rot_deg: NDArray[np.float64]
    tilt_deg: NDArray[np.float64]
    step_deg: float


def write_half_model(
    path: str | os.PathLike[str],
    model: ModelFile,
    distributions: Sequence[str] = (),
    directions: Directions | None = None,
) -> None:
    """Write a model file, and the angular distribution of each class.

    Parameters
    ----------
    path
        The model file.
    model
        Its contents.
    distributions
        BILD file of each class; none: they are not written.
    directions
        Those that the priors of the model belong to.
    """
    if distributions:
        assert directions is not None
        assert model.pdf_direction is not None
        for name, pdf in zip(distributions, model.pdf_direction, strict=True):
            write_angular_distribution(
                name, directions.rot_deg, directions.tilt_deg, pdf, model.ori_size,
                model.pixel_size_angst, directions.step_deg,
            )  # fmt: skip
    write_model(path, model)


def write_end(
    journal_path: str,
    journal: Journal,
    optimiser_path: str,
    optimiser: OptimiserFile,
    all_digits: bool,
) -> None:
    """Write what comes last: whoever finds the optimiser file finds all others whole."""
    write_journal(journal_path, journal)
    write_optimiser(optimiser_path, optimiser, all_digits)
