"""What a rank has given its device in an expectation step, by half-set.

In: steps as they are started, several of a half-set perhaps.  Out: volumes at once, sums over
particles once they are added up.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from clrelion.expectation.step import StartedStep
from clrelion.maximization import volume_steps
from clrelion.maximization.sums import ParameterSums
from clrelion.maximization.waiting_sums import VolumeSums

__all__ = ["StartedSteps"]


class StartedSteps:
    """Steps of one iteration; a context, which drops what is not added up when an error ends it."""

    def __init__(self) -> None:
        self._steps: dict[int, list[StartedStep]] = {}
        self._volumes: dict[int, list[Any]] = {}

    def __enter__(self) -> StartedSteps:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Drop what is not added up."""
        for steps in self._steps.values():
            for step in steps:
                step.close()

    @property
    def is_empty(self) -> bool:
        """Whether nothing has been started yet."""
        return not self._steps

    def add(self, i_half: int, step: StartedStep) -> None:
        """Take a step in; its volumes are added to those of the half-set before."""
        self._steps.setdefault(i_half, []).append(step)
        volumes, step.volumes = step.volumes, []
        before = self._volumes.setdefault(i_half, volumes)
        if before is not volumes:
            for mine, more in zip(before, volumes, strict=True):
                volume_steps.add(mine, more)

    def volumes(self, n_classes: int) -> dict[int, VolumeSums]:
        """Hand over the volumes of all half-sets and classes, by one number."""
        given, self._volumes = self._volumes, {}
        return {
            i_half * n_classes + k: volume
            for i_half, of_half in given.items()
            for k, volume in enumerate(of_half)
        }

    def class_weights(self) -> dict[int, NDArray[np.float64]]:
        """Wait for the device; posterior weight of each class, float64, by half-set."""
        return {
            i_half: np.sum([step.class_weights() for step in steps], axis=0)
            for i_half, steps in self._steps.items()
        }

    def results(self) -> dict[int, tuple[ParameterSums, dict[int, str]]]:
        """Wait for the sums over particles; give them and the particles left out, by half-set."""
        found = {}
        for i_half, steps in self._steps.items():
            first, *others = [step.result() for step in steps]
            for other in others:
                first.parameters.add(other.parameters)
                first.skipped.update(other.skipped)
            found[i_half] = first.parameters, first.skipped
        return found
