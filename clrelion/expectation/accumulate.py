"""From the sums of a part of a batch to those of the half-set, and to each particle's results."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clrelion.expectation.exact_rounding import SumUnits, image_units, rounded
from clrelion.expectation.fine import FineResults
from clrelion.expectation.images import SMALLEST_SCALE
from clrelion.expectation.optics_setup import OpticsSetup
from clrelion.expectation.part_numbers import ImageNumbers, ImagePoses, PendingPart
from clrelion.expectation.results import ParticleResults
from clrelion.expectation.sampling_tables import OrientationTables
from clrelion.expectation.settings import ExpectationSettings, ImageGeometry
from clrelion.expectation.stored_sums import StoredSums
from clrelion.io.particle_table import ParticleTable
from clrelion.maximization.sums import ParameterSums
from clrelion.orientations.euler import angles_distance_deg

__all__ = ["Accumulator", "empty_sums"]

_log = logging.getLogger(__name__)

_SUSPICIOUS_NORM = 10.0
_PORTIONS = 16
"""Numbers of images wait until there are so large a part of all particles together.  Each call of
NumPy may wait for the interpreter's lock, so few calls for many images cost least; but what is left
at the end of a step, nothing hides."""
_ENOUGH = 4096
"""So many images are many."""


def empty_sums(settings: ExpectationSettings) -> ParameterSums:
    """Sums over no particle, of the sizes of a half-set's model."""
    return ParameterSums.zeros(
        settings.n_classes,
        settings.pdf_direction.shape[1],
        len(settings.geometry),
        len(settings.scale_correction),
        settings.ori_size,
    )


