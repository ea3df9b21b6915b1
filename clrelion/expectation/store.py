"""store: the weighted sums over orientations and translations.

In: posterior weights of a part of a batch.  Out: back-projection volumes on the device, power and
cross sums by image and shell on the host.  Specification E 5.6, 1.11; M 1.1, 1.2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from clrelion.expectation.fine import FineRows, FineSamples
from clrelion.expectation.images import BatchImages
from clrelion.expectation.pixels import PixelList
from clrelion.expectation.sampling_tables import OrientationTables
from clrelion.expectation.scoring import TranslationRamps
from clrelion.expectation.settings import ExpectationSettings, ImageGeometry
from clrelion.fourier.shells import round_half_away
from clrelion.maximization.sums import BackprojectionSums, centred_shape

if TYPE_CHECKING:
    from pyopencl.array import Array

    from clrelion.device.session import DeviceSession

__all__ = ["BackprojectionVolumes", "GroupWeights", "StoredSums", "store_samples"]

_MAX_WORKER_BYTES = 512 * 10**6
"""Volumes of the workers of a CPU together; beyond this the workers become fewer."""


class BackprojectionVolumes:
    """Back-projection sums of all classes on the device, as (re, im, weight, 0).

    On CPUs each worker has volumes of its own, so that no atomics are needed and the sums have a
    fixed order; on other devices there is one set and atomic additions.
    """

    def __init__(self, session: DeviceSession, settings: ExpectationSettings) -> None:
        self._session = session
        self._settings = settings
        self.shape = centred_shape(settings.padding_factor, settings.r_max)
        self.n_workers = number_of_workers(session, settings)
        n_volumes = max(1, self.n_workers) * settings.n_classes
        self.values = session.zeros((n_volumes, *self.shape, 4), session.real)

    @property
    def edge(self) -> int:
        """M."""
        return self.shape[0]

    def to_host(self) -> list[BackprojectionSums]:
        """Sums of each class on the host; the workers' volumes are added up."""
        settings = self._settings
        host = self._session.to_host(self.values)
        host = host.reshape(max(1, self.n_workers), settings.n_classes, *self.shape, 4)
        total = host[0]
        for worker in range(1, len(host)):
            total += host[worker]
        return [
            BackprojectionSums(
                np.ascontiguousarray(volume[..., :2]).view(self._session.complex)[..., 0],
                np.ascontiguousarray(volume[..., 2]),
                settings.padding_factor,
                settings.r_max,
                settings.ori_size,
            )
            for volume in total
        ]


