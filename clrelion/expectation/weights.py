"""convert: from squared differences to the sparse list of significant samples.

Neither the weight matrix nor the list leaves the device: only counts come back.
Specification E 5.5.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from clrelion.device.prefix_sums import prefix_sums
from clrelion.expectation.device_space import DeviceSpace
from clrelion.expectation.differences import CoarseSamples
from clrelion.expectation.settings import ExpectationSettings

if TYPE_CHECKING:
    from clrelion.device.array import Array
    from clrelion.device.session import DeviceSession
    from clrelion.device.transfers import PendingRead

__all__ = ["SignificanceSearch", "SignificantSamples", "find_significant", "group_size"]

_NEGLIGIBLE = 1e-7
"""Part of the total weight that orientations far below the best may hold together: an orientation
is a candidate if its best log-weight is within ln(samples / this) of the image's best."""


def group_size(session: DeviceSession) -> int:
    """Work-items of the kernels that give a work-group to each image.

    One on CPUs: without barriers PoCL compiles these kernels in a tenth of the time.
    """
    return 1 if session.is_cpu else 256


@dataclass(frozen=True)
class SignificantSamples:
    """Significant coarse samples of a batch, grouped into blocks (image, orientation).

    The list itself stays on the device.

    Attributes
    ----------
    image, orientation
        int32 device arrays, (n_blocks,); image of the batch, and e in the image's list of
        orientations.
    trans
        int32 device array, (n_blocks + 1,); block b has trans_list[trans[b] : trans[b + 1]].
    trans_list
        int32 device array; coarse translations.
    block_start, sample_start
        int64, (n_images + 1,); blocks and samples of each image.
    n_significant
        int64, (n_images,); samples walked to reach the adaptive fraction.
    is_bad
        bool, (n_images,); no finite weight: the particle cannot be used.
    """

    image: Array
    orientation: Array
    trans: Array
    trans_list: Array
    block_start: NDArray[np.int64]
    sample_start: NDArray[np.int64]
    n_significant: NDArray[np.int64]
    is_bad: NDArray[np.bool_]


class SignificanceSearch:
    """Significant samples whose number is on its way to the host.

    Parameters
    ----------
    read
        What `listed` is called with.
    listed
        Makes the list once the numbers are known.
    """

    def __init__(
        self, read: PendingRead, listed: Callable[[list[NDArray[Any]]], SignificantSamples]
    ) -> None:
        self._read = read
        self._listed = listed

    def finish(self) -> SignificantSamples:
        """Wait for the numbers; list the samples.

        Raises
        ------
        DeviceMemoryError
        """
        return self._listed(self._read.result())


@dataclass(frozen=True)
class _Addresses:
    """Device copies of where the samples of each image lie."""

    n_orientations: Array
    prior_base: Array
    sample_base: Array
    log_prior: Array
    log_translation: Array


def find_significant(
    session: DeviceSession,
    settings: ExpectationSettings,
    samples: CoarseSamples,
    space: DeviceSpace,
    log_translation: Array,
) -> SignificanceSearch:
    """Select the coarse samples that hold the adaptive fraction of each image's weight.

    Parameters
    ----------
    samples
        Squared differences (or negative correlations) of the coarse pass.
    space
        Orientations and their log-priors.
    log_translation
        real device array, (n_images, n_trans); log-priors of the translations.
    """
    n_images = len(space.n_orientations)
    addresses = _Addresses(
        space.counts,
        space.prior_base,
        session.to_device(samples.sample_base, np.int64),
        space.log_prior,
        log_translation,
    )
    if settings.do_cross_correlation:
        return _best_only(session, samples, addresses, n_images)
    return _above_threshold(session, settings, samples, space, addresses)