class Accumulator:
    """Sums of a half-set over its particles (specification E 5.6, M 4.2).

    Particles are added one by one, in their order: how they come in parts does not change a bit.

    Parameters
    ----------
    is_exact
        Round what is added so that sums over some of the particles add up without rounding.

    Attributes
    ----------
    skipped
        Particles left out, with the reason.
    """

    def __init__(
        self,
        settings: ExpectationSettings,
        table: ParticleTable,
        results: ParticleResults,
        is_exact: bool = False,
    ) -> None:
        self._settings = settings
        self._table = table
        self._results = results
        self._sums = empty_sums(settings)
        self._is_exact = is_exact
        self._units = SumUnits.of(settings, table.n) if is_exact else SumUnits()
        self._by_shell: dict[int, _ImageSums] = {}
        self._old_scale = np.maximum(settings.scale_correction, SMALLEST_SCALE)
        self._work = np.empty(0)
        self._poses: list[ImagePoses] = []
        self._numbers: list[ImageNumbers] = []
        self._of_waiting: tuple[OpticsSetup, OrientationTables] | None = None
        self.skipped: dict[int, str] = {}

    def total(self) -> ParameterSums:
        """Give all sums but the volumes; nothing may be added any more."""
        self.settle()
        for group, images in self._by_shell.items():
            images.add_to(self._sums, group)
        self._by_shell.clear()
        return self._sums

    def skip(self, particle: int, reason: str, is_told: bool = False) -> None:
        """Leave a particle out of this iteration; the user may have been told already."""
        if particle not in self.skipped and not is_told:
            _log.warning("%s: left out: %s", self._table.where(particle), reason)
        self.skipped[particle] = reason

    def add(self, setup: OpticsSetup, part: PendingPart, tables: OrientationTables) -> None:
        """Add a part of a batch.

        Its numbers are waited for in the order in which the device makes them: when the last ones
        come, at the end of a step after everything else, little is left to do with them.
        """
        if self._of_waiting is not None and self._of_waiting[0] is not setup:
            self.settle()
        spectrum, edge_power = part.power.spectrum_and_edge()
        residual, work = self._work_arrays(spectrum.shape)
        np.copyto(residual, spectrum)
        inner, outer = setup.power_sums(residual, work)

        found = part.results.result()
        rows = self._usable(part.ids, found)
        poses = part.poses(found, rows)
        if len(poses.ids) == 0:
            return
        self._of_waiting = setup, tables
        self._poses.append(poses)
        if self._are_enough(self._poses):
            self._settle_poses()

        stored = part.stored.result().chosen(rows)
        residual = residual[rows]
        work = work[: len(residual)]
        _make_residuals(residual, stored, found.sum_omega[rows], work)
        self._numbers.append(
            ImageNumbers(
                poses.ids,
                part.significant(found)[rows],
                found.maximum[rows],
                found.sum_weight[rows],
                found.sum_omega[rows],
                found.sum_offset2[rows],
                inner[rows],
                edge_power[rows],
                outer[rows],
                residual.sum(axis=1),
                stored.scale_power,
                stored.scale_cross,
            )
        )
        self._add_noise(setup, residual, work)
        if (ctf2 := part.listed_ctf2()) is not None:
            self._add_ctf2(setup, ctf2[rows], part.scale[rows])
        if self._are_enough(self._numbers):
            self.settle()

    def settle(self) -> None:
        """Add what is one number an image and waits for more, and write down its results."""
        if self._of_waiting is None:
            return
        self._settle_poses()
        # references are not held any longer than that
        (setup, _), self._of_waiting = self._of_waiting, None
        images = ImageNumbers.joined(self._numbers)
        self._numbers.clear()
        likelihood = setup.log_likelihoods(
            images.inner, images.edge_power, images.outer, images.maximum, images.sum_weight
        )
        norm = self._norms(images)
        pmax = 1.0 / images.sum_weight
        self._add_numbers(setup.group, images, norm, likelihood, pmax)
        if self._settings.do_scale_correction:
            self._add_scales(images)
        ids, results = images.ids, self._results
        results.norm_correction[ids] = norm
        results.log_likelihood[ids] = likelihood
        results.pmax[ids] = pmax
        results.n_significant[ids] = images.n_significant
        results.done_by[ids] = results.rank

    def _settle_poses(self) -> None:
        """Write down the best samples that wait for more."""
        if self._of_waiting is None or not self._poses:
            return
        images = ImagePoses.joined(self._poses)
        self._poses.clear()
        self._record(*self._of_waiting, images)

    def _are_enough(self, waiting: Sequence[ImagePoses] | Sequence[ImageNumbers]) -> bool:
        n_waiting = sum(len(images.ids) for images in waiting)
        return n_waiting >= min(_ENOUGH, self._table.n / _PORTIONS)

    def _usable(self, ids: NDArray[np.int64], found: FineResults) -> slice | NDArray[np.bool_]:
        """Tell which images have a finite weight; leave out the others."""
        good = found.best.classes >= 0
        if good.all():
            return slice(None)
        for particle in ids[~good].tolist():
            self.skip(particle, "no finite weight")
        return good

    def _work_arrays(
        self, shape: tuple[int, ...]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Two float64 arrays of a shape; the next part has the same memory, which is warm."""
        size = int(np.prod(shape))
        if len(self._work) < 2 * size:
            self._work = np.empty(2 * size)
        return self._work[:size].reshape(shape), self._work[size : 2 * size].reshape(shape)

    def _images_of(self, setup: OpticsSetup) -> _ImageSums:
        if setup.group not in self._by_shell:
            n_model = self._settings.ori_size // 2 + 1
            units = self._residual_units(setup)
            self._by_shell[setup.group] = _ImageSums.of(setup, n_model, units)
        return self._by_shell[setup.group]

    def _add_noise(
        self, setup: OpticsSetup, residual: NDArray[np.float64], work: NDArray[np.float64]
    ) -> None:
        """Add the residuals; both arrays are used up."""
        images = self._images_of(setup)
        if not images.is_model:
            residual = np.multiply(residual, images.factor, out=work)
        _add_rows(images.residual, rounded(residual, images.units))

    def _add_ctf2(
        self, setup: OpticsSetup, ctf2: NDArray[Any], scale: NDArray[np.float64]
    ) -> None:
        """Add what premultiplied images have in the place of their residuals (M 3.4)."""
        images = self._images_of(setup)
        weight = scale / setup.geometry.amplitude
        ctf2 = ctf2.astype(np.float64) * weight[:, None] * images.pixel_share
        _add_rows(images.ctf2, rounded(ctf2, self._units.factor))

    def _add_numbers(
        self,
        group: int,
        images: ImageNumbers,
        norm: NDArray[np.float64],
        likelihood: NDArray[np.float64],
        pmax: NDArray[np.float64],
    ) -> None:
        """Add what is one number an image, one after the other: numpy.sum would make a tree."""
        sums, units = self._sums, self._units
        added = np.array([images.sum_offset2, norm, likelihood, pmax, images.sum_omega])
        if self._is_exact:
            steps = (
                *(units.offset2_angst2, units.factor, units.log_likelihood),
                *(units.weight, units.weight),
            )
            added = rounded(added, np.array(steps)[:, None])
        before = (
            *(sums.sigma2_offset_sum, sums.norm_sum, sums.log_likelihood, sums.pmax_sum),
            sums.sumw_group[group],
        )
        added[:, 0] += before
        totals = np.add.accumulate(added, axis=1)[:, -1].tolist()
        sums.sigma2_offset_sum, sums.norm_sum, sums.log_likelihood, sums.pmax_sum = totals[:4]
        sums.sumw_group[group] = totals[4]

    def _residual_units(self, setup: OpticsSetup) -> NDArray[np.float64]:
        geometry, noise = setup.geometry, self._settings.sigma2_noise[setup.group]
        if self._is_exact:
            return image_units(geometry, noise, self._table.n)
        return np.zeros(geometry.optics.box_px // 2 + 1)

    def add_orientations(self, by_direction: NDArray[np.float64]) -> None:
        """Add the posterior weight of each class and direction, float64 (n_classes, n_dir)."""
        self._sums.pdf_class += by_direction.sum(axis=1)
        if not self._settings.keeps_orientation:
            self._sums.pdf_direction += by_direction

    def _norms(self, images: ImageNumbers) -> NDArray[np.float64]:
        """Return the new norm corrections (specification E 5.6)."""
        old = self._table.norm_correction[images.ids]
        if not self._settings.do_norm_correction:
            return np.asarray(old)
        total = np.maximum(images.residual, 0.0)
        norm = old / self._settings.avg_norm_correction * np.sqrt(2.0 * total)
        if not self._settings.do_cross_correlation:
            for place in np.flatnonzero(norm > _SUSPICIOUS_NORM).tolist():
                _log.warning(
                    "%s: norm correction %.1f; check the normalisation of this image",
                    self._table.where(int(images.ids[place])),
                    norm[place],
                )
        return np.asarray(norm)

    def _add_scales(self, images: ImageNumbers) -> None:
        group = self._table.scale_group[images.ids]
        old, unit = self._old_scale[group], self._units.scale
        # one after the other, as they come
        np.add.at(self._sums.scale_xa, group, rounded(images.scale_cross / old, unit))
        np.add.at(self._sums.scale_aa, group, rounded(images.scale_power / old**2, unit))

    def _record(self, setup: OpticsSetup, tables: OrientationTables, images: ImagePoses) -> None:
        """Write down the best sample of each image, and how far it is from the one before."""
        settings, table = self._settings, self._table
        shift = setup.fine.translations_px[images.translations]
        offset = (images.offset_px + shift) * setup.geometry.optics.pixel_size_angst
        angles = tables.angles(settings, table, images.frames, images.psis)
        ids, results = images.ids, self._results
        results.rot_deg[ids], results.tilt_deg[ids], results.psi_deg[ids] = angles
        before = table.rot_deg[ids], table.tilt_deg[ids], table.psi_deg[ids]
        results.turned_deg[ids] = angles_distance_deg(
            np.array(angles).T, np.array(before).T, settings.point_group.operators
        )
        results.origin_x_angst[ids], results.origin_y_angst[ids] = offset[:, 0], offset[:, 1]
        results.class_number[ids] = images.classes


@dataclass
class _ImageSums:
    """Sums over the images of one optics group, by their shells, in units of the model's box.

    Attributes
    ----------
    geometry
        Of these images.
    shell
        int, (n_list,); image shell of the listed pixels.
    factor
        float64, (n_box/2+1,); from shells and units of these images to those of the model.
    is_model
        They are in units of the model already: the factor is 1.
    residual, units
        float64, (n_box/2+1,); weighted squared residuals by image shell times this factor, and
        what those of an image are rounded to multiples of; 0: they are not.
    pixel_share
        float64, (n_list,); weight of the listed pixels in their model shells.
    ctf2
        float64, (n_list,); squared CTF of premultiplied images at the listed pixels, so weighted.
    """

    geometry: ImageGeometry
    shell: NDArray[np.int32]
    factor: NDArray[np.float64]
    is_model: bool
    residual: NDArray[np.float64]
    units: NDArray[np.float64]
    pixel_share: NDArray[np.float64]
    ctf2: NDArray[np.float64]

    @classmethod
    def of(
        cls, setup: OpticsSetup, n_model_shells: int, units: NDArray[np.float64]
    ) -> _ImageSums:
        """Nothing added yet."""
        geometry, pixels = setup.geometry, setup.pixels
        n_shells = geometry.optics.box_px // 2 + 1
        factor = geometry.model_shares(n_shells, n_model_shells) * geometry.remap**2
        listed = int(pixels.shell.max(initial=0)) + 1
        share = geometry.model_shares(listed, n_model_shells)[pixels.shell]
        residual, ctf2 = np.zeros(n_shells), np.zeros(pixels.n)
        is_model = bool((factor == 1.0).all())
        return cls(geometry, pixels.shell, factor, is_model, residual, units, share, ctf2)

    def add_to(self, sums: ParameterSums, group: int) -> None:
        """Add them to the sums by model shell (specification E 5.6, M 3.4)."""
        geometry, noise = self.geometry, sums.sigma2_noise[group]
        noise += geometry.sums_of_model_shells(self.residual, len(noise))
        if geometry.optics.ctf_premultiplied:
            by_shell = np.bincount(self.shell, weights=self.ctf2).astype(np.float64)
            target = sums.ctf2[group]
            target += geometry.sums_of_model_shells(by_shell, len(target))


def _make_residuals(
    spectrum: NDArray[np.float64],
    stored: StoredSums,
    sum_omega: NDArray[np.float64],
    work: NDArray[np.float64],
) -> None:
    """Turn spectra into weighted squared residuals by image shell, (n, n_box/2+1), in place.

    Sum of omega |Y - X|^2 with |X|^2 from the spectrum; unit weight beyond the image size, where
    there is no projection.
    """
    power = stored.power
    inner, difference = spectrum[:, : power.shape[1]], work.ravel()[: power.size]
    difference = difference.reshape(power.shape)
    np.multiply(stored.cross, 2.0, out=difference)
    np.subtract(power, difference, out=difference)
    inner *= sum_omega[:, None]
    inner += difference


def _add_rows(total: NDArray[np.float64], rows: NDArray[np.float64]) -> None:
    """Add rows to a sum of rows, one after the other, in place; the first row is used up."""
    if len(rows):
        # along the first axis NumPy adds row after row, as a loop would
        rows[0] += total
        np.add.reduce(rows, axis=0, out=total)
