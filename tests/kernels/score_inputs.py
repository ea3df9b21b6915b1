"""Random scores of a batch, and the two memory layouts in which kernels read them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from clrelion.device.session import DeviceSession
from tests.kernels.launch import int32, int64, rounded
from tests.reference.orientation_maxima import Scores

Layout = Literal["translation_fastest", "orientation_fastest"]
LAYOUTS: tuple[Layout, ...] = ("translation_fastest", "orientation_fastest")

_TRAP = -1e30
"""Score of places that belong to no sample: it would beat every other one."""


@dataclass(frozen=True)
class ScoreVectors:
    """What kernels read: flat samples with strides, and where each image starts."""

    diff2: npt.NDArray[np.float64]
    log_orientation: npt.NDArray[np.float64]
    log_translation: npt.NDArray[np.float64]
    n_orientations: npt.NDArray[np.int32]
    prior_base: npt.NDArray[np.int32]
    sample_base: npt.NDArray[np.int64]
    maxima_base: npt.NDArray[np.int64]
    n_maxima: int
    n_trans: int
    orientation_stride: int
    translation_stride: int

    @property
    def n_images(self) -> int:
        return len(self.n_orientations)

    def of_image(self, flat: npt.NDArray[np.float64], image: int) -> npt.NDArray[np.float64]:
        """Maxima of one image."""
        start = self.maxima_base[image]
        return flat[start : start + self.n_orientations[image]]


def score_vectors(scores: Scores, layout: Layout) -> ScoreVectors:
    """Lay scores out as a kernel's host would: gaps between images, priors back to front."""
    counts = [len(d) for d in scores.diff2]
    n_images, n_trans = scores.log_translation.shape
    widest = max(counts) + 5
    if layout == "translation_fastest":
        sample_base = np.cumsum([7, *(n * n_trans + 3 for n in counts)])[:-1]
        strides = n_trans, 1
    else:
        sample_base = 7 + np.arange(n_images) * widest * n_trans
        strides = 1, widest
    diff2 = np.full(int(sample_base[-1]) + widest * n_trans + 3, _TRAP)
    for base, values in zip(sample_base, scores.diff2, strict=True):
        e, t = np.indices(values.shape)
        diff2[base + e * strides[0] + t * strides[1]] = values
    prior_base = np.cumsum([0, *counts[::-1]])[:-1][::-1]
    log_orientation = np.concatenate([np.asarray(p) for p in scores.log_orientation[::-1]])
    maxima_base = np.cumsum([2, *(n + 1 for n in counts)])[:-1]
    return ScoreVectors(
        diff2, log_orientation, scores.log_translation, int32(counts), int32(prior_base),
        int64(sample_base), int64(maxima_base), int(maxima_base[-1]) + counts[-1] + 2,
        n_trans, *strides,
    )  # fmt: skip


def random_scores(
    rng: np.random.Generator,
    session: DeviceSession,
    counts: Sequence[int],
    n_trans: int,
    spread: float = 20.0,
) -> Scores:
    """Scores of some hundreds; a fifth of the orientations has no prior."""
    diff2 = [rounded(session, 300 + spread * rng.standard_normal((n, n_trans))) for n in counts]
    priors = []
    for n in counts:
        prior = rounded(session, rng.normal(0, 1, n))
        prior[1:][rng.random(max(n - 1, 0)) < 0.2] = -np.inf
        priors.append(prior)
    return Scores(diff2, priors, rounded(session, rng.normal(0, 1, (len(counts), n_trans))))