def number_of_workers(session: DeviceSession, settings: ExpectationSettings) -> int:
    """Volumes to keep on a CPU, one a compute unit if they fit; 0: shared volume with atomics."""
    if not session.is_cpu:
        return 0
    shape = centred_shape(settings.padding_factor, settings.r_max)
    bytes_each = 4 * np.dtype(session.real).itemsize * int(np.prod(shape)) * settings.n_classes
    return max(1, min(session.n_compute_units, _MAX_WORKER_BYTES // bytes_each))


@dataclass(frozen=True)
class GroupWeights:
    """Weights of the pixels of one optics group for the sums.

    Attributes
    ----------
    inverse_sigma2
        real device array (n_list,); 1/(sigma2_fudge sigma2), origin included.
    scale_mask
        uchar device array (n_classes, n_shells); shells that count for the intensity scale.
    """

    inverse_sigma2: Array
    scale_mask: Array
    premultiplied: bool

    @classmethod
    def create(
        cls,
        session: DeviceSession,
        settings: ExpectationSettings,
        geometry: ImageGeometry,
        pixels: PixelList,
        inverse_sigma2: NDArray[np.float64],
        scale_shell_dvp: float,
    ) -> GroupWeights:
        """Make the weights; shells with data_vs_prior above ``scale_shell_dvp`` count for scale."""
        model_shell = round_half_away(np.arange(pixels.n_shells) / geometry.remap)
        inside = model_shell < settings.data_vs_prior.shape[1]
        mask = np.zeros((settings.n_classes, pixels.n_shells), dtype=np.uint8)
        mask[:, inside] = settings.data_vs_prior[:, model_shell[inside]] > scale_shell_dvp
        return cls(
            session.to_device(inverse_sigma2, session.real),
            session.to_device(mask),
            bool(geometry.optics.ctf_premultiplied),
        )


@dataclass(frozen=True)
class StoredSums:
    """Sums of a part of a batch by image.

    Attributes
    ----------
    power, cross
        float64, (n, n_shells); sum of omega |Y|^2 and of omega Re(Y* X) by image shell.
    scale_power, scale_cross
        float64, (n,); the same over the shells that count for the intensity scale.
    row_sum
        float64, (n_rows,); posterior weight of each row.
    """

    power: NDArray[np.float64]
    cross: NDArray[np.float64]
    scale_power: NDArray[np.float64]
    scale_cross: NDArray[np.float64]
    row_sum: NDArray[np.float64]


@dataclass(frozen=True)
class _KeptRows:
    """Rows with weight, and their significant translations as one list on the device."""

    row: NDArray[np.int64]
    row_sum: NDArray[np.float64]
    entry_start: Array
    entry_trans: Array
    entry_omega: Array


def _keep_rows(
    session: DeviceSession, samples: FineSamples, rows: FineRows, n_children: int
) -> tuple[_KeptRows, NDArray[np.float64]]:
    n_rows = len(rows.classes)
    sums, counts = session.empty(n_rows, session.real), session.empty(n_rows, np.int32)
    out_d = session.to_device(samples.blocks.out, np.int64)
    n_trans_d = session.to_device(samples.blocks.n_trans, np.int32)
    session.kernel("expectation/row_weights")(
        (n_rows,),
        None,
        samples.omega,
        out_d,
        n_trans_d,
        n_children,
        rows.per_block,
        n_rows,
        sums,
        counts,
    )
    count = session.to_host(counts)
    row_sum = np.asarray(session.to_host(sums), dtype=np.float64)
    kept = np.flatnonzero(count)
    start = np.concatenate([[0], np.cumsum(count[kept], dtype=np.int64)])
    start_d = session.to_device(start, np.int32)
    n_entries = max(1, int(start[-1]))
    trans, omega = session.empty(n_entries, np.int32), session.empty(n_entries, session.real)
    if len(kept):
        session.kernel("expectation/compact_rows")(
            (len(kept),),
            None,
            samples.omega,
            out_d,
            session.to_device(samples.blocks.trans, np.int32),
            n_trans_d,
            samples.blocks.trans_list,
            n_children,
            rows.per_block,
            session.to_device(kept, np.int32),
            start_d,
            len(kept),
            trans,
            omega,
        )
    return _KeptRows(kept, row_sum[kept], start_d, trans, omega), row_sum


def store_samples(
    session: DeviceSession,
    settings: ExpectationSettings,
    batch: BatchImages,
    samples: FineSamples,
    rows: FineRows,
    tables: OrientationTables,
    pixels: PixelList,
    weights: GroupWeights,
    ramps: TranslationRamps,
    volumes: BackprojectionVolumes,
) -> StoredSums:
    """Add a part of a batch to the volumes; return its sums by image and shell.

    Parameters
    ----------
    rows
        Rows of the samples, with slices on the batch's own pixel list.
    pixels
        The batch's pixel list (size s_g).
    ramps
        Phase ramps of the fine translations at size s_g.
    """
    real, n = session.real, batch.n
    kept, row_sum = _keep_rows(session, samples, rows, settings.n_child_translations)
    image_of_row = np.repeat(samples.blocks.image, rows.per_block)[kept.row]
    row_start = np.searchsorted(image_of_row, np.arange(n + 1))
    compared, data, weight = _pixel_factors(session, batch, weights)
    pixel_sums = session.empty((n, pixels.n, 4), real)
    arguments = (
        batch.image_ft,
        batch.unmasked_ft,
        compared,
        data,
        weight,
        rows.projections,
        session.to_device(row_start, np.int32),
        session.to_device(rows.classes[kept.row], np.int32),
        session.to_device(rows.frame[kept.row], np.int32),
        session.to_device(rows.psi[kept.row], np.int32),
        session.to_device(rows.projection[kept.row], np.int32),
        session.to_device(kept.row_sum, real),
        kept.entry_start,
        kept.entry_trans,
        kept.entry_omega,
        session.to_device(pixels.kxy()),
        session.to_device(pixels.shell),
        session.to_device(pixels.backprojected_xy, real),
        weights.scale_mask,
        pixels.n_shells,
        ramps.x,
        ramps.y,
        ramps.half + 1,
        ramps.half,
        tables.fine_frames,
        tables.fine_psis,
        pixels.n,
        pixels.n_padded,
        volumes.edge,
        volumes.shape[2],
        volumes.edge // 2,
        settings.n_classes,
    )
    if volumes.n_workers:
        first = _shares(row_start, volumes.n_workers)
        session.kernel("expectation/weighted_sums_workers", atomic_scatter=False)(
            (volumes.n_workers,),
            (1,),
            *arguments,
            session.to_device(first, np.int32),
            volumes.values,
            pixel_sums,
        )
    else:
        session.kernel("expectation/weighted_sums", atomic_scatter=True)(
            (pixels.n, n), None, *arguments, n, volumes.values, pixel_sums
        )
    shell = _shell_sums(session, pixels, pixel_sums, n)
    return StoredSums(
        power=shell[..., 0],
        cross=shell[..., 1],
        scale_power=shell[..., 2].sum(axis=1),
        scale_cross=shell[..., 3].sum(axis=1),
        row_sum=row_sum,
    )


def _pixel_factors(
    session: DeviceSession, batch: BatchImages, weights: GroupWeights
) -> tuple[Array, Array, Array]:
    """Factors in Y = q C P, in the back-projected data and in its weight (M 1.1)."""
    n, n_list = batch.n, batch.image_ft.shape[1]
    data, weight, compared = (session.empty((n, n_list), session.real) for _ in range(3))
    session.kernel("expectation/backprojection_weights", premultiplied=weights.premultiplied)(
        (n_list, n),
        None,
        batch.ctf,
        batch.scoring_ctf,
        batch.scale_d,
        weights.inverse_sigma2,
        n,
        n_list,
        data,
        weight,
        compared,
    )
    return compared, data, weight


def _shares(row_start: NDArray[np.int64], n_workers: int) -> NDArray[np.int64]:
    """First image of each worker, so that all have about as many rows."""
    goal = row_start[-1] * np.arange(1, n_workers) / n_workers
    inner = np.searchsorted(row_start, goal, side="left")
    return np.concatenate([[0], inner, [len(row_start) - 1]])


def _shell_sums(
    session: DeviceSession, pixels: PixelList, pixel_sums: Array, n: int
) -> NDArray[np.float64]:
    order = np.argsort(pixels.shell, kind="stable")
    counts = np.bincount(pixels.shell, minlength=pixels.n_shells)
    start = np.concatenate([[0], np.cumsum(counts)])
    out = session.empty((n, pixels.n_shells, 4), session.real)
    session.kernel("expectation/shell_sums")(
        (pixels.n_shells, n),
        None,
        pixel_sums,
        session.to_device(start, np.int32),
        session.to_device(order, np.int32),
        pixels.n,
        pixels.n_shells,
        n,
        out,
    )
    return np.asarray(session.to_host(out), dtype=np.float64)
