"""Trials of wrong poses: how far one must be off before its projection is told apart.

In: references, noise and a few particles of an optics group.  Out: their smallest telling errors,
and the shells that tell them.  Specification E C.3, F.3.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from clrelion.expectation.image_transfer import ImageTransfer
from clrelion.expectation.optics_setup import OpticsSetup
from clrelion.expectation.projections import Projector, SliceRows
from clrelion.expectation.settings import ExpectationSettings
from clrelion.fourier.shells import round_half_away
from clrelion.io.particle_table import ParticleTable
from clrelion.orientations.euler import euler_matrix

if TYPE_CHECKING:
    from clrelion.device.array import Array
    from clrelion.device.session import DeviceSession
    from clrelion.device.transfers import PendingRead

__all__ = ["Trials"]

_SNR_GOAL = 4.60517
_MAX_ROTATION_DEG = 30.0
_MAX_SHIFT_PX = 10.0
_ROTATION_STEPS = ((0.2, 0.05), (1.0, 0.1), (2.0, 0.2), (5.0, 0.5), (10.0, 1.0), (20.0, 2.0))
_SHIFT_STEPS = ((1.0, 0.1), (2.0, 0.2), (5.0, 0.5), (10.0, 1.0))
_LARGEST_ROTATION_STEP = 5.0
_LARGEST_SHIFT_STEP = 2.0
_WORK_GROUP = 128
_MOST_ERRORS = 16
"""Errors of a particle in a launch; most particles are told after fewer."""
_LAUNCH_BYTES, _LARGE_BYTES = 64 * 10**6, 512 * 10**6
"""Slices made at a time; the larger number where there is room for them."""


def _trial_errors(
    steps: tuple[tuple[float, float], ...], largest_step: float, largest: float
) -> NDArray[np.float64]:
    """Errors to try one after the other, the same for all particles."""
    errors: list[float] = []
    error = 0.0
    while True:
        # literal comparison: as in RELION 0.1 is added once more at 0.9999999999999999
        error += next((step for limit, step in steps if error < limit), largest_step)
        if error > largest:
            return np.array([*errors, error])
        errors.append(error)


class Trials:
    """Trial particles of one optics group in several classes; comparisons run on the device.

    A trial is a particle in a class; those of a class follow one another.
    """

    def __init__(
        self,
        session: DeviceSession,
        settings: ExpectationSettings,
        setup: OpticsSetup,
        projector: Projector,
        table: ParticleTable,
        ids: NDArray[np.int64],
        draws: NDArray[np.float64],
        n_shells: int,
    ) -> None:
        self._session = session
        self._projector = projector
        self._setup = setup
        self._draws = draws
        self._n = len(ids)
        self._angles = np.stack([table.rot_deg[ids], table.tilt_deg[ids], table.psi_deg[ids]], -1)
        scoring = setup.fine
        n_padded = scoring.pixels.n_padded
        transfer = ImageTransfer(session, settings.ctf, setup.geometry, setup.pixels)
        n_projected = scoring.pixels.n_projected
        self._weight_d = session.empty((self._n, n_padded), session.real)
        session.kernel("expectation/trial_weights")(
            (n_padded, self._n),
            None,
            # the ones that stand for the CTF without --ctf may have more rows
            transfer.contrast_transfer(ids, table),
            session.to_device(scoring.places),
            session.to_device(0.5 * setup.sigma_weight, session.real),
            self._n,
            setup.pixels.n,
            n_projected,
            n_padded,
            self._weight_d,
        )
        self._kxy_d = session.to_device(scoring.pixels.kxy())
        self._psi: Array = session.to_device(np.array([[1.0, 0.0]]), session.real)
        self._wg = 1 if session.is_cpu else _WORK_GROUP
        self._slice_bytes = 2 * n_padded * np.dtype(session.real).itemsize
        self._launch_bytes = _LAUNCH_BYTES
        if not session.is_cpu:
            self._launch_bytes = max(_LAUNCH_BYTES, min(_LARGE_BYTES, session.room_bytes // 4))
        self._n_shells = n_shells
        of_image = scoring.pixels.shell[:n_projected]
        shell = np.minimum(round_half_away(of_image / setup.geometry.remap), n_shells - 1)
        counts = np.bincount(shell, minlength=n_shells)
        # short integers are sorted by their digits
        order = np.argsort(shell.astype(np.int16), kind="stable")
        self._shell_start = session.to_device(np.concatenate([[0], np.cumsum(counts)]), np.int32)
        self._shell_pixel = session.to_device(order, np.int32)

    def classes_at_a_time(self, classes: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        """Split classes so that the right slices of a part fit into a launch."""
        n = max(1, self._launch_bytes // (self._n * self._slice_bytes))
        return np.split(classes, range(n, len(classes), n)) if len(classes) else []

    def smallest_errors(
        self, classes: NDArray[np.int64]
    ) -> Generator[None, None, tuple[NDArray[np.float64], ...]]:
        """Find the smallest telling errors of all particles in some classes.

        Yields
        ------
        None
            Before each wait for the device.

        Returns
        -------
        rotation_deg
            float64, (classes, n).
        by_shell
            float64, (classes, n, N/2+1); what tells them, 0 for those that nothing tells
            (specification E F.3).
        shift_angst
            float64, (classes, n).
        """
        shape = len(classes), self._n
        of_trial = np.repeat(classes, self._n)
        start = self._slices(of_trial, np.tile(self._angles, (len(classes), 1)))
        rotations, shifts = self._rotations(of_trial, start), self._shifts(start)
        # the device has the first of both before any is waited for
        next(rotations)
        next(shifts)
        yield
        rotation, is_told = yield from rotations
        told = np.flatnonzero(is_told)
        n = max(1, self._launch_bytes // self._slice_bytes)
        parts = np.split(told, range(n, len(told), n)) if len(told) else []
        pending = [self._shells(of_trial, start, part, rotation[part]) for part in parts]
        shift, _ = yield from shifts
        by_shell = np.zeros((len(of_trial), self._n_shells))
        for part, read in zip(parts, pending, strict=True):
            yield
            (by_shell[part],) = read.result()
        shift = self._setup.geometry.optics.pixel_size_angst * shift
        return rotation.reshape(shape), by_shell.reshape(*shape, -1), shift.reshape(shape)

    def _slices(self, classes: NDArray[np.int64], angles: NDArray[np.float64]) -> Array:
        """Slices of classes at Euler angles (n, 3) in degrees, real (n, 2, n_padded)."""
        session, scoring = self._session, self._setup.fine
        matrices = euler_matrix(angles[:, 0], angles[:, 1], angles[:, 2])
        frames = session.to_device(matrices[:, :2, :].reshape(-1, 6), session.real)
        n = len(angles)
        return self._projector.rows(
            frames,
            self._psi,
            SliceRows.upload(session, classes, np.arange(n), np.zeros(n, dtype=np.int64)),
            scoring.pixels,
            scoring.pixel_xy,
        )

    def _turned(
        self, of_trial: NDArray[np.int64], trials: NDArray[np.int64], error_deg: NDArray[np.float64]
    ) -> Array:
        """Slices of trials with one of their angles off by ``error_deg``, degrees."""
        particles = trials % self._n
        which = np.select([self._draws < 0.3333, self._draws < 0.6667], [0, 1], 2)
        angles = self._angles[particles]
        angles[np.arange(len(particles)), which[particles]] += error_deg
        return self._slices(of_trial[trials], angles)

    def _smallest_telling(
        self,
        n_trials: int,
        errors: NDArray[np.float64],
        differences: Callable[[NDArray[np.int64], NDArray[np.float64]], PendingRead],
        bytes_each: int,
    ) -> Generator[None, None, tuple[NDArray[np.float64], NDArray[np.bool_]]]:
        """Find the first error of each trial whose difference tells it from the right pose.

        Several errors of all trials that are left go into one launch.

        Parameters
        ----------
        errors
            To be tried in this order; the last one stands for "none of them".
        differences
            Signal-to-noise ratios of trials (n,) with errors (n,).
        bytes_each
            Device memory of one comparison.

        Yields
        ------
        None
            Before each wait for the device.
        """
        found = np.full(n_trials, errors[-1])
        is_told = np.zeros(n_trials, dtype=np.bool_)
        active = np.arange(n_trials)
        first = 0
        while len(active) and first < len(errors) - 1:
            n = max(1, min(_MOST_ERRORS, self._launch_bytes // (len(active) * bytes_each)))
            tried = errors[first : min(first + n, len(errors) - 1)]
            pending = differences(np.repeat(active, len(tried)), np.tile(tried, len(active)))
            yield
            (snr,) = pending.result()
            tells = snr.reshape(len(active), len(tried)) > _SNR_GOAL
            told = tells.any(axis=1)
            found[active[told]] = tried[np.argmax(tells[told], axis=1)]
            is_told[active[told]] = True
            active = active[~told]
            first += len(tried)
        return found, is_told

    def _rotations(
        self, of_trial: NDArray[np.int64], start: Array
    ) -> Generator[None, None, tuple[NDArray[np.float64], NDArray[np.bool_]]]:
        """Smallest telling rotation of each trial, degrees, and whether there is one."""
        session = self._session

        def differences(trials: NDArray[np.int64], error_deg: NDArray[np.float64]) -> PendingRead:
            snr = session.empty(len(trials), session.real)
            session.kernel("expectation/slice_differences", wg=self._wg)(
                (len(trials) * self._wg,),
                (self._wg,),
                start,
                self._turned(of_trial, trials, error_deg),
                self._weight_d,
                session.to_device(trials, np.int32),
                self._n,
                self._setup.fine.pixels.n_padded,
                snr,
            )
            return session.to_host_later(snr)

        errors = _trial_errors(_ROTATION_STEPS, _LARGEST_ROTATION_STEP, _MAX_ROTATION_DEG)
        return self._smallest_telling(len(of_trial), errors, differences, self._slice_bytes)

    def _shells(
        self,
        of_trial: NDArray[np.int64],
        start: Array,
        told: NDArray[np.int64],
        error_deg: NDArray[np.float64],
    ) -> PendingRead:
        """Terms of the telling sums by model shell, real (n, N/2+1)."""
        session, n_shells = self._session, self._n_shells
        sums = session.empty((len(told), n_shells), session.real)
        session.kernel("expectation/difference_shells")(
            (n_shells, len(told)),
            None,
            start,
            self._turned(of_trial, told, error_deg),
            self._weight_d,
            session.to_device(told, np.int32),
            self._n,
            self._shell_start,
            self._shell_pixel,
            self._setup.fine.pixels.n_padded,
            n_shells,
            len(told),
            sums,
        )
        return session.to_host_later(sums)

    def _shifts(
        self, slices: Array
    ) -> Generator[None, None, tuple[NDArray[np.float64], NDArray[np.bool_]]]:
        """Smallest telling shift of each trial, px, and whether there is one."""
        session = self._session
        box = self._setup.geometry.optics.box_px
        direction = np.where(self._draws[:, None] < 0.5, [1.0, 0.0], [0.0, 1.0])

        def differences(trials: NDArray[np.int64], error_px: NDArray[np.float64]) -> PendingRead:
            snr = session.empty(len(trials), session.real)
            shift = direction[trials % self._n] * error_px[:, None] / box
            session.kernel("expectation/shift_differences", wg=self._wg)(
                (len(trials) * self._wg,),
                (self._wg,),
                slices,
                self._weight_d,
                self._kxy_d,
                session.to_device(trials, np.int32),
                session.to_device(shift, session.real),
                self._n,
                self._setup.fine.pixels.n_padded,
                snr,
            )
            return session.to_host_later(snr)

        errors = _trial_errors(_SHIFT_STEPS, _LARGEST_SHIFT_STEP, _MAX_SHIFT_PX)
        n_bytes = 2 * np.dtype(session.real).itemsize
        return self._smallest_telling(slices.shape[0], errors, differences, n_bytes)
