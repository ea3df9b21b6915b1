"""Expected accuracies: how far a pose must be off before its projection is told apart.

In: references, noise and a few particles.  Out: expected errors of rotations and translations, and
the shells that tell orientations apart.  Specification E C.3, F.3; M 5.6.

The device is given its work first and asked for the answers later, so that the host may do
something else between.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from clrelion.expectation.optics_setup import OpticsSetup
from clrelion.expectation.projections import Projector
from clrelion.expectation.settings import ExpectationSettings
from clrelion.expectation.trials import Trials
from clrelion.io.particle_table import ParticleTable
from clrelion.particles.random_numbers import C_LIBRARY_LARGEST, first_random_numbers

if TYPE_CHECKING:
    from clrelion.device.session import DeviceSession

__all__ = [
    "N_TRIAL_PARTICLES",
    "Accuracies",
    "StartedTrials",
    "TrialErrors",
    "expected_accuracies",
    "try_particles",
]

N_TRIAL_PARTICLES = 100
"""Particles at the head of the processing order that are tried."""

_SMALLEST_CLASS = 0.01
_UNKNOWN = 999.0


@dataclass(frozen=True)
class Accuracies:
    """Expected accuracies of each class.

    Attributes
    ----------
    rot_deg, trans_angst
        float64, (K,); 999 for classes too small to tell.
    orientability
        float64, (K, N/2+1); share of each shell in telling orientations apart.
    """

    rot_deg: NDArray[np.float64]
    trans_angst: NDArray[np.float64]
    orientability: NDArray[np.float64]


@dataclass(frozen=True)
class TrialErrors:
    """What some of the trial particles tell.

    Attributes
    ----------
    rotation_deg, shift_angst
        float64, (K, n); smallest telling error of each of them.
    by_shell
        float64, (K, n, N/2+1); what tells the rotation.
    is_large
        bool, (K,); classes that are large enough to tell.
    """

    rotation_deg: NDArray[np.float64]
    shift_angst: NDArray[np.float64]
    by_shell: NDArray[np.float64]
    is_large: NDArray[np.bool_]


class StartedTrials:
    """Trials of which the device has been given the first ones.

    Parameters
    ----------
    steps
        Gives the device work, and stops wherever it would wait for an answer.
    """

    def __init__(self, steps: Generator[None, None, TrialErrors]) -> None:
        self._steps = steps
        self._found: TrialErrors | None = None
        self._get_on()

    def _get_on(self) -> None:
        try:
            next(self._steps)
        except StopIteration as end:
            self._found = end.value

    def result(self) -> TrialErrors:
        """Wait for the answers, and for what has to be tried after them."""
        while self._found is None:
            self._get_on()
        return self._found


def try_particles(
    session: DeviceSession,
    settings: ExpectationSettings,
    table: ParticleTable,
    ids: NDArray[np.int64],
    count: Callable[[int], None] = lambda _: None,
) -> StartedTrials:
    """Try the particles ``ids`` at their present poses.

    Parameters
    ----------
    settings
        Of the coming expectation step (of half 1 if halves are split).
    ids
        int64; at most `N_TRIAL_PARTICLES` rows of the table.
    count
        Is told of particles as they are done; each counts once a class.
    """
    return StartedTrials(_trials(session, settings, table, ids, count))


def _trials(
    session: DeviceSession,
    settings: ExpectationSettings,
    table: ParticleTable,
    ids: NDArray[np.int64],
    count: Callable[[int], None],
) -> Generator[None, None, TrialErrors]:
    """Try optics group after optics group, and of each as many classes at a time as fit."""
    projector = Projector(session, settings.references)
    padding = next(r.padding_factor for r in settings.references if r is not None)
    shape = settings.n_classes, len(ids)
    n_shells = settings.ori_size // 2 + 1
    rotation, shift = np.zeros(shape), np.zeros(shape)
    by_shell = np.zeros((*shape, n_shells))
    is_large = settings.pdf_class >= _SMALLEST_CLASS
    # these numbers choose the angle or axis of each particle (specification C.3)
    draws = first_random_numbers(settings.random_seed + ids) / C_LIBRARY_LARGEST
    groups = table.optics_group[ids]
    for group in np.unique(groups).tolist():
        chosen = np.flatnonzero(groups == group)
        setup = OpticsSetup(session, settings, group, padding)
        trials = Trials(
            session, settings, setup, projector, table, ids[chosen], draws[chosen], n_shells
        )
        for classes in trials.classes_at_a_time(np.flatnonzero(is_large)):
            place = np.ix_(classes, chosen)
            found = yield from trials.smallest_errors(classes)
            rotation[place], by_shell[place], shift[place] = found
            count(len(classes) * len(chosen))
    return TrialErrors(rotation, shift, by_shell, is_large)


def expected_accuracies(parts: Sequence[TrialErrors]) -> Accuracies:
    """Estimate the accuracies from all trial particles, given in their order.

    How they come in parts does not change a bit.
    """
    is_large = parts[0].is_large
    by_shell = np.concatenate([part.by_shell for part in parts], axis=1).sum(axis=1)
    of_class = by_shell.sum(axis=1, keepdims=True)
    rotation = np.concatenate([part.rotation_deg for part in parts], axis=1).mean(axis=1)
    shift = np.concatenate([part.shift_angst for part in parts], axis=1).mean(axis=1)
    return Accuracies(
        rot_deg=np.where(is_large, rotation, _UNKNOWN),
        trans_angst=np.where(is_large, shift, _UNKNOWN),
        orientability=np.divide(
            by_shell, of_class, out=np.zeros_like(by_shell), where=of_class > 0
        ),
    )
