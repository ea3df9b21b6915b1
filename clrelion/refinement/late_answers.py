"""What an iteration asks of its references: their spectra and the expected accuracies.

The device is asked before or at the end of the expectation step; where nothing depends on the
answers there, the ranks exchange them after it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from clrelion.expectation.accuracy import StartedTrials, expected_accuracies, try_particles
from clrelion.expectation.settings import ExpectationSettings
from clrelion.parallel.communicator import Communicator
from clrelion.refinement.expectation_setup import References
from clrelion.refinement.progress import ProgressMaker
from clrelion.refinement.state import RunState

if TYPE_CHECKING:
    from clrelion.device.session import DeviceSession

__all__ = ["LateAnswers"]

_log = logging.getLogger(__name__)


class LateAnswers:
    """tau2 of all half-sets and the accuracies of one iteration.

    Parameters
    ----------
    session
        Device.
    state
        Of the run.
    references
        Of the half-sets.
    tau2_owners
        Rank that tells tau2 of each half-set from its references; none: it is fixed.
    trial_ids
        int64; trial particles of this rank.  None: nobody tries any.
    trial_settings
        Makes the settings of the trials.
    label
        Of the trials, for the progress display.
    comm
        Ranks.
    """

    def __init__(
        self,
        session: DeviceSession,
        state: RunState,
        references: References,
        tau2_owners: list[int],
        trial_ids: NDArray[np.int64] | None,
        trial_settings: Callable[[], ExpectationSettings],
        label: str,
        comm: Communicator,
    ) -> None:
        self._session = session
        self._state = state
        self._references = references
        self._tau2_owners = tau2_owners
        self._trial_ids = trial_ids
        self._trial_settings = trial_settings
        self._label = label
        self._comm = comm
        self._tau2: dict[int, NDArray[np.float64]] = {}
        self._trials: StartedTrials | None = None

    def ask(self, progress: ProgressMaker | None = None) -> None:
        """Ask this rank's device.

        Parameters
        ----------
        progress
            Show how the trials get on, and wait for them; None: answers are waited for later.

        Raises
        ------
        NumericalError
            A reference holds NaN or infinity.
        """
        timer = self._session.profile.timer
        if progress is None:
            # trials first: the device has something to do while spectra are read
            with timer("accuracies"):
                self._start_trials()
            self._read_tau2()
            return
        self._read_tau2()
        n = 0 if self._trial_ids is None else len(self._trial_ids) * self._state.n_classes
        if n:
            with timer("accuracies"), progress(n, self._label) as bar:
                self._start_trials(bar.update)
                assert self._trials is not None
                self._trials.result()

    def _read_tau2(self) -> None:
        # the first half-set's last: its references are wanted next
        for i_half, owner in reversed(list(enumerate(self._tau2_owners))):
            if owner == self._comm.rank:
                tau2 = self._state.models[i_half].tau2.copy()
                for k, transform in enumerate(self._references(i_half)):
                    if transform is not None:
                        tau2[k] = transform.power_spectrum
                self._tau2[i_half] = tau2

    def _start_trials(self, count: Callable[[int], None] = lambda _: None) -> None:
        if self._trial_ids is None or not len(self._trial_ids):
            return
        self._trials = try_particles(
            self._session, self._trial_settings(), self._state.table, self._trial_ids, count
        )

    def share(self) -> None:
        """Let the states of all ranks have the answers, on all ranks together."""
        with self._session.profile.timer("accuracies"):
            part = None if self._trials is None else self._trials.result()
            of_ranks = self._comm.allgather((self._tau2, part))
        for tau2, _ in of_ranks:
            for i_half, of_half in tau2.items():
                self._state.models[i_half].tau2 = of_half
        parts = [part for _, part in of_ranks if part is not None]
        if not parts:
            return
        found = expected_accuracies(parts)
        self._state.take_accuracies(found.rot_deg, found.trans_angst, found.orientability)
        _log.info(
            "Estimated accuracy angles= %.3f degrees; offsets= %.3f Angstroms",
            self._state.schedule.acc_rot_deg,
            self._state.schedule.acc_trans_angst,
        )
