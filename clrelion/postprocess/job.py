"""Post-processing from two half-map files to a sharpened map and its STAR file."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clrelion.errors import ImageError, OptionsError
from clrelion.fourier.masks import prepare_solvent_mask
from clrelion.io.mrc import read_map, write_map
from clrelion.io.mtf import read_mtf
from clrelion.postprocess.corrected_fsc import CorrectedFsc, corrected_fsc, resolution_angst
from clrelion.postprocess.masking import MaskRules, make_mask
from clrelion.postprocess.output import write_fsc_text, write_fsc_xml, write_summary
from clrelion.postprocess.sharpen import Sharpening, SharpenRules, sharpen, sharpened_map

__all__ = ["PostprocessResult", "PostprocessSettings", "partner_of", "postprocess"]

_log = logging.getLogger(__name__)

_PIXEL_TOLERANCE = 1e-3
_SUSPICIOUS_FSC = 0.1
"""Random phases that still correlate so well at the final resolution tell of a mask too tight."""


@dataclass(frozen=True)
class PostprocessSettings:
    """What to do; see ``clrelion postprocess --help``.

    Attributes
    ----------
    half_map, other_half_map
        MRC files; the other one None: the same name with half1 and half2 exchanged.
    output_root
        Root of all output names.
    pixel_size_angst
        Å/px, instead of the header's; None: the header's.
    mask
        MRC file, or None.
    mask_rules
        How a mask is made from the maps; None: not at all.
    mtf, mtf_pixel_size_angst
        STAR file; pixel size its frequencies refer to, Å (None: that of the maps).
    sharpening
        Sharpening rules, less the MTF. A negative low-pass is at the final resolution.
    randomise_below_fsc, randomise_at_angst, molecular_weight_kda, force_mask, random_seed
        See `clrelion.postprocess.corrected_fsc.corrected_fsc`.
    write_half_maps
        Write the half maps treated in the same way, too.
    """

    half_map: str
    output_root: str = "postprocess"
    other_half_map: str | None = None
    pixel_size_angst: float | None = None
    mask: str | None = None
    mask_rules: MaskRules | None = None
    mtf: str | None = None
    mtf_pixel_size_angst: float | None = None
    sharpening: SharpenRules = field(default_factory=SharpenRules)
    randomise_below_fsc: float = 0.8
    randomise_at_angst: float = 0.0
    molecular_weight_kda: float = 0.0
    force_mask: bool = False
    random_seed: int = 0
    write_half_maps: bool = False


@dataclass(frozen=True)
class PostprocessResult:
    """What came out.

    Attributes
    ----------
    resolution_angst
        Å.
    pixel_size_angst
        Å/px.
    molecular_weight_kda
        As given; 0: unknown.
    fsc, sharpening
        The curves.
    map, masked_map, mask
        Files; None where there is none.
    files
        All files written, the map first.
    """

    resolution_angst: float
    pixel_size_angst: float
    molecular_weight_kda: float
    fsc: CorrectedFsc
    sharpening: Sharpening
    map: str
    masked_map: str | None
    mask: str | None
    files: list[str]


def partner_of(half_map: str) -> str:
    """Name of the other half map: half1 and half2 exchanged in the file's name.

    Raises
    ------
    OptionsError
        The name contains neither or both.
    """
    path = Path(half_map)
    has = ["half1" in path.name, "half2" in path.name]
    if has[0] == has[1]:
        raise OptionsError(
            f"--i {half_map}: the name has to contain 'half1' or 'half2'; or give the other half "
            "map by --i2"
        )
    mine, other = ("half1", "half2") if has[0] else ("half2", "half1")
    return str(path.with_name(path.name.replace(mine, other)))


def postprocess(settings: PostprocessSettings, command_line: str = "") -> PostprocessResult:
    """Run the job and write its files.

    Parameters
    ----------
    settings
        What to do.
    command_line
        For the head of the STAR file.

    Raises
    ------
    ClrelionError
        One line that says what is wrong and what to do.

    Notes
    -----
    Specification M 8.  Beside RELION's files it writes ``<o>_mask.mrc`` for a mask made here.
    """
    names = [settings.half_map, settings.other_half_map or partner_of(settings.half_map)]
    halves, pixel_size = _read_halves(names, settings.pixel_size_angst)
    root = settings.output_root
    average = 0.5 * (halves[0] + halves[1])
    mask, mask_name, files = _mask(settings, average, pixel_size)
    fsc = corrected_fsc(
        halves[0],
        halves[1],
        mask,
        pixel_size,
        randomise_below_fsc=settings.randomise_below_fsc,
        randomise_at_angst=settings.randomise_at_angst,
        molecular_weight_kda=settings.molecular_weight_kda,
        force_mask=settings.force_mask,
        random_seed=settings.random_seed,
    )
    resolution = resolution_angst(fsc.corrected, pixel_size)
    _warn(fsc)
    rules = _rules(settings, pixel_size, resolution)
    sharpened, sharpening = sharpen(average, pixel_size, fsc.corrected, rules)
    map_name, masked_name = f"{root}.mrc", None
    write_map(map_name, sharpened, pixel_size)
    files.insert(0, map_name)
    if mask is not None:
        masked_name = f"{root}_masked.mrc"
        write_map(masked_name, sharpened * mask, pixel_size)
        files.append(masked_name)
    if settings.write_half_maps:
        for number, half in enumerate(halves, start=1):
            name = f"{root}_half{number}.mrc"
            write_map(name, sharpened_map(half, sharpening), pixel_size)
            files.append(name)
    result = PostprocessResult(
        resolution,
        pixel_size,
        settings.molecular_weight_kda,
        fsc,
        sharpening,
        map_name,
        masked_name,
        mask_name,
        files,
    )
    write_fsc_xml(f"{root}_fsc.xml", result.fsc, pixel_size)
    write_fsc_text(f"{root}_fsc.dat", result.fsc, pixel_size)
    write_summary(f"{root}.star", result, names, command_line)
    files += [f"{root}_fsc.xml", f"{root}_fsc.dat", f"{root}.star"]
    return result


def _read_halves(
    names: list[str], pixel_size_angst: float | None
) -> tuple[list[NDArray[np.float32]], float]:
    """Read two cubic maps of one size."""
    found = [read_map(name) for name in names]
    for name, one in zip(names, found, strict=True):
        n = one.data.shape[0]
        if one.data.shape != (n, n, n) or n % 2:
            raise ImageError(f"{name}: a half map must be a cube of even size: {one.data.shape}")
    if found[0].data.shape != found[1].data.shape:
        raise ImageError(
            f"{names[1]}: has {found[1].data.shape[0]} voxels a side, {names[0]} has "
            f"{found[0].data.shape[0]}; give the two half maps of one run"
        )
    sizes = [one.pixel_size_angst for one in found]
    if pixel_size_angst is None:
        if sizes[0] <= 0:
            raise ImageError(f"{names[0]}: the header has no pixel size; give --angpix")
        if abs(sizes[0] - sizes[1]) > _PIXEL_TOLERANCE:
            raise ImageError(
                f"{names[1]}: has a pixel size of {sizes[1]:g} Å, {names[0]} of {sizes[0]:g} Å; "
                "give --angpix"
            )
        pixel_size_angst = sizes[0]
    return [one.data for one in found], pixel_size_angst


def _mask(
    settings: PostprocessSettings, average: NDArray[np.float32], pixel_size: float
) -> tuple[NDArray[np.float32] | None, str | None, list[str]]:
    """The mask, its file, and the files written for it."""
    if settings.mask is not None:
        read = read_map(settings.mask)
        mask = prepare_solvent_mask(
            read.data,
            read.pixel_size_angst or pixel_size,
            average.shape[0],
            pixel_size,
            settings.mask,
        )
        return mask.astype(np.float32), settings.mask, []
    if settings.mask_rules is None:
        return None, None, []
    made, threshold = make_mask(average, pixel_size, settings.mask_rules)
    name = f"{settings.output_root}_mask.mrc"
    write_map(name, made, pixel_size)
    _log.info("Mask at density %.4g: %s (look at it beside the map)", threshold, name)
    return made, name, [name]


def _rules(settings: PostprocessSettings, pixel_size: float, resolution: float) -> SharpenRules:
    """Sharpening rules with the MTF read and the low-pass in Å."""
    rules: dict[str, Any] = dict(vars(settings.sharpening))
    if settings.mtf is not None:
        rules["mtf"] = read_mtf(settings.mtf, settings.mtf_pixel_size_angst or pixel_size)
    if rules["low_pass_angst"] < 0:
        rules["low_pass_angst"] = resolution
    return SharpenRules(**rules)


def _warn(fsc: CorrectedFsc) -> None:
    if fsc.masked is not None and not fsc.mask_is_used:
        _log.warning(
            "the unmasked maps agree to a higher resolution than the masked ones, so the unmasked "
            "FSC counts: the mask may cut into the particle; look at it, or give --force_mask"
        )
    elif fsc.randomised is not None:
        chance = fsc.randomised[fsc.resolution_shell]
        if chance > _SUSPICIOUS_FSC:
            _log.warning(
                "with random phases the FSC at the final resolution is still %.2f: the mask is too "
                "tight or its edge too sharp; use a wider, softer one",
                chance,
            )
