"""What a part of a batch says of its images, on its way from the device to the sums."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from clrelion.expectation.fine import FineResults, FineSamples, PendingResults
from clrelion.expectation.images import BatchImages, ImagePower
from clrelion.expectation.stored_sums import PendingSums

if TYPE_CHECKING:
    from clrelion.device.transfers import PendingRead

__all__ = ["ImageNumbers", "ImagePoses", "PendingPart"]

_Kind = TypeVar("_Kind", bound="_PerImage")


@dataclass(frozen=True)
class _PerImage:
    """Arrays with a row for each image."""

    @classmethod
    def joined(cls: type[_Kind], parts: Sequence[_Kind]) -> _Kind:
        """Those of several parts, in their order."""
        if len(parts) == 1:
            return parts[0]
        names = [field.name for field in fields(cls)]
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


@dataclass(frozen=True)
class ImagePoses(_PerImage):
    """Best samples of images.

    Attributes
    ----------
    ids, offset_px
        As in `BatchImages`.

    The others are those of `BestPoses`.
    """

    ids: NDArray[np.int64]
    offset_px: NDArray[np.float64]
    classes: NDArray[np.int64]
    frames: NDArray[np.int64]
    psis: NDArray[np.int64]
    translations: NDArray[np.int64]


@dataclass(frozen=True)
class ImageNumbers(_PerImage):
    """What is left of parts once their spectra have been added up: a few numbers an image.

    Attributes
    ----------
    ids
        As in `BatchImages`.
    n_significant
        int64, (n,); significant samples of the coarse pass.
    maximum, sum_weight, sum_omega, sum_offset2
        As in `FineResults`.
    inner, edge_power, outer
        float64, (n,); of `ImagePower` and `OpticsSetup.power_sums`.
    residual
        float64, (n,); weighted squared residual.
    scale_power, scale_cross
        As in `StoredSums`.
    """

    ids: NDArray[np.int64]
    n_significant: NDArray[np.int64]
    maximum: NDArray[np.float64]
    sum_weight: NDArray[np.float64]
    sum_omega: NDArray[np.float64]
    sum_offset2: NDArray[np.float64]
    inner: NDArray[np.float64]
    edge_power: NDArray[np.float64]
    outer: NDArray[np.float64]
    residual: NDArray[np.float64]
    scale_power: NDArray[np.float64]
    scale_cross: NDArray[np.float64]


@dataclass(frozen=True)
class PendingPart:
    """A part of a batch whose numbers are on their way to the host.

    The device makes ``power`` first, then ``results``, and ``stored`` last.

    Attributes
    ----------
    ids, scale, offset_px
        Of its images, as in `BatchImages`.
    power
        Of its images by shell.
    results, stored
        What its posterior weights say, without these, and its sums.
    n_significant
        int64, (n,), or None: the samples that the fine pass found.
    ctf2
        real, (n or more, n_list); squared CTF of premultiplied images, else None.
    """

    ids: NDArray[np.int64]
    scale: NDArray[np.float64]
    offset_px: NDArray[np.float64]
    power: ImagePower
    results: PendingResults
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
            samples.results, stored, n_significant, ctf2,
        )  # fmt: skip

    def poses(self, found: FineResults, rows: slice | NDArray[np.bool_]) -> ImagePoses:
        """Best samples of some of the images."""
        best = found.best
        return ImagePoses(
            self.ids[rows],
            self.offset_px[rows],
            best.classes[rows],
            best.frames[rows],
            best.psis[rows],
            best.translations[rows],
        )

    def significant(self, found: FineResults) -> NDArray[np.int64]:
        """Numbers of significant samples, int64, (n,)."""
        return found.n_found if self.n_significant is None else self.n_significant

    def listed_ctf2(self) -> NDArray[Any] | None:
        """Wait for the squared CTF, real, (n, n_list), or None."""
        if self.ctf2 is None:
            return None
        # the ones that stand for the CTF without --ctf may have more rows
        values: NDArray[Any] = self.ctf2.result()[0][: len(self.ids)]
        return values
