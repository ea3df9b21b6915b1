"""Particle STAR files to column arrays and back.

Specification E 2.2 (current format), 2.3 (legacy), 2.4 (row order), 2.5 (groups), 6.2 (output).
"""

import logging
import os
import re
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from clrelion.errors import StarError
from clrelion.io.legacy import convert_legacy
from clrelion.io.optics import OpticsGroup, parse_optics
from clrelion.io.star import StarBlock, read_star
from clrelion.io.star_writer import Block, Column, StarTable, write_star

__all__ = ["OpticsGroup", "ParticleTable", "particle_blocks", "read_particles", "write_particles"]

_log = logging.getLogger(__name__)

PRIOR_NOT_SET = 999.0
"""RELION's mark of an absent prior angle or offset (Specification E 2.2)."""

_ONLY_GROUP = "group"  # RELION's name of the scale group when no column defines groups
_JOB_PREFIX = re.compile(r"(?:[^/]+/)*?job\d{3,}/")
_CTF_IS_ZERO = 1e-6

_FLOAT_COLUMNS = {
    "rot_deg": ("rlnAngleRot", 0.0),
    "tilt_deg": ("rlnAngleTilt", 0.0),
    "psi_deg": ("rlnAnglePsi", 0.0),
    "origin_x_angst": ("rlnOriginXAngst", 0.0),
    "origin_y_angst": ("rlnOriginYAngst", 0.0),
    "norm_correction": ("rlnNormCorrection", 1.0),
    "defocus_u_angst": ("rlnDefocusU", 0.0),
    "defocus_angle_deg": ("rlnDefocusAngle", 0.0),
    "ctf_bfactor": ("rlnCtfBfactor", 0.0),
    "ctf_scalefactor": ("rlnCtfScalefactor", 1.0),
    "phase_shift_deg": ("rlnPhaseShift", 0.0),
    "rot_prior_deg": ("rlnAngleRotPrior", PRIOR_NOT_SET),
    "tilt_prior_deg": ("rlnAngleTiltPrior", PRIOR_NOT_SET),
    "psi_prior_deg": ("rlnAnglePsiPrior", PRIOR_NOT_SET),
    "origin_x_prior_angst": ("rlnOriginXPriorAngst", PRIOR_NOT_SET),
    "origin_y_prior_angst": ("rlnOriginYPriorAngst", PRIOR_NOT_SET),
    "log_likelihood": ("rlnLogLikeliContribution", 0.0),
    "pmax": ("rlnMaxValueProbDistribution", 0.0),
}


@dataclass
class ParticleTable:
    """Particles and their optics groups; one array entry a particle, in output order.

    Attributes
    ----------
    optics
        Optics groups.
    image_name, reconstruct_image_name
        rlnImageName; rlnReconstructImageName or None.
    optics_group, scale_group
        int64, 0-based indices into `optics` and `group_names`.
    rot_deg, tilt_deg, psi_deg
        Pose, degrees.
    origin_x_angst, origin_y_angst
        Offset, Å.
    class_number
        int64, 0-based; -1 is unassigned.
    norm_correction
        Norm correction of the particle.
    random_subset
        int64; half-set 1 or 2, 0 unassigned.
    defocus_u_angst, defocus_v_angst, defocus_angle_deg, ctf_bfactor, ctf_scalefactor, \
phase_shift_deg
        CTF parameters; Å, degrees, Å².
    rot_prior_deg, tilt_prior_deg, psi_prior_deg, origin_x_prior_angst, origin_y_prior_angst
        Priors, degrees and Å; 999 is "not set".
    log_likelihood, pmax, n_significant
        Results of the last iteration (n_significant int64); those of the file, or 0.
    group_names
        Names of the scale groups.
    star_path
        The file read.
    source_row
        int64; 1-based row in the table of the file read, for messages.
    raw
        Blocks as read (legacy ones converted), particle rows in output order; unknown columns and
        blocks are written back from here.
    """

    optics: list[OpticsGroup]
    image_name: list[str]
    reconstruct_image_name: list[str] | None
    optics_group: NDArray[np.int64]
    scale_group: NDArray[np.int64]
    rot_deg: NDArray[np.float64]
    tilt_deg: NDArray[np.float64]
    psi_deg: NDArray[np.float64]
    origin_x_angst: NDArray[np.float64]
    origin_y_angst: NDArray[np.float64]
    class_number: NDArray[np.int64]
    norm_correction: NDArray[np.float64]
    random_subset: NDArray[np.int64]
    defocus_u_angst: NDArray[np.float64]
    defocus_v_angst: NDArray[np.float64]
    defocus_angle_deg: NDArray[np.float64]
    ctf_bfactor: NDArray[np.float64]
    ctf_scalefactor: NDArray[np.float64]
    phase_shift_deg: NDArray[np.float64]
    rot_prior_deg: NDArray[np.float64]
    tilt_prior_deg: NDArray[np.float64]
    psi_prior_deg: NDArray[np.float64]
    origin_x_prior_angst: NDArray[np.float64]
    origin_y_prior_angst: NDArray[np.float64]
    log_likelihood: NDArray[np.float64]
    pmax: NDArray[np.float64]
    n_significant: NDArray[np.int64]
    group_names: list[str]
    star_path: str
    source_row: NDArray[np.int64]
    raw: dict[str, StarBlock] = field(repr=False)

    @property
    def n(self) -> int:
        """Number of particles."""
        return len(self.image_name)

    @property
    def boxes_px(self) -> NDArray[np.int64]:
        """int64, (n,): box size of each particle, px."""
        return np.array([group.box_px for group in self.optics], dtype=np.int64)[self.optics_group]

    def where(self, particle: int) -> str:
        """``file row N`` of a particle, for messages."""
        return f"{self.star_path} row {self.source_row[particle]}"


