"""What a part of a batch says of its images, on its way from the device to the sums."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from clrelion.expectation.fine import BestPoses, FineResults, FineSamples
from clrelion.expectation.images import BatchImages, ImagePower
from clrelion.expectation.stored_sums import PendingSums, StoredSums

if TYPE_CHECKING:
    from clrelion.device.transfers import PendingRead

__all__ = ["ImageNumbers", "PartNumbers", "PendingPart"]


@dataclass(frozen=True)
class PartNumbers:
    """What a part of a batch contributes to the sums over particles; all of it on the host.

    Attributes
    ----------
    ids, scale, offset_px
        Of its images, as in `BatchImages`.
    spectrum, edge_power
        real, (n, n_box/2+1), and float64, (n,); as in `ImagePower`.
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
    spectrum: NDArray[np.floating[Any]]
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

    def chosen(self, images: NDArray[np.bool_]) -> PartNumbers:
        """Numbers of some of the images."""
        best = self.best
        poses = (best.classes, best.frames, best.psis, best.translations)
        return PartNumbers(
            self.ids[images],
            self.spectrum[images],
            self.edge_power[images],
            self.scale[images],
            self.offset_px[images],
            BestPoses(*(values[images] for values in poses)),
            self.maximum[images],
            self.sum_weight[images],
            self.sum_omega[images],
            self.sum_offset2[images],
            self.stored.chosen(images),
            self.n_significant[images],
            None if self.ctf2 is None else self.ctf2[images],
        )


@dataclass(frozen=True)
class ImageNumbers:
    """What is left of parts once their spectra have been added up: a few numbers an image.

    Attributes
    ----------
    inner, outer
        float64, (n,); `OpticsSetup.power_sums`.
    residual
        float64, (n,); weighted squared residual.
    scale_power, scale_cross
        As in `StoredSums`.

    The others are those of `PartNumbers` and `BestPoses`.
    """

    ids: NDArray[np.int64]
    offset_px: NDArray[np.float64]
    classes: NDArray[np.int64]
    frames: NDArray[np.int64]
    psis: NDArray[np.int64]
    translations: NDArray[np.int64]
    n_significant: NDArray[np.int64]
    maximum: NDArray[np.float64]
    sum_weight: NDArray[np.float64]
    sum_omega: NDArray[np.float64]
    sum_offset2: NDArray[np.float64]
    edge_power: NDArray[np.float64]
    inner: NDArray[np.float64]
    outer: NDArray[np.float64]
    residual: NDArray[np.float64]
    scale_power: NDArray[np.float64]
    scale_cross: NDArray[np.float64]

    @classmethod
    def of(
        cls,
        part: PartNumbers,
        power_sums: tuple[NDArray[np.float64], NDArray[np.float64]],
        residual: NDArray[np.float64],
    ) -> ImageNumbers:
        """Keep what is needed of a part."""
        best, stored = part.best, part.stored
        return cls(
            *(part.ids, part.offset_px, best.classes, best.frames, best.psis, best.translations),
            *(part.n_significant, part.maximum, part.sum_weight, part.sum_omega),
            *(part.sum_offset2, part.edge_power, *power_sums, residual),
            *(stored.scale_power, stored.scale_cross),
        )

    @classmethod
    def joined(cls, parts: Sequence[ImageNumbers]) -> ImageNumbers:
        """Those of several parts, in their order."""
        if len(parts) == 1:
            return parts[0]
        names = [field.name for field in fields(cls)]
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


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
