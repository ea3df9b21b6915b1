"""An expectation step whose volumes are there, while sums over particles are still added up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clrelion.expectation.results import ParticleResults
from clrelion.maximization.sums import ParameterSums
from clrelion.maximization.waiting_sums import VolumeSums
from clrelion.refinement.started_steps import StartedSteps

__all__ = ["EndedStep"]


@dataclass
class EndedStep:
    """What the maximization takes; a context, which drops what is not added up if an error ends it.

    Attributes
    ----------
    volumes
        By half-set and class; None where another rank owns them.
    owners
        For each half-set, the rank that has the volume of each class, and reconstructs it.
    class_weights
        float64, (n_classes,) of each half-set: posterior weight of each class, of all ranks.
    parameters
        Waits for the sums over particles and gives those of each half-set, on all ranks together;
        asked for once.
    found
        Results of all particles, complete when the sums over them are.
    started
        What this rank's device has been given.
    """

    volumes: list[list[VolumeSums | None]]
    owners: list[list[int]]
    class_weights: list[NDArray[np.float64]]
    parameters: Callable[[], list[ParameterSums]]
    found: ParticleResults
    started: StartedSteps

    def __enter__(self) -> EndedStep:
        return self

    def __exit__(self, *_: object) -> None:
        self.started.close()
