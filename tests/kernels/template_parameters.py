"""The ways in which each kernel template is built: the choices that change its text."""

from __future__ import annotations

from itertools import product
from typing import Any

_GROUPS = [{"wg": 1}, {"wg": 64}]
_CTF_MODES = ["intact_first_peak", "phase_flipped", "only_flip_phases", "squared"]
_TILED = [{"tiled": False}, {"tiled": True}]
_WIDE = [{"wide": "pair"}, {"wide": "double"}]
_PRIORS: dict[str, list[Any]] = {
    "wide": ["pair", "double"],
    "prior": ["cap", "rot", "tilt", "none"],
}
_EPILOGUES = ["none", "add_norm", "correlation"]


def _choices(**values: list[Any]) -> list[dict[str, Any]]:
    return [dict(zip(values, chosen, strict=True)) for chosen in product(*values.values())]


_LANES = _choices(wide=["pair", "double"], width=[4], lanes=[1, 8])


def _line_transforms() -> list[dict[str, Any]]:
    """A large prime, both layouts, and each kind of end; every radix: test_line_fft."""
    plan = {"length": 16 * 17 * 6, "lines": 1, "items": 128}
    passes = [(16, 1), (17, 16), (6, 272)]
    ends = [(False, False, False), (True, True, False), (False, False, True)]
    return [
        {**plan, "passes": passes, "adjacent": adjacent, "inverse": inverse,
         "real_input": real_input, "real_output": inverse and not adjacent}
        for adjacent, inverse, real_input in ends
    ] + [
        {"length": 2, "lines": 8, "items": 1, "passes": [(2, 1)], "adjacent": False,
         "inverse": True, "real_input": False, "real_output": True}
    ]  # fmt: skip


BUILDS: dict[str, list[dict[str, Any]]] = {
    "device/crop_lines": _choices(real_output=[False, True]),
    "device/line_fft": _line_transforms(),
    "device/pad_lines": _choices(real_input=[False, True], real_output=[False, True]),
    "device/prefix_chunks": _GROUPS,
    "device/sum_chunks": _GROUPS,
    "expectation/background_mean": _GROUPS,
    "expectation/backprojection_weights": _choices(premultiplied=[False, True]),
    "expectation/backproject_orientations": [
        *_choices(tiled=[False, True], fixed_point=[False]),
        *_choices(tiled=[False, True], fixed_point=[True], integer_atomics=["long", "carry"]),
    ],
    "expectation/best_sample": _GROUPS,
    "expectation/brick_layout": _choices(brick=[(2, 4, 4), (4, 1, 2)]),
    "expectation/compact_candidates": _GROUPS,
    "expectation/compact_significant": _GROUPS,
    "expectation/contrast_transfer": [
        dict.fromkeys(_CTF_MODES, False),
        dict.fromkeys(_CTF_MODES, True),
        {**dict.fromkeys(_CTF_MODES, False), "only_flip_phases": True},
    ],
    "expectation/count_directions": _choices(**_PRIORS),
    "expectation/diff2_coarse": _choices(epilogue=_EPILOGUES),
    "expectation/diff2_coarse_vector": _choices(
        epilogue=_EPILOGUES, rows=[4], panel=[32], vector=[8]
    ),
    "expectation/diff2_coarse_tensor": _choices(epilogue=_EPILOGUES),
    "expectation/diff2_fine": _choices(
        wg=[64], rows=[8], trans=[4], cross_correlation=[False, True], makes_shifts=[False, True]
    ),
    "expectation/diff2_fine_vector": _choices(vector=[8, 16], cross_correlation=[False, True]),
    "expectation/image_maxima": _GROUPS,
    "expectation/insertion_maxima": _GROUPS,
    "expectation/local_orientations": _choices(**_PRIORS),
    "expectation/nearest_directions": _choices(**_PRIORS),
    "expectation/power_spectrum": _GROUPS,
    "expectation/prior_mates": _choices(**_PRIORS),
    "expectation/psi_windows": _WIDE,
    "expectation/project_grid": _choices(panel=[32], tiled=[False, True]),
    "expectation/project_grid_vector": _choices(panel=[32], tiled=[False, True]),
    "expectation/project_rows": _TILED,
    "expectation/project_rows_bricks": _choices(brick=[(2, 4, 4)], rows=[1, 16]),
    "expectation/project_rows_vector": _TILED,
    "expectation/shell_sums": _choices(blocks=[False, True]),
    "expectation/shift_differences": _GROUPS,
    "expectation/significance": _GROUPS,
    "expectation/slice_differences": _GROUPS,
    "expectation/soft_mask": _choices(noise_fill=[False, True]),
    "expectation/split_rows": _GROUPS,
    "expectation/weighted_sums": _choices(
        scatters=[False, True], tiled=[False], fixed_point=[False]
    ),
    "expectation/weighted_sums_workers": _TILED,
    "expectation/weights_fine": _choices(wg=[1, 64], hard=[False, True]),
    "expectation/window_image": _choices(shifted=[False, True]),
    "maximization/background_sums": _WIDE,
    "maximization/shell_correlation": _LANES,
    "maximization/shell_coverage": _LANES,
    "maximization/shell_power": _LANES,
    "maximization/shell_weights": _LANES,
    "maximization/weight_floors": _LANES,
    "maximization/weight_floors_vector": _WIDE,
}
"""By template name; a template that is not here takes no parameters of its own."""

SINGLE_PRECISION = [
    "expectation/diff2_coarse_tensor",
    "expectation/split_panels",
    "expectation/split_rows",
]
"""Templates for single precision only."""

TENSOR = ["expectation/diff2_coarse_tensor"]
"""Templates for devices with the tensor path only."""
