"""What a continued run needs and RELION's optimiser file has no label for: block data_clrelion."""

from __future__ import annotations

from collections.abc import Mapping

from clrelion.options import RefineOptions
from clrelion.refinement.state import RunState

__all__ = [
    "HAS_FINE_ENOUGH",
    "IMAGE_FOLDER",
    "PERTURBATION",
    "PIXEL_SIZE",
    "own_labels",
    "stored_own_options",
]

IMAGE_FOLDER = "clrelionImageFolder"
"""Folder of the particle STAR file the run began with: images may be named relative to it."""

PIXEL_SIZE = "clrelionPixelSize"
"""Of the model, Å, all digits: the ninth decides about pixels at the cut-off (specification F.1)"""

PERTURBATION = "clrelionPerturbation"
"""Of the sampling, all digits; the sampling file has five or six."""

HAS_FINE_ENOUGH = "clrelionHasFineEnough"
"""The sampling is as fine as the accuracy asks for: what convergence waits for."""

# Label of each option; unlike start options, these matter in every iteration.
_LABELS = {
    "clrelionMinresMap": "minres_map",
    "clrelionSigma2Fudge": "sigma2_fudge",
    "clrelionMinSigma2Offset": "min_sigma2_offset_angst2",
    "clrelionConsistentOffsetPrior": "consistent_offset_prior",
    "clrelionRelionQuirks": "relion_quirks",
    "clrelionAlwaysCC": "always_cc",
}


def own_labels(options: RefineOptions, state: RunState) -> dict[str, str]:
    """Labels and values to write into the optimiser file."""
    values: dict[str, str] = {}
    for label, name in _LABELS.items():
        value = getattr(options, name)
        values[label] = str(int(value)) if isinstance(value, bool) else str(value)
    values[IMAGE_FOLDER] = state.image_folder
    values[PIXEL_SIZE] = repr(float(state.pixel_size_angst))
    values[PERTURBATION] = repr(float(state.perturbation))
    values[HAS_FINE_ENOUGH] = str(int(state.schedule.has_fine_enough))
    return values


def stored_own_options(labels: Mapping[str, str]) -> dict[str, object]:
    """Options by field name from the labels of an optimiser file; RELION's has none of them."""
    return {name: labels[label] for label, name in _LABELS.items() if label in labels}
