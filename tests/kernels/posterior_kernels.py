"""Run the kernels between scores and weighted sums, on host arrays in the shapes of the twins."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from clrelion.device.session import DeviceSession
from tests.kernels.launch import Output, int32, run_kernel
from tests.kernels.score_inputs import ScoreVectors
from tests.reference.significance import Significance


def maxima_of_orientations(
    session: DeviceSession, vectors: ScoreVectors, group: tuple[int, int] = (1, 1)
) -> npt.NDArray[Any]:
    """What orientation_maxima writes, flat; checks that it leaves the gaps alone."""
    out = Output(session, vectors.n_maxima)
    v = vectors
    run_kernel(
        session, "orientation_maxima", (int(v.n_orientations.max()), v.n_images), group,
        v.diff2, v.log_orientation, v.log_translation, v.n_orientations, v.prior_base,
        v.sample_base, v.maxima_base, v.n_trans, v.orientation_stride, v.translation_stride, out,
    )  # fmt: skip
    owned = np.concatenate(
        [b + np.arange(n) for b, n in zip(v.maxima_base, v.n_orientations, strict=True)]
    )
    expected = np.ones(v.n_maxima, dtype=bool)
    expected[owned] = False
    np.testing.assert_array_equal(out.read_untouched(), expected)
    return out.read()


def maxima_of_images(
    session: DeviceSession,
    maxima: npt.NDArray[Any],
    vectors: ScoreVectors,
    cutoff: float,
    wg: int,
) -> tuple[npt.NDArray[Any], npt.NDArray[np.int32]]:
    """What image_maxima writes."""
    maximum = Output(session, vectors.n_images)
    n_candidates = Output(session, vectors.n_images, np.int32)
    run_kernel(
        session, "image_maxima", (vectors.n_images * wg,), (wg,),
        maxima, vectors.n_orientations, vectors.maxima_base, cutoff, maximum, n_candidates, wg=wg,
    )  # fmt: skip
    return maximum.read(), n_candidates.read()


def candidates_of_images(
    session: DeviceSession,
    vectors: ScoreVectors,
    maxima: npt.NDArray[Any],
    maximum: npt.NDArray[Any],
    n_candidates: npt.NDArray[np.int32],
    cutoff: float,
    wg: int,
) -> list[tuple[npt.NDArray[np.int32], npt.NDArray[Any]]]:
    """What compact_candidates writes: indices and weights (candidate, translation) of each."""
    start = np.cumsum([0, *n_candidates])
    candidate = Output(session, int(start[-1]), np.int32)
    weights = Output(session, (int(start[-1]), vectors.n_trans))
    v = vectors
    run_kernel(
        session, "compact_candidates", (v.n_images * wg,), (wg,),
        v.diff2, v.log_orientation, v.log_translation, v.n_orientations, v.prior_base,
        v.sample_base, v.maxima_base, v.n_trans, v.orientation_stride, v.translation_stride,
        maxima, maximum, cutoff, int32(start[:-1]), candidate, weights, wg=wg,
    )  # fmt: skip
    cuts = start[1:-1]
    return list(zip(np.split(candidate.read(), cuts), np.split(weights.read(), cuts), strict=True))


def significance_of_images(
    session: DeviceSession,
    weights: Sequence[npt.NDArray[Any]],
    adaptive_fraction: float,
    max_significants: int,
    wg: int,
) -> Significance:
    """What the kernel significance writes for weights (candidate, translation) of each image."""
    n_images = len(weights)
    sums, thresholds = Output(session, n_images), Output(session, n_images)
    samples = Output(session, n_images, np.int32)
    orientations = Output(session, n_images, np.int32)
    start = int32(np.cumsum([0, *(len(w) for w in weights)]))
    run_kernel(
        session, "significance", (n_images * wg,), (wg,),
        np.concatenate(weights), start, weights[0].shape[1], adaptive_fraction, max_significants,
        sums, thresholds, samples, orientations, wg=wg,
    )  # fmt: skip
    return Significance(sums.read(), thresholds.read(), samples.read(), orientations.read())


def significant_blocks(
    session: DeviceSession,
    weights: Sequence[npt.NDArray[Any]],
    candidates: Sequence[npt.NDArray[Any]],
    found: Significance,
    wg: int,
) -> list[tuple[int, int, list[int]]]:
    """What compact_significant writes, as (image, orientation, translations) of each block."""
    blocks = np.cumsum([0, *found.n_orientations])
    samples = np.cumsum([0, *found.n_samples])
    image, orientation = (Output(session, int(blocks[-1]), np.int32) for _ in range(2))
    trans = Output(session, int(blocks[-1]) + 1, np.int32)
    trans_list = Output(session, int(samples[-1]), np.int32)
    start = int32(np.cumsum([0, *(len(w) for w in weights)]))
    run_kernel(
        session, "compact_significant", (len(weights) * wg,), (wg,),
        np.concatenate(weights), int32(np.concatenate(candidates)), start, weights[0].shape[1],
        np.asarray(found.threshold), int32(blocks), int32(samples), len(weights),
        image, orientation, trans, trans_list, wg=wg,
    )  # fmt: skip
    assert trans.read()[-1] == samples[-1]
    lists = np.split(trans_list.read(), trans.read()[1:-1]) if blocks[-1] else []
    return [
        (int(i), int(e), [int(t) for t in translations])
        for i, e, translations in zip(image.read(), orientation.read(), lists, strict=True)
    ]
