"""From the sums of a part of a batch to those of the half-set, and to each particle's results."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from clrelion.expectation.exact_rounding import SumUnits, image_units, rounded
from clrelion.expectation.fine import BestPoses, FineResults, FineSamples
from clrelion.expectation.images import SMALLEST_SCALE, BatchImages, ImagePower
from clrelion.expectation.optics_setup import OpticsSetup
from clrelion.expectation.results import ParticleResults
from clrelion.expectation.sampling_tables import OrientationTables
from clrelion.expectation.settings import ExpectationSettings, ImageGeometry
from clrelion.expectation.stored_sums import PendingSums, StoredSums
from clrelion.io.particle_table import ParticleTable
from clrelion.maximization.sums import ParameterSums
from clrelion.orientations.euler import angles_distance_deg

if TYPE_CHECKING:
    from clrelion.device.transfers import PendingRead

__all__ = ["Accumulator", "PartNumbers", "PendingPart", "empty_sums"]

_log = logging.getLogger(__name__)

_SUSPICIOUS_NORM = 10.0


def empty_sums(settings: ExpectationSettings) -> ParameterSums:
    """Sums over no particle, of the sizes of a half-set's model."""
    return ParameterSums.zeros(
        settings.n_classes,
        settings.pdf_direction.shape[1],
        len(settings.geometry),
        len(settings.scale_correction),
        settings.ori_size,
    )


@dataclass(frozen=True)
class PartNumbers:
    """What a part of a batch contributes to the sums over particles; all of it on the host.

    Attributes
    ----------
    ids, scale, offset_px
        Of its images, as in `BatchImages`.
    spectrum, edge_power
        The same, as in `ImagePower`.
    best, maximum, sum_weight, sum_omega, sum_offset2
        Of its posterior weights, as in `FineResults`.
    stored
        Its sums by image.
    n_significant
        int64, (n,); significant samples of the coarse pass.
    ctf2
        float64, (n, n_list); squared CTF of premultiplied images, else None.
    """

    ids: NDArray[np.int64]
    spectrum: NDArray[np.float64]
    edge_power: NDArray[np.float64]
    scale: NDArray[np.float64]
    offset_px: NDArray[np.float64]
    best: BestPoses
    maximum: NDArray[np.float64]
    sum_weight: NDArray[np.float64]
    sum_omega: NDArray[np.float64]
    sum_offset2: NDArray[np.float64]
    stored: StoredSums
    n_significant: NDArray[np.int64]
    ctf2: NDArray[np.float64] | None

    @property
    def n(self) -> int:
        """Images in the part."""
        return len(self.ids)


