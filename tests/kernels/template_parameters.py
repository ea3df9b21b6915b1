"""The ways in which each kernel template is built: the choices that change its text."""

from __future__ import annotations

from itertools import product
from typing import Any

_GROUPS = [{"wg": 1}, {"wg": 64}]
_CTF_MODES = ["intact_first_peak", "phase_flipped", "only_flip_phases", "squared"]
_EPILOGUES = ["none", "add_norm", "correlation"]


def _choices(**values: list[Any]) -> list[dict[str, Any]]:
    return [dict(zip(values, chosen, strict=True)) for chosen in product(*values.values())]


BUILDS: dict[str, list[dict[str, Any]]] = {
    "expectation/background_mean": _GROUPS,
    "expectation/backprojection_weights": _choices(premultiplied=[False, True]),
    "expectation/best_sample": _GROUPS,
    "expectation/compact_candidates": _GROUPS,
    "expectation/compact_significant": _GROUPS,
    "expectation/contrast_transfer": [
        dict.fromkeys(_CTF_MODES, False),
        dict.fromkeys(_CTF_MODES, True),
        {**dict.fromkeys(_CTF_MODES, False), "only_flip_phases": True},
    ],
    "expectation/diff2_coarse": _choices(epilogue=_EPILOGUES),
    "expectation/diff2_coarse_vector": _choices(
        epilogue=_EPILOGUES, rows=[4], panel=[32], vector=[8]
    ),
    "expectation/diff2_fine": _choices(wg=[64], cross_correlation=[False, True]),
    "expectation/diff2_fine_vector": _choices(vector=[8, 16], cross_correlation=[False, True]),
    "expectation/image_maxima": _GROUPS,
    "expectation/project_grid": [{"panel": 32}],
    "expectation/project_grid_vector": [{"panel": 32}],
    "expectation/significance": _GROUPS,
    "expectation/soft_mask": _choices(noise_fill=[False, True]),
    "expectation/weighted_sums": [{"atomic_scatter": True}],
    "expectation/weights_fine": _choices(wg=[1, 64], hard=[False, True]),
}
"""By template name; a template that is not here takes no parameters of its own."""
