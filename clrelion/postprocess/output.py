"""The files of post-processing, as RELION writes them (specification M 8.7)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from clrelion.constants import PROGRAM_NAME, VERSION
from clrelion.fourier.shells import resolution_of_shell
from clrelion.io.atomic import replacing
from clrelion.io.star_writer import Column, Scalar, StarTable, write_star
from clrelion.postprocess.corrected_fsc import CorrectedFsc
from clrelion.postprocess.sharpen import Guinier

if TYPE_CHECKING:
    from clrelion.postprocess.job import PostprocessResult

__all__ = ["fsc_columns", "write_fsc_text", "write_fsc_xml", "write_summary"]

_HEADINGS = {
    "rlnFourierShellCorrelationCorrected": "corrected",
    "rlnFourierShellCorrelationUnmaskedMaps": "unmasked",
    "rlnFourierShellCorrelationMaskedMaps": "masked",
    "rlnCorrectedFourierShellCorrelationPhaseRandomizedMaskedMaps": "randomised",
}


def fsc_columns(fsc: CorrectedFsc, pixel_size_angst: float) -> dict[str, NDArray[np.generic]]:
    """Columns of ``data_fsc``: label -> one value a shell (resolutions in 1/Å and Å)."""
    n_shells = len(fsc.unmasked)
    shell = np.arange(n_shells)
    angst = np.asarray(resolution_of_shell(shell, 2 * (n_shells - 1), pixel_size_angst))
    columns: dict[str, NDArray[np.generic] | None] = {
        "rlnSpectralIndex": shell,
        "rlnResolution": 1.0 / angst,
        "rlnAngstromResolution": angst,
        "rlnFourierShellCorrelationCorrected": None if fsc.masked is None else fsc.corrected,
        "rlnFourierShellCorrelationParticleMaskFraction": fsc.by_mask_fraction,
        "rlnFourierShellCorrelationParticleMolWeight": fsc.by_weight,
        "rlnFourierShellCorrelationUnmaskedMaps": fsc.unmasked,
        "rlnFourierShellCorrelationMaskedMaps": fsc.masked,
        "rlnCorrectedFourierShellCorrelationPhaseRandomizedMaskedMaps": fsc.randomised,
    }
    return {label: values for label, values in columns.items() if values is not None}


def write_fsc_xml(path: str, fsc: CorrectedFsc, pixel_size_angst: float) -> None:
    """Write the curve that counts in the form that EMDB takes."""
    title = "masked-corrected FSC" if fsc.mask_is_used else "unmasked FSC"
    frequency = fsc_columns(fsc, pixel_size_angst)["rlnResolution"]
    points = "".join(
        f"  <coordinate>\n    <x>{x:.6g}</x>\n    <y>{y:.6g}</y>\n  </coordinate>\n"
        for x, y in zip(np.asarray(frequency, np.float64), fsc.corrected, strict=True)
    )
    _write(
        path,
        f'<fsc title="{PROGRAM_NAME} {title}" xaxis="Resolution (A-1)" '
        f'yaxis="Correlation Coefficient">\n{points}</fsc>\n',
    )


def write_fsc_text(path: str, fsc: CorrectedFsc, pixel_size_angst: float) -> None:
    """Write the curves as plain columns: 1/Å, Å, then the correlations."""
    columns = fsc_columns(fsc, pixel_size_angst)
    kept = {label: name for label, name in _HEADINGS.items() if label in columns}
    numbers = np.column_stack(
        [columns[label] for label in ("rlnResolution", "rlnAngstromResolution", *kept)]
    )
    rows = "".join(" ".join(f"{value:10.6f}" for value in row) + "\n" for row in numbers)
    _write(path, f"# 1/A  A  {'  '.join(kept.values())}\n{rows}")


def write_summary(
    path: str, result: PostprocessResult, half_maps: list[str], command_line: str
) -> None:
    """Write the STAR file of a job: ``data_general``, ``data_fsc``, ``data_guinier``."""
    fsc_table: dict[str, Column] = dict(fsc_columns(result.fsc, result.pixel_size_angst))
    blocks = [
        StarTable.of_values("general", _general(result, half_maps)),
        StarTable("fsc", fsc_table),
        StarTable("guinier", _guinier_columns(result.sharpening.guinier)),
    ]
    comments = [f"{PROGRAM_NAME} postprocess; version {VERSION}", command_line]
    write_star(path, blocks, comments)


def _general(result: PostprocessResult, half_maps: list[str]) -> dict[str, Scalar]:
    fsc, guinier = result.fsc, result.sharpening.guinier
    values: dict[str, Scalar] = {
        "rlnFinalResolution": result.resolution_angst,
        "rlnBfactorUsedForSharpening": result.sharpening.bfactor_angst2,
        "rlnUnfilteredMapHalf1": half_maps[0],
        "rlnUnfilteredMapHalf2": half_maps[1],
        "rlnPostprocessedMap": result.map,
    }
    if fsc.weight_factor > 0:
        values["rlnMolecularWeight"] = result.molecular_weight_kda
        values["rlnParticleBoxFractionMolecularWeight"] = fsc.weight_factor
    if result.mask is not None and result.masked_map is not None:
        n = 2 * (len(fsc.unmasked) - 1)
        values["rlnParticleBoxFractionSolventMask"] = fsc.particle_factor
        values["rlnMaskName"] = result.mask
        values["rlnRandomiseFrom"] = float(
            resolution_of_shell(fsc.first_random_shell, n, result.pixel_size_angst)
        )
        values["rlnPostprocessedMapMasked"] = result.masked_map
    if guinier.slope is not None:
        assert guinier.intercept is not None
        assert guinier.correlation is not None
        values["rlnFittedSlopeGuinierPlot"] = guinier.slope
        values["rlnFittedInterceptGuinierPlot"] = guinier.intercept
        values["rlnCorrelationFitGuinierPlot"] = guinier.correlation
    return values


def _guinier_columns(guinier: Guinier) -> dict[str, Column]:
    columns: dict[str, Column] = {
        "rlnResolutionSquared": guinier.resolution_squared_inv_angst2,
        "rlnLogAmplitudesOriginal": guinier.original,
    }
    if guinier.mtf_corrected is not None:
        columns["rlnLogAmplitudesMTFCorrected"] = guinier.mtf_corrected
    columns["rlnLogAmplitudesWeighted"] = guinier.weighted
    columns["rlnLogAmplitudesSharpened"] = guinier.sharpened
    if guinier.intercept is not None:
        columns["rlnLogAmplitudesIntercept"] = np.full(len(guinier.original), guinier.intercept)
    return columns


def _write(path: str, text: str) -> None:
    with replacing(path) as temporary:
        Path(temporary).write_text(text, encoding="utf-8")