def _best_only(
    session: DeviceSession, samples: CoarseSamples, addresses: _Addresses, n_images: int
) -> SignificanceSearch:
    """Hard assignment of the cross-correlation iteration (specification E 5.5 (b))."""
    wg = group_size(session)
    score = session.empty(n_images, session.real)
    index = session.empty(n_images, np.int32)
    session.kernel("expectation/best_sample", wg=wg)(
        (n_images * wg,),
        (wg,),
        samples.values,
        addresses.log_prior,
        addresses.n_orientations,
        addresses.prior_base,
        addresses.sample_base,
        samples.n_trans,
        samples.orientation_stride,
        samples.translation_stride,
        score,
        index,
    )
    n_trans = samples.n_trans

    def listed(found: list[NDArray[Any]]) -> SignificantSamples:
        best = found[0].astype(np.int64)
        is_bad = best < 0
        image = np.flatnonzero(~is_bad)
        good = best[image]
        start = np.concatenate([[0], np.cumsum(~is_bad)])
        return SignificantSamples(
            image=session.to_device(image, np.int32),
            orientation=session.to_device(good // n_trans, np.int32),
            trans=session.to_device(np.arange(len(image) + 1), np.int32),
            trans_list=session.to_device(good % n_trans, np.int32),
            block_start=start,
            sample_start=start,
            n_significant=(~is_bad).astype(np.int64),
            is_bad=is_bad,
        )

    return SignificanceSearch(session.to_host_later(index), listed)


def _above_threshold(
    session: DeviceSession,
    settings: ExpectationSettings,
    samples: CoarseSamples,
    space: DeviceSpace,
    addresses: _Addresses,
) -> SignificanceSearch:
    wg = group_size(session)
    n_images = len(space.n_orientations)
    launch = ((n_images * wg,), (wg,))
    real = session.real
    lengths = space.n_orientations
    maxima_start = np.concatenate([[0], np.cumsum(lengths)])
    maxima_base = session.to_device(maxima_start[:-1], np.int64)
    maxima = session.empty(int(maxima_start[-1]), real)
    where = (
        samples.values,
        addresses.log_prior,
        addresses.log_translation,
        addresses.n_orientations,
        addresses.prior_base,
        addresses.sample_base,
        maxima_base,
        samples.n_trans,
        samples.orientation_stride,
        samples.translation_stride,
    )
    session.kernel("expectation/orientation_maxima")(
        (int(lengths.max()), n_images), None, *where, maxima
    )
    cutoff = math.log(float(lengths.max()) * samples.n_trans / _NEGLIGIBLE)
    maximum = session.empty(n_images, real)
    n_candidates = session.empty(n_images, np.int32)
    session.kernel("expectation/image_maxima", wg=wg)(
        *launch, maxima, addresses.n_orientations, maxima_base, cutoff, maximum, n_candidates
    )
    start_d = prefix_sums(session, n_candidates, n_images)
    # room for all orientations where asking how many there are would keep the device waiting
    n_all = int(maxima_start[-1])
    if not session.works_ahead:
        n_all = max(1, session.read_int(start_d, n_images))
    candidate = session.empty(n_all, np.int32)
    weights = session.empty((n_all, samples.n_trans), real)
    session.kernel("expectation/compact_candidates", wg=wg)(
        *launch, *where, maxima, maximum, cutoff, start_d, candidate, weights
    )
    # without oversampling the fine pass repeats all samples and applies the fraction itself
    fraction = 1.0 if settings.oversampling == 0 else settings.adaptive_fraction
    limit = 0 if settings.oversampling == 0 else settings.max_significants
    sum_weight, threshold = session.empty(n_images, real), session.empty(n_images, real)
    n_samples, n_blocks = session.empty(n_images, np.int32), session.empty(n_images, np.int32)
    session.kernel("expectation/significance", wg=wg)(
        *launch,
        weights,
        start_d,
        samples.n_trans,
        fraction,
        limit,
        sum_weight,
        threshold,
        n_samples,
        n_blocks,
    )
    return _compacted(
        session, samples.n_trans, weights, candidate, start_d, threshold, n_samples, n_blocks
    )


def _compacted(
    session: DeviceSession,
    n_trans: int,
    weights: Array,
    candidate: Array,
    start_d: Array,
    threshold: Array,
    n_samples_d: Array,
    n_blocks_d: Array,
) -> SignificanceSearch:
    """Write the significant samples as one list, in the order of images and orientations."""
    wg = group_size(session)
    n_images = n_samples_d.shape[0]
    block_start_d = prefix_sums(session, n_blocks_d, n_images)
    sample_start_d = prefix_sums(session, n_samples_d, n_images)

    def listed(found: list[NDArray[Any]]) -> SignificantSamples:
        block_start, sample_start = (a.astype(np.int64) for a in found)
        total = max(1, int(block_start[-1]))
        image, orientation = (session.empty(total, np.int32) for _ in range(2))
        trans = session.empty(total + 1, np.int32)
        trans_list = session.empty(max(1, int(sample_start[-1])), np.int32)
        session.kernel("expectation/compact_significant", wg=wg)(
            (n_images * wg,),
            (wg,),
            weights,
            candidate,
            start_d,
            n_trans,
            threshold,
            block_start_d,
            sample_start_d,
            n_images,
            image,
            orientation,
            trans,
            trans_list,
        )
        n_samples = np.diff(sample_start)
        return SignificantSamples(
            image=image,
            orientation=orientation,
            trans=trans,
            trans_list=trans_list,
            block_start=block_start,
            sample_start=sample_start,
            n_significant=n_samples,
            is_bad=n_samples == 0,
        )

    return SignificanceSearch(session.to_host_later(block_start_d, sample_start_d), listed)
