"""``_sampling.star``: the orientational and translational sampling of an iteration."""

import os
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clrelion.errors import ContinueError
from clrelion.io.star import read_star
from clrelion.io.star_writer import Block, Column, KeptTable, StarTable, write_star

_GENERAL = "sampling_general"
_DIRECTIONS = "sampling_directions"

_last_directions: "KeptTable | None" = None
"""Hundreds of thousands of directions, the same in iteration after iteration."""


@dataclass(kw_only=True)
class SamplingFile:
    """Contents of a sampling file.

    Attributes
    ----------
    healpix_order, healpix_order_original
        HEALPix order of the coarse directions, now and at the start.
    symmetry
        Point group.
    limit_tilt_deg
        Tilt limit, degrees (-91: none).
    psi_step_deg, psi_step_original_deg
        Coarse in-plane step, degrees.
    offset_range_angst, offset_step_angst, offset_range_original_angst, offset_step_original_angst
        Coarse shift search, Å.
    perturbation
        Current perturbation, in fractions of a step.
    perturbation_factor
        ``--perturb``.
    rot_deg, tilt_deg
        float64, (n_dir,): directions of the grid, degrees; None if the file has none.
    """

    healpix_order: int
    symmetry: str
    limit_tilt_deg: float
    psi_step_deg: float
    offset_range_angst: float
    offset_step_angst: float
    perturbation: float
    perturbation_factor: float
    healpix_order_original: int
    psi_step_original_deg: float
    offset_range_original_angst: float
    offset_step_original_angst: float
    rot_deg: NDArray[np.float64] | None = None
    tilt_deg: NDArray[np.float64] | None = None


def read_sampling(path: str | os.PathLike[str], with_directions: bool = True) -> SamplingFile:
    """Read a sampling file of clrelion or RELION.

    Parameters
    ----------
    path
        ``X_sampling.star``.
    with_directions
        False leaves out the list of directions.

    Raises
    ------
    StarError
        The file cannot be read or lacks a label.
    ContinueError
        It is no sampling file.

    Notes
    -----
    Specification E 6.4.  The originals fall back to the current values.
    """
    blocks = read_star(path, None if with_directions else _DIRECTIONS)
    if _GENERAL not in blocks:
        raise ContinueError(f"{path}: has no data_{_GENERAL}; it is no _sampling.star")
    general = blocks[_GENERAL]

    def real(label: str, default: float | None = None) -> float:
        return float(general.floats(label, default)[0])

    order = int(general.ints("rlnHealpixOrder")[0])
    psi_step = real("rlnPsiStep")
    offset_range, offset_step = real("rlnOffsetRange"), real("rlnOffsetStep")
    directions = blocks.get(_DIRECTIONS)
    return SamplingFile(
        healpix_order=order,
        symmetry=general.strings("rlnSymmetryGroup")[0],
        limit_tilt_deg=real("rlnTiltAngleLimit", -91.0),
        psi_step_deg=psi_step,
        offset_range_angst=offset_range,
        offset_step_angst=offset_step,
        perturbation=real("rlnSamplingPerturbInstance", 0.0),
        perturbation_factor=real("rlnSamplingPerturbFactor", 0.0),
        healpix_order_original=int(general.ints("rlnHealpixOrderOriginal", order)[0]),
        psi_step_original_deg=real("rlnPsiStepOriginal", psi_step),
        offset_range_original_angst=real("rlnOffsetRangeOriginal", offset_range),
        offset_step_original_angst=real("rlnOffsetStepOriginal", offset_step),
        rot_deg=directions.floats("rlnAngleRot") if directions else None,
        tilt_deg=directions.floats("rlnAngleTilt") if directions else None,
    )


def write_sampling(
    path: str | os.PathLike[str], sampling: SamplingFile, all_digits: bool = False
) -> None:
    """Write a sampling file with RELION's labels in RELION's order.

    Parameters
    ----------
    path
        File to write.
    sampling
        The sampling.
    all_digits
        See :func:`~clrelion.io.star_writer.write_star`.

    Notes
    -----
    Specification E 6.4.
    """
    general = StarTable.of_values(
        _GENERAL,
        {
            "rlnIs3DSampling": 1,
            "rlnIs3DTranslationalSampling": 0,
            "rlnHealpixOrder": sampling.healpix_order,
            "rlnSymmetryGroup": sampling.symmetry,
            "rlnTiltAngleLimit": sampling.limit_tilt_deg,
            "rlnPsiStep": sampling.psi_step_deg,
            "rlnOffsetRange": sampling.offset_range_angst,
            "rlnOffsetStep": sampling.offset_step_angst,
            "rlnHelicalOffsetStep": -1.0,
            "rlnSamplingPerturbInstance": sampling.perturbation,
            "rlnSamplingPerturbFactor": sampling.perturbation_factor,
            "rlnHealpixOrderOriginal": sampling.healpix_order_original,
            "rlnPsiStepOriginal": sampling.psi_step_original_deg,
            "rlnOffsetRangeOriginal": sampling.offset_range_original_angst,
            "rlnOffsetStepOriginal": sampling.offset_step_original_angst,
        },
    )
    blocks: list[Block] = [general]
    if sampling.rot_deg is not None and sampling.tilt_deg is not None:
        blocks.append(_directions_table(sampling.rot_deg, sampling.tilt_deg))
    write_star(path, blocks, all_digits=all_digits)


def _directions_table(rot_deg: NDArray[np.float64], tilt_deg: NDArray[np.float64]) -> KeptTable:
    """Table of directions; the last one is given again as long as they are the same."""
    global _last_directions
    angles: dict[str, Column] = {"rlnAngleRot": rot_deg, "rlnAngleTilt": tilt_deg}
    last = _last_directions
    if last is None or not all(np.array_equal(last.columns[k], v) for k, v in angles.items()):
        last = _last_directions = KeptTable(_DIRECTIONS, angles)
    return last
