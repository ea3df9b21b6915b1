"""Expected accuracies: how far a pose must be off before its projection is told apart.

In: references, noise and a few particles.  Out: expected errors of rotations and translations, and
the shells that tell orientations apart.  Specification E C.3, F.3; M 5.6.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from clrelion.expectation.optics_setup import OpticsSetup
from clrelion.expectation.projections import Projector, SliceRows
from clrelion.expectation.settings import ExpectationSettings
from clrelion.fourier.shells import round_half_away
from clrelion.io.particle_table import ParticleTable
from clrelion.orientations.euler import euler_matrix
from clrelion.particles.random_numbers import C_LIBRARY_LARGEST, first_random_numbers

if TYPE_CHECKING:
    from pyopencl.array import Array

    from clrelion.device.session import DeviceSession

__all__ = ["N_TRIAL_PARTICLES", "Accuracies", "TrialSums", "expected_accuracies", "try_particles"]

N_TRIAL_PARTICLES = 100
"""Particles at the head of the processing order that are tried."""

_SNR_GOAL = 4.60517
_SMALLEST_CLASS = 0.01
_UNKNOWN = 999.0
_MAX_ROTATION_DEG = 30.0
_MAX_SHIFT_PX = 10.0
_ROTATION_STEPS = ((0.2, 0.05), (1.0, 0.1), (2.0, 0.2), (5.0, 0.5), (10.0, 1.0), (20.0, 2.0))
_SHIFT_STEPS = ((1.0, 0.1), (2.0, 0.2), (5.0, 0.5), (10.0, 1.0))
_LARGEST_ROTATION_STEP = 5.0
_LARGEST_SHIFT_STEP = 2.0
_WORK_GROUP = 128
_MOST_ERRORS = 16
"""Errors of a particle in a launch; most particles are told after fewer."""
_LAUNCH_BYTES = 64 * 10**6


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
class TrialSums:
    """What some of the trial particles add to the accuracies.

    Attributes
    ----------
    n
        Particles.
    rotation_deg, shift_angst
        float64, (K,); sums of their smallest telling errors.
    by_shell
        float64, (K, N/2+1); sums of what tells them.
    is_large
        bool, (K,); classes that are large enough to tell.
    """

    n: int
    rotation_deg: NDArray[np.float64]
    shift_angst: NDArray[np.float64]
    by_shell: NDArray[np.float64]
    is_large: NDArray[np.bool_]


def try_particles(
    session: DeviceSession,
    settings: ExpectationSettings,
    table: ParticleTable,
    ids: NDArray[np.int64],
    count: Callable[[int], None] = lambda _: None,
) -> TrialSums:
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
    projector = Projector(session, settings.references)
    padding = next(r.padding_factor for r in settings.references if r is not None)
    n_classes, n_shells = settings.n_classes, settings.ori_size // 2 + 1
    rotation, shift = np.zeros(n_classes), np.zeros(n_classes)
    histogram = np.zeros((n_classes, n_shells))
    is_large = settings.pdf_class >= _SMALLEST_CLASS
    # these numbers choose the angle or axis of each particle (specification C.3)
    draws = first_random_numbers(settings.random_seed + ids) / C_LIBRARY_LARGEST
    groups = table.optics_group[ids]
    for group in np.unique(groups).tolist():
        chosen = groups == group
        setup = OpticsSetup(session, settings, group, projector, padding)
        trial = _Trials(session, setup, projector, table, ids[chosen], draws[chosen])
        pixel_size = setup.geometry.optics.pixel_size_angst
        for k in np.flatnonzero(is_large).tolist():
            rotation[k] += trial.rotation_errors(k, histogram[k]).sum()
            shift[k] += pixel_size * trial.shift_errors(k).sum()
            count(int(chosen.sum()))
    return TrialSums(len(ids), rotation, shift, histogram, is_large)


def expected_accuracies(parts: Sequence[TrialSums]) -> Accuracies:
    """Estimate the accuracies from all trial particles."""
    first = parts[0]
    total_by_shell = np.sum([part.by_shell for part in parts], axis=0)
    of_class = total_by_shell.sum(axis=1, keepdims=True)
    n = max(1, sum(part.n for part in parts))
    rotation = np.sum([part.rotation_deg for part in parts], axis=0)
    shift = np.sum([part.shift_angst for part in parts], axis=0)
    return Accuracies(
        rot_deg=np.where(first.is_large, rotation / n, _UNKNOWN),
        trans_angst=np.where(first.is_large, shift / n, _UNKNOWN),
        orientability=np.divide(
            total_by_shell, of_class, out=np.zeros_like(total_by_shell), where=of_class > 0
        ),
    )


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


class _Trials:
    """Trial particles of one optics group; comparisons run on the device."""

    def __init__(
        self,
        session: DeviceSession,
        setup: OpticsSetup,
        projector: Projector,
        table: ParticleTable,
        ids: NDArray[np.int64],
        draws: NDArray[np.float64],
    ) -> None:
        self._session = session
        self._projector = projector
        self._setup = setup
        self._draws = draws
        self._angles = np.stack([table.rot_deg[ids], table.tilt_deg[ids], table.psi_deg[ids]], -1)
        scoring = setup.fine
        ctf = np.asarray(
            session.to_host(setup.preparation.transfer.contrast_transfer(ids, table)),
            dtype=np.float64,
        )
        # the ones that stand for the CTF without --ctf may have more rows
        ctf = ctf[: len(ids)][:, scoring.places]
        weight = np.zeros((len(ids), scoring.pixels.n_padded))
        weight[:, : ctf.shape[1]] = 0.5 * np.square(ctf) * setup.sigma_weight
        self._weight = weight[:, : ctf.shape[1]]
        self._weight_d = session.to_device(weight, session.real)
        self._kxy_d = session.to_device(scoring.pixels.kxy())
        self._psi: Array = session.to_device(np.array([[1.0, 0.0]]), session.real)
        self._wg = 1 if session.is_cpu else _WORK_GROUP

    def _slices(self, k: int, angles: NDArray[np.float64]) -> Array:
        """Slices of class k at Euler angles (n, 3) in degrees, real (n, 2, n_padded)."""
        session, scoring = self._session, self._setup.fine
        matrices = euler_matrix(angles[:, 0], angles[:, 1], angles[:, 2])
        frames = session.to_device(matrices[:, :2, :].reshape(-1, 6), session.real)
        n = len(angles)
        return self._projector.rows(
            frames,
            self._psi,
            SliceRows.upload(session, np.full(n, k), np.arange(n), np.zeros(n, dtype=np.int64)),
            scoring.pixels,
            scoring.pixel_xy,
        )

    def _turned(
        self, particles: NDArray[np.int64], error_deg: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Angles of particles with one of them off by ``error_deg``, degrees."""
        which = np.select([self._draws < 0.3333, self._draws < 0.6667], [0, 1], 2)
        angles = self._angles[particles].copy()
        angles[np.arange(len(particles)), which[particles]] += error_deg
        return np.asarray(angles)

    def _smallest_telling(
        self,
        errors: NDArray[np.float64],
        differences: Callable[[NDArray[np.int64], NDArray[np.float64]], NDArray[np.floating]],
        bytes_each: int,
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Find the first error of each particle whose difference tells it from the right pose.

        Several errors of all particles that are left go into one launch.

        Parameters
        ----------
        errors
            To be tried in this order; the last one stands for "none of them".
        differences
            Signal-to-noise ratios of particles (n,) with errors (n,).
        bytes_each
            Device memory of one comparison.
        """
        found = np.full(len(self._draws), errors[-1])
        is_told = np.zeros(len(self._draws), dtype=np.bool_)
        active = np.arange(len(found))
        first = 0
        while len(active) and first < len(errors) - 1:
            n = max(1, min(_MOST_ERRORS, _LAUNCH_BYTES // (len(active) * bytes_each)))
            tried = errors[first : min(first + n, len(errors) - 1)]
            snr = differences(np.repeat(active, len(tried)), np.tile(tried, len(active)))
            tells = snr.reshape(len(active), len(tried)) > _SNR_GOAL
            told = tells.any(axis=1)
            found[active[told]] = tried[np.argmax(tells[told], axis=1)]
            is_told[active[told]] = True
            active = active[~told]
            first += len(tried)
        return found, is_told

    def rotation_errors(self, k: int, histogram: NDArray[np.float64]) -> NDArray[np.float64]:
        """Smallest telling rotation of each particle, degrees; adds to the shells' histogram."""
        session = self._session
        start = self._slices(k, self._angles)

        def differences(
            particles: NDArray[np.int64], error_deg: NDArray[np.float64]
        ) -> NDArray[np.floating]:
            snr = session.empty(len(particles), session.real)
            session.kernel("expectation/slice_differences", wg=self._wg)(
                (len(particles) * self._wg,),
                (self._wg,),
                start,
                self._slices(k, self._turned(particles, error_deg)),
                self._weight_d,
                session.to_device(particles, np.int32),
                self._setup.fine.pixels.n_padded,
                snr,
            )
            return session.to_host(snr)

        errors = _trial_errors(_ROTATION_STEPS, _LARGEST_ROTATION_STEP, _MAX_ROTATION_DEG)
        slice_bytes = start.nbytes // len(self._draws)
        error, is_told = self._smallest_telling(errors, differences, slice_bytes)
        self._add_shells(k, start, np.flatnonzero(is_told), error, histogram)
        return error

    def _add_shells(
        self,
        k: int,
        start: Array,
        told: NDArray[np.int64],
        error: NDArray[np.float64],
        histogram: NDArray[np.float64],
    ) -> None:
        """Add the terms of the telling sums by model shell (specification E F.3)."""
        if not len(told):
            return
        pixels, n = self._setup.fine.pixels, self._weight.shape[1]
        before = self._session.to_host(start)
        after = self._session.to_host(self._slices(k, self._turned(told, error[told])))
        terms = np.zeros(n)
        for i, particle in enumerate(told.tolist()):  # each fits into a cache
            change = before[particle, :, :n].astype(np.float64) - after[i, :, :n]
            terms += (change**2).sum(axis=0) * self._weight[particle]
        shell = round_half_away(pixels.shell[:n] / self._setup.geometry.remap)
        histogram += np.bincount(
            np.minimum(shell, len(histogram) - 1), terms, minlength=len(histogram)
        )

    def shift_errors(self, k: int) -> NDArray[np.float64]:
        """Smallest telling shift of each particle, px."""
        session = self._session
        slices = self._slices(k, self._angles)
        box = self._setup.geometry.optics.box_px
        direction = np.where(self._draws[:, None] < 0.5, [1.0, 0.0], [0.0, 1.0])

        def differences(
            particles: NDArray[np.int64], error_px: NDArray[np.float64]
        ) -> NDArray[np.floating]:
            snr = session.empty(len(particles), session.real)
            session.kernel("expectation/shift_differences", wg=self._wg)(
                (len(particles) * self._wg,),
                (self._wg,),
                slices,
                self._weight_d,
                self._kxy_d,
                session.to_device(particles, np.int32),
                session.to_device(direction[particles] * error_px[:, None] / box, session.real),
                self._setup.fine.pixels.n_padded,
                snr,
            )
            return session.to_host(snr)

        errors = _trial_errors(_SHIFT_STEPS, _LARGEST_SHIFT_STEP, _MAX_SHIFT_PX)
        n_bytes = 2 * np.dtype(session.real).itemsize
        return self._smallest_telling(errors, differences, n_bytes)[0]