@dataclass(frozen=True)
class PendingPart:
    """A part of a batch whose numbers are on their way to the host.

    Attributes
    ----------
    ids, scale, offset_px
        As in `PartNumbers`.
    power
        Of its images by shell.
    samples, stored
        Its posterior weights and its sums.
    n_significant
        int64, (n,), or None: the samples that the fine pass found.
    ctf2
        real, (n or more, n_list), or None.
    """

    ids: NDArray[np.int64]
    scale: NDArray[np.float64]
    offset_px: NDArray[np.float64]
    power: ImagePower
    samples: FineSamples
    stored: PendingSums
    n_significant: NDArray[np.int64] | None
    ctf2: PendingRead | None

    @classmethod
    def of(
        cls,
        batch: BatchImages,
        samples: FineSamples,
        stored: PendingSums,
        n_significant: NDArray[np.int64] | None,
        ctf2: PendingRead | None,
    ) -> PendingPart:
        """Take what is needed from a part that the device has been given; its images may go."""
        return cls(
            batch.ids, batch.scale, batch.offset_px, batch.power,
            samples, stored, n_significant, ctf2,
        )  # fmt: skip

    def numbers(self) -> PartNumbers:
        """Wait for the numbers."""
        found: FineResults = self.samples.results()
        n_significant = found.n_found if self.n_significant is None else self.n_significant
        ctf2 = None
        if self.ctf2 is not None:
            # the ones that stand for the CTF without --ctf may have more rows
            ctf2 = self.ctf2.result()[0][: len(self.ids)].astype(np.float64)
        spectrum, edge = self.power.spectrum_and_edge()
        return PartNumbers(
            self.ids, spectrum, edge, self.scale, self.offset_px,
            found.best, found.maximum, found.sum_weight, found.sum_omega, found.sum_offset2,
            self.stored.result(), n_significant, ctf2,
        )  # fmt: skip


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
        self.skipped: dict[int, str] = {}

    def total(self) -> ParameterSums:
        """Give all sums but the volumes; nothing may be added any more."""
        for group, images in self._by_shell.items():
            images.add_to(self._sums, group)
        self._by_shell.clear()
        return self._sums

    def skip(self, particle: int, reason: str, is_told: bool = False) -> None:
        """Leave a particle out of this iteration; the user may have been told already."""
        if particle not in self.skipped and not is_told:
            _log.warning("%s: left out: %s", self._table.where(particle), reason)
        self.skipped[particle] = reason

    def add(self, setup: OpticsSetup, part: PartNumbers, tables: OrientationTables) -> None:
        """Add a part of a batch; its spectrum is used up."""
        good = part.best.classes >= 0
        for place in np.flatnonzero(~good).tolist():
            self.skip(int(part.ids[place]), "no finite weight")
        likelihood = np.zeros(part.n)
        # large arrays are not copied where all images are good, as they mostly are
        chosen = slice(None) if good.all() else good
        likelihood[chosen] = setup.log_likelihoods(
            part.spectrum[chosen],
            part.edge_power[chosen],
            part.maximum[chosen],
            part.sum_weight[chosen],
        )
        residual = self._residuals(part)
        residual[~good] = 0.0
        self._add_noise(setup, residual, part, good)
        norm = self._norms(part, residual)
        pmax = np.divide(1.0, part.sum_weight, out=np.zeros(part.n), where=good)
        sums, units = self._sums, self._units
        offset2 = rounded(part.sum_offset2[good], units.offset2_angst2)
        sums.sigma2_offset_sum = _added(sums.sigma2_offset_sum, offset2)
        sums.norm_sum = _added(sums.norm_sum, rounded(norm[good], units.factor))
        likelihoods = rounded(likelihood, units.log_likelihood)
        sums.log_likelihood = _added(sums.log_likelihood, likelihoods)
        sums.pmax_sum = _added(sums.pmax_sum, rounded(pmax, units.weight))
        if self._settings.do_scale_correction:
            self._add_scales(part, good)
        kept = np.flatnonzero(good)
        self._record(setup, part, tables, kept)
        ids, results = part.ids[kept], self._results
        results.norm_correction[ids] = norm[kept]
        results.log_likelihood[ids] = likelihood[kept]
        results.pmax[ids] = pmax[kept]
        results.n_significant[ids] = part.n_significant[kept]
        results.is_done[ids] = True

    def _residuals(self, part: PartNumbers) -> NDArray[np.float64]:
        """Weighted squared residuals by image shell, float64, (n, n_box/2+1), over the spectrum.

        Sum of omega |Y - X|^2 with |X|^2 from the spectrum; unit weight beyond the image size,
        where there is no projection.
        """
        residual = part.spectrum
        n_shells = part.stored.power.shape[1]
        residual[:, :n_shells] *= part.sum_omega[:, None]
        residual[:, :n_shells] += part.stored.power - 2.0 * part.stored.cross
        return residual

    def _add_noise(
        self,
        setup: OpticsSetup,
        residual: NDArray[np.float64],
        part: PartNumbers,
        good: NDArray[np.bool_],
    ) -> None:
        if setup.group not in self._by_shell:
            n_model = self._settings.ori_size // 2 + 1
            units = self._residual_units(setup)
            self._by_shell[setup.group] = _ImageSums.of(setup, n_model, units)
        images = self._by_shell[setup.group]
        _add_rows(images.residual, rounded(residual * images.factor, images.units))
        sumw = self._sums.sumw_group
        sum_omega = rounded(part.sum_omega[good], self._units.weight)
        sumw[setup.group] = _added(sumw[setup.group], sum_omega)
        if part.ctf2 is not None:
            scale = part.scale / setup.geometry.amplitude
            ctf2 = (part.ctf2 * scale[:, None])[good] * images.pixel_share
            _add_rows(images.ctf2, rounded(ctf2, self._units.factor))

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

    def _norms(self, part: PartNumbers, residual: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the new norm corrections (specification E 5.6)."""
        old = self._table.norm_correction[part.ids]
        if not self._settings.do_norm_correction:
            return np.asarray(old)
        total = np.maximum(residual.sum(axis=1), 0.0)
        norm = old / self._settings.avg_norm_correction * np.sqrt(2.0 * total)
        if not self._settings.do_cross_correlation:
            for place in np.flatnonzero(norm > _SUSPICIOUS_NORM).tolist():
                _log.warning(
                    "%s: norm correction %.1f; check the normalisation of this image",
                    self._table.where(int(part.ids[place])),
                    norm[place],
                )
        return np.asarray(norm)

    def _add_scales(self, part: PartNumbers, good: NDArray[np.bool_]) -> None:
        group = self._table.scale_group[part.ids[good]]
        old = np.maximum(self._settings.scale_correction[group], SMALLEST_SCALE)
        sums, stored = self._sums, part.stored
        cross = rounded(stored.scale_cross[good] / old, self._units.scale)
        power = rounded(stored.scale_power[good] / old**2, self._units.scale)
        sums.scale_xa = _added_by_place(sums.scale_xa, group, cross)
        sums.scale_aa = _added_by_place(sums.scale_aa, group, power)

    def _record(
        self,
        setup: OpticsSetup,
        part: PartNumbers,
        tables: OrientationTables,
        kept: NDArray[np.int64],
    ) -> None:
        """Write down the best sample of each image, and how far it is from the one before."""
        settings, table, best = self._settings, self._table, part.best
        pixel_size = setup.geometry.optics.pixel_size_angst
        shift = settings.translations_px(pixel_size, fine=True)[best.translations[kept]]
        offset = (part.offset_px[kept] + shift) * pixel_size
        rot, tilt, psi = tables.angles(settings, table, best.frames[kept], best.psis[kept])
        ids, results = part.ids[kept], self._results
        results.rot_deg[ids], results.tilt_deg[ids], results.psi_deg[ids] = rot, tilt, psi
        before = table.rot_deg[ids], table.tilt_deg[ids], table.psi_deg[ids]
        results.turned_deg[ids] = angles_distance_deg(
            np.stack([rot, tilt, psi], -1), np.stack(before, -1), settings.point_group.operators
        )
        results.origin_x_angst[ids], results.origin_y_angst[ids] = offset[:, 0], offset[:, 1]
        results.class_number[ids] = best.classes[kept]


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
        return cls(geometry, pixels.shell, factor, residual, units, share, ctf2)

    def add_to(self, sums: ParameterSums, group: int) -> None:
        """Add them to the sums by model shell (specification E 5.6, M 3.4)."""
        geometry, noise = self.geometry, sums.sigma2_noise[group]
        noise += geometry.sums_of_model_shells(self.residual, len(noise))
        if geometry.optics.ctf_premultiplied:
            by_shell = np.bincount(self.shell, weights=self.ctf2).astype(np.float64)
            target = sums.ctf2[group]
            target += geometry.sums_of_model_shells(by_shell, len(target))


def _added(total: float, values: NDArray[np.float64]) -> float:
    """Add numbers to a sum one after the other; numpy.sum would add them up in a tree."""
    return float(np.cumsum(np.append(total, values))[-1])


def _add_rows(total: NDArray[np.float64], rows: NDArray[np.float64]) -> None:
    """Add rows to a sum of rows, one after the other, in place; the first row is used up."""
    if len(rows):
        # along the first axis NumPy adds row after row, as a loop would
        rows[0] += total
        np.add.reduce(rows, axis=0, out=total)


def _added_by_place(
    total: NDArray[np.float64], place: NDArray[np.int64], values: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Add numbers to the elements of a (flattened) array, one after the other."""
    n = total.size
    places, all_values = np.append(np.arange(n), place), np.append(total, values)
    sums = np.asarray(np.bincount(places, all_values, minlength=n), dtype=np.float64)
    return sums.reshape(total.shape)
