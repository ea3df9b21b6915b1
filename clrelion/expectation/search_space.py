"""Which orientations each image of a batch is compared with, and with what prior.

In: settings.  Out: log-priors of orientations and translations, and how the samples (image,
orientation, translation) lie in memory; lists of local searches are those of `local_lists`.
Specification E 4.6, 4.7, 5.5.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clrelion.expectation.settings import ExpectationSettings

__all__ = [
    "SearchSpace",
    "dense_images",
    "dense_search_space",
    "kept_search_space",
    "log_translation_priors",
]

_SMALLEST_OFFSET_VARIANCE = 1e-4


@dataclass(frozen=True)
class SearchSpace:
    """Coarse orientations of each image.

    A dense space has one list for all images: orientation e is (class, direction, psi) in this
    order of nesting.  A sparse one has a list for each image.

    Attributes
    ----------
    is_dense
        See above.
    n_orientations, prior_base
        int64, (n_images,); length of each image's list, and where its log-priors start.
    log_prior
        float64; ln(prior / mean prior), -inf: not considered.
    orientation_class, orientation_dir, orientation_psi
        int64; of list entries, addressed like ``log_prior`` in a sparse space and by e alone in a
        dense one.
    """

    is_dense: bool
    n_orientations: NDArray[np.int64]
    prior_base: NDArray[np.int64]
    log_prior: NDArray[np.float64]
    orientation_class: NDArray[np.int64]
    orientation_dir: NDArray[np.int64]
    orientation_psi: NDArray[np.int64]


def dense_search_space(settings: ExpectationSettings, ids: NDArray[np.int64]) -> SearchSpace:
    """All classes, directions and psi angles for every image, with the direction priors."""
    n_classes = settings.n_classes
    grid = settings.orientation_grid
    n_dir, n_psi = grid.n_dir, grid.n_psi
    n_all = n_classes * n_dir * n_psi
    alive = settings.pdf_class > 0
    if settings.considered_class is None:
        tables = [_direction_log_prior(settings, alive)]
    else:
        tables = [
            _direction_log_prior(settings, np.arange(n_classes) == k) for k in range(n_classes)
        ]
    e = np.arange(n_all)
    n_orientations, prior_base = dense_images(settings, ids)
    return SearchSpace(
        is_dense=True,
        n_orientations=n_orientations,
        prior_base=prior_base,
        log_prior=np.concatenate([np.repeat(t.ravel(), n_psi) for t in tables]),
        orientation_class=e // (n_dir * n_psi),
        orientation_dir=(e // n_psi) % n_dir,
        orientation_psi=e % n_psi,
    )


def dense_images(
    settings: ExpectationSettings, ids: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Length of each image's list in a dense space and where its log-priors start, int64 (n,)."""
    grid = settings.orientation_grid
    n_all = settings.n_classes * grid.n_dir * grid.n_psi
    table = np.zeros(len(ids), dtype=np.int64)
    if settings.considered_class is not None:
        table = settings.considered_class[ids]
    return np.full(len(ids), n_all), table * n_all


def _direction_log_prior(
    settings: ExpectationSettings, considered: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """ln(pdf_direction / mean) where the class is considered, -inf elsewhere, (K, n_dir)."""
    pdf = np.where(considered[:, None], settings.pdf_direction, 0.0)
    mean = pdf[considered].mean()
    with np.errstate(divide="ignore"):
        return np.asarray(np.log(pdf / (mean if mean > 0 else 1.0)))


def kept_search_space(settings: ExpectationSettings, ids: NDArray[np.int64]) -> SearchSpace:
    """Each particle's own orientation, for every considered class."""
    alive = np.flatnonzero(settings.pdf_class > 0)
    class_log = np.log(settings.pdf_class[alive] / settings.pdf_class[alive].mean())
    classes = np.tile(alive, len(ids))
    if settings.considered_class is not None:
        classes, class_log = settings.considered_class[ids], np.zeros(1)
    n_each = len(class_log)
    return SearchSpace(
        is_dense=False,
        n_orientations=np.full(len(ids), n_each),
        prior_base=np.arange(len(ids)) * n_each,
        # no orientation prior is left: the class probability alone
        log_prior=np.tile(class_log, len(ids)),
        orientation_class=classes,
        orientation_dir=np.repeat(ids, n_each),
        orientation_psi=np.zeros(len(ids) * n_each, dtype=np.int64),
    )


def log_translation_priors(
    settings: ExpectationSettings,
    pixel_size_angst: float,
    offset_px: NDArray[np.float64],
    prior_offset_px: NDArray[np.float64],
) -> NDArray[np.float64]:
    """ln(prior / mean prior) of the coarse translations, float64, (n_images, n_trans).

    Parameters
    ----------
    pixel_size_angst
        delta_g, Å/px.
    offset_px, prior_offset_px
        float64, (n, 2); applied whole-pixel offset and centre of the prior, px.

    Notes
    -----
    Specification E 5.5 (a).  RELION adds the trial shift in Å to offsets in pixels (Q1); the
    consistent form is used with ``consistent_offset_prior``.
    """
    trial = settings.coarse_translations_angst()
    variance = settings.sigma2_offset_angst2
    if variance < _SMALLEST_OFFSET_VARIANCE:
        return np.zeros((len(offset_px), len(trial)))
    if not settings.consistent_offset_prior:
        trial = pixel_size_angst * trial
    # of |centre + trial|^2 the square of the centre cancels; the images run fastest here
    slope = np.ascontiguousarray((offset_px - prior_offset_px).T)
    slope *= -pixel_size_angst / variance
    log_prior = trial[:, :1] * slope[0]
    work = trial[:, 1:] * slope[1]
    log_prior += work
    log_prior -= (trial**2).sum(axis=1, keepdims=True) / (2.0 * variance)
    log_prior -= log_prior.max(axis=0)
    np.exp(log_prior, out=work)
    log_prior -= np.log(work.mean(axis=0))
    return np.ascontiguousarray(log_prior.T)
