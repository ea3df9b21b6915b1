"""Steps that a device has been given: what they leave behind, and that errors drop the rest."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from clrelion.expectation.results import ExpectationResult
from clrelion.maximization.sums import BackprojectionSums, ParameterSums
from clrelion.refinement.started_steps import StartedSteps


class Step:
    """A step whose sums are one number everywhere."""

    def __init__(self, number: float, left_out: int, error: Exception | None = None) -> None:
        self.number, self.left_out, self.error = number, left_out, error
        volume = BackprojectionSums.zeros(2.0, 3, 8)
        volume.weight[:] = number
        self.volumes: list[Any] = [volume]
        self.is_closed = False

    def class_weights(self) -> NDArray[np.float64]:
        return np.array([10 * self.number])

    def result(self) -> ExpectationResult:
        if self.error is not None:
            raise self.error
        parameters = ParameterSums.zeros(1, 12, 1, 1, 8)
        parameters.norm_sum = self.number
        return ExpectationResult(parameters, [], {self.left_out: "why"})

    def close(self) -> None:
        self.is_closed = True


def test_steps_of_a_half_set_are_added_up() -> None:
    started = StartedSteps()
    assert started.is_empty
    steps = [Step(1.0, 7), Step(2.0, 8), Step(4.0, 9)]
    for i_half, step in zip((1, 0, 1), steps, strict=True):
        taken: Any = step
        started.add(i_half, taken)
    assert not started.is_empty
    assert [step.volumes for step in steps] == [[], [], []]  # nothing is held twice
    weights = started.class_weights()
    assert {h: of_half.tolist() for h, of_half in weights.items()} == {1: [50.0], 0: [20.0]}
    volumes = started.volumes(1)
    assert started.volumes(1) == {}  # nor kept
    assert sorted(volumes) == [0, 1]
    for number, expected in ((0, 2.0), (1, 5.0)):
        volume = volumes[number]
        assert isinstance(volume, BackprojectionSums)
        np.testing.assert_array_equal(volume.weight, expected)
    found = started.results()
    assert {h: (sums.norm_sum, skipped) for h, (sums, skipped) in found.items()} == {
        1: (5.0, {7: "why", 9: "why"}),
        0: (2.0, {8: "why"}),
    }


def test_an_error_drops_what_is_not_added_up() -> None:
    steps = [Step(1.0, 7, ValueError("lost")), Step(2.0, 8)]
    started = StartedSteps()
    for i_half, step in enumerate(steps):
        taken: Any = step
        started.add(i_half, taken)
    with pytest.raises(ValueError, match="lost"), started:
        started.results()
    assert [step.is_closed for step in steps] == [True, True]