def read_particles(
    path: str | os.PathLike[str], angpix: float | None = None, do_ctf: bool = False
) -> ParticleTable:
    """Read a particle STAR file.

    Parameters
    ----------
    path
        STAR file with ``data_optics`` and ``data_particles``, or a legacy single table.
    angpix
        Pixel size if the file has none, Å.
    do_ctf
        CTF correction is on: its parameters must be there and make sense.

    Returns
    -------
    ParticleTable
        Rows stable-sorted by micrograph name.

    Raises
    ------
    StarError
        Anything missing or impossible; names file, row and label.
    ImageError
        A legacy file's image header cannot be read.

    Notes
    -----
    Specification E 2.2 to 2.5.
    """
    blocks = read_star(path)
    if "optics" not in blocks:
        blocks = convert_legacy(blocks, path, angpix)
    if "particles" not in blocks:
        raise StarError(
            f"{path}: has no data_particles (only {', '.join('data_' + name for name in blocks)}); "
            "give a particle STAR file"
        )
    particles = blocks["particles"]
    if particles.n_rows == 0 or not particles.is_loop:
        raise StarError(f"{path}: data_particles has no rows; give a file with particles")
    optics = parse_optics(blocks["optics"], angpix)
    _log_mixed_optics(optics, str(path))
    table = _make_table(blocks, optics, str(path))
    _check_finite(table)
    if do_ctf and not any(group.ctf_corrected for group in optics):
        _check_ctf(table)
    return table


def _make_table(
    blocks: dict[str, StarBlock], optics: list[OpticsGroup], path: str
) -> ParticleTable:
    """Sort the rows and turn the columns that are used into arrays."""
    particles = blocks["particles"]
    source_row = _sort_rows(particles)
    groups, group_names = _scale_groups(particles)
    floats = {
        name: particles.floats(label, default) for name, (label, default) in _FLOAT_COLUMNS.items()
    }
    defocus_u = floats["defocus_u_angst"]
    has_v = "rlnDefocusV" in particles
    return ParticleTable(
        optics=optics,
        image_name=particles.strings("rlnImageName"),
        reconstruct_image_name=particles.columns.get("rlnReconstructImageName"),
        optics_group=_optics_index(particles, optics, source_row),
        scale_group=groups,
        class_number=particles.ints("rlnClassNumber", 0) - 1,
        random_subset=particles.ints("rlnRandomSubset", 0),
        defocus_v_angst=particles.floats("rlnDefocusV") if has_v else defocus_u.copy(),
        n_significant=particles.ints("rlnNrOfSignificantSamples", 0),
        group_names=group_names,
        star_path=path,
        source_row=source_row,
        raw=blocks,
        **floats,
    )


def write_particles(
    path: str | os.PathLike[str],
    table: ParticleTable,
    iteration_done: bool,
    all_digits: bool = False,
) -> None:
    """Write ``_data.star``.

    Parameters
    ----------
    path
        File to write.
    table
        Particles; columns of the file read keep their place, new ones follow.
    iteration_done
        Also write the results of an iteration (log-likelihood, Pmax, significant samples); False
        for iteration 0.
    all_digits
        See :func:`~clrelion.io.star_writer.write_star`.

    Notes
    -----
    Specification E 6.2.
    """
    write_star(path, particle_blocks(table, iteration_done), all_digits=all_digits)


def particle_blocks(table: ParticleTable, iteration_done: bool) -> list[Block]:
    """Blocks of ``_data.star``: optics, particles, and others that were read; see above."""
    raw = table.raw["particles"].columns
    refreshed: dict[str, Column] = {
        "rlnOpticsGroup": table.optics_group + 1,
        "rlnGroupNumber": table.scale_group + 1,
        "rlnAngleRot": table.rot_deg,
        "rlnAngleTilt": table.tilt_deg,
        "rlnAnglePsi": table.psi_deg,
        "rlnOriginXAngst": table.origin_x_angst,
        "rlnOriginYAngst": table.origin_y_angst,
        "rlnClassNumber": table.class_number + 1,
        "rlnNormCorrection": table.norm_correction,
    }
    if "rlnRandomSubset" in raw or table.random_subset.any():
        refreshed["rlnRandomSubset"] = table.random_subset
    if iteration_done:
        refreshed["rlnLogLikeliContribution"] = table.log_likelihood
        refreshed["rlnMaxValueProbDistribution"] = table.pmax
        refreshed["rlnNrOfSignificantSamples"] = table.n_significant
    columns: dict[str, Column] = {**raw, **refreshed}
    blocks: list[Block] = [table.raw["optics"], StarTable("particles", columns)]
    return blocks + [b for name, b in table.raw.items() if name not in ("optics", "particles")]


def _sort_rows(particles: StarBlock) -> NDArray[np.int64]:
    """Stable-sort the rows in place by the bytes of rlnMicrographName; give the file's rows."""
    positions = list(range(particles.n_rows))
    if "rlnMicrographName" not in particles:
        return np.array(positions, dtype=np.int64) + 1
    keys = [
        name.encode("utf-8", "surrogateescape") for name in particles.columns["rlnMicrographName"]
    ]
    order = sorted(positions, key=keys.__getitem__)
    if order != positions:
        for label, values in particles.columns.items():
            particles.columns[label] = [values[i] for i in order]
    particles.row_numbers = np.array(order, dtype=np.int64) + 1
    return particles.row_numbers


def _scale_groups(particles: StarBlock) -> tuple[NDArray[np.int64], list[str]]:
    """Scale group of each particle, numbered by first appearance, and their names."""
    if "rlnGroupName" in particles:
        names = particles.columns["rlnGroupName"]
    elif "rlnMicrographName" in particles:
        names = [_JOB_PREFIX.sub("", m, count=1) for m in particles.columns["rlnMicrographName"]]
    else:
        names = [_ONLY_GROUP] * particles.n_rows
    index = {name: i for i, name in enumerate(dict.fromkeys(names))}
    return np.array([index[name] for name in names], dtype=np.int64), list(index)


def _optics_index(
    particles: StarBlock, optics: list[OpticsGroup], source_row: NDArray[np.int64]
) -> NDArray[np.int64]:
    """0-based optics group of each particle; an undefined number is an error."""
    index = {group.number_in_file: i for i, group in enumerate(optics)}
    numbers = particles.ints("rlnOpticsGroup").tolist()
    try:
        return np.array([index[number] for number in numbers], dtype=np.int64)
    except KeyError as error:
        row = source_row[numbers.index(error.args[0])]
        raise StarError(
            f"{particles.path}: row {row} of data_particles: rlnOpticsGroup is {error.args[0]}, "
            f"but data_optics defines only {', '.join(map(str, sorted(index)))}; add that group"
        ) from None


def _log_mixed_optics(optics: list[OpticsGroup], path: str) -> None:
    """Mixed pixel or box sizes are allowed, as in RELION, but are often a slip."""
    kinds = sorted({(group.box_px, group.pixel_size_angst) for group in optics})
    if len(kinds) > 1:
        _log.warning(
            "%s: optics groups differ in box or pixel size: %s",
            path,
            "; ".join(f"{box} px of {size:g} Å" for box, size in kinds),
        )


def _check_finite(table: ParticleTable) -> None:
    """NaN or infinity in a column used would spread to every particle."""
    for name, (label, _) in [*_FLOAT_COLUMNS.items(), ("defocus_v_angst", ("rlnDefocusV", 0.0))]:
        bad = ~np.isfinite(getattr(table, name))
        if bad.any():
            i = int(np.argmax(bad))
            raise StarError(
                f"{table.where(i)}: {label} is {getattr(table, name)[i]}; "
                "correct or remove this particle"
            )


def _check_ctf(table: ParticleTable) -> None:
    """CTF correction needs parameters that give a CTF (Specification E 2.2, 2.9)."""
    path = table.star_path
    if "rlnDefocusU" not in table.raw["particles"]:
        raise StarError(
            f"{path}: data_particles has no _rlnDefocusU, which --ctf needs; "
            "remove --ctf or add the defocus columns"
        )
    for number, group in enumerate(table.optics, start=1):
        if group.amplitude_contrast is None:
            raise StarError(
                f"{path}: data_optics has no _rlnAmplitudeContrast, which --ctf needs; "
                "remove --ctf or add the column"
            )
        if not 0 <= group.amplitude_contrast <= 1:
            raise StarError(
                f"{path}: row {number} of data_optics: rlnAmplitudeContrast is "
                f"{group.amplitude_contrast:g}; it must lie in 0..1"
            )
    by_group = np.array(
        [abs(g.amplitude_contrast or 0) + abs(g.spherical_aberration_mm) for g in table.optics]
    )
    size = (
        np.abs(table.defocus_u_angst) + np.abs(table.defocus_v_angst) + by_group[table.optics_group]
    )
    if (size < _CTF_IS_ZERO).any():
        i = int(np.argmax(size < _CTF_IS_ZERO))
        raise StarError(
            f"{table.where(i)}: rlnDefocusU, rlnDefocusV, rlnAmplitudeContrast and "
            "rlnSphericalAberration are all 0; remove --ctf or fill the columns"
        )
