"""Optics groups: the optics table of a particle STAR file."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clrelion.errors import StarError
from clrelion.io.star import StarBlock

PIXEL_SIZE_LABELS = (
    "rlnImagePixelSize",
    "rlnMicrographPixelSize",
    "rlnMicrographOriginalPixelSize",
    "rlnTomoTiltSeriesPixelSize",
)
"""Labels of the pixel size; the first one present counts (Specification E 2.2)."""

_DETECTOR_PIXEL_SIZE = "rlnMicrographOriginalPixelSize"


@dataclass
class OpticsGroup:
    """What the particles of one microscope session share.

    Attributes
    ----------
    name
        rlnOpticsGroupName.
    number_in_file
        rlnOpticsGroup as it was in the file read; on writing, groups are numbered from 1.
    voltage_kv, spherical_aberration_mm
        Acceleration voltage, kV; Cs, mm.
    amplitude_contrast
        Fraction 0..1, or None if the file has none.
    pixel_size_angst, box_px
        Å; px (even).
    ctf_premultiplied, ctf_corrected
        Images were multiplied by their CTF; images were corrected for it.
    beam_tilt_x_mrad, beam_tilt_y_mrad
        Beam tilt, mrad.
    odd_zernike, even_zernike
        Coefficients of antisymmetric and symmetric aberrations; empty if none.
    mag_matrix
        float64, (2, 2): anisotropic magnification applied to frequencies.
    mtf_file
        STAR file of the detector's MTF, or None.
    detector_pixel_size_angst
        Pixel size of the micrographs as recorded, Å, to which MTF files refer; None if the file
        has no rlnMicrographOriginalPixelSize: that of the images.
    """

    name: str
    number_in_file: int
    voltage_kv: float
    spherical_aberration_mm: float
    amplitude_contrast: float | None
    pixel_size_angst: float
    box_px: int
    ctf_premultiplied: bool
    ctf_corrected: bool
    beam_tilt_x_mrad: float
    beam_tilt_y_mrad: float
    odd_zernike: tuple[float, ...]
    even_zernike: tuple[float, ...]
    mag_matrix: NDArray[np.float64]
    mtf_file: str | None
    detector_pixel_size_angst: float | None = None


def parse_optics(block: StarBlock, angpix: float | None) -> list[OpticsGroup]:
    """Read the optics table.

    Parameters
    ----------
    block
        ``data_optics``.  Its numbers are rewritten to 1..n in file order, and rlnImagePixelSize is
        added where `angpix` has to stand in.
    angpix
        Pixel size used if the table has none, Å.

    Returns
    -------
    list of OpticsGroup
        In file order.

    Raises
    ------
    StarError
        Missing label, or a value that cannot be; names file, row and label.

    Notes
    -----
    Specification E 2.2.
    """
    if block.n_rows == 0:
        raise StarError(f"{block.path}: data_optics has no rows; add one row per optics group")
    numbers = block.ints("rlnOpticsGroup")
    if len(set(numbers.tolist())) != len(numbers):
        raise StarError(f"{block.path}: rlnOpticsGroup numbers in data_optics repeat; renumber")
    label = _add_pixel_size(block, angpix)
    for name in (label, "rlnVoltage", "rlnImageSize"):
        _check_positive(block, name)
    sizes = block.ints("rlnImageSize")
    _refuse(
        block, "rlnImageSize", sizes % 2 != 0, "odd boxes are not supported; extract an even box"
    )
    dimensions = block.ints("rlnImageDimensionality", 2)
    _refuse(
        block,
        "rlnImageDimensionality",
        dimensions != 2,
        "only 2D images are supported, not subtomograms",
    )
    groups = [_group(block, i, label) for i in range(block.n_rows)]
    block.columns["rlnOpticsGroup"] = [str(i + 1) for i in range(block.n_rows)]
    return groups


def _add_pixel_size(block: StarBlock, angpix: float | None) -> str:
    """Label of the pixel size; `angpix` becomes a column if there is none."""
    for label in PIXEL_SIZE_LABELS:
        if label in block:
            return label
    if angpix is None:
        raise StarError(
            f"{block.path}: no pixel size: data_optics has no _rlnImagePixelSize (nor can one be "
            "computed from rlnDetectorPixelSize and rlnMagnification); add it or give --angpix"
        )
    block.columns[PIXEL_SIZE_LABELS[0]] = [f"{angpix:.12g}"] * block.n_rows
    return PIXEL_SIZE_LABELS[0]


def _group(block: StarBlock, i: int, pixel_size_label: str) -> OpticsGroup:
    """One row of the table."""

    def real(label: str, default: float | None = None) -> float:
        return float(block.floats(label, default)[i])

    mtf = block.strings("rlnMtfFileName", "")[i]
    return OpticsGroup(
        name=block.strings("rlnOpticsGroupName", f"opticsGroup{i + 1}")[i],
        number_in_file=int(block.ints("rlnOpticsGroup")[i]),
        voltage_kv=real("rlnVoltage"),
        spherical_aberration_mm=real("rlnSphericalAberration"),
        amplitude_contrast=(
            real("rlnAmplitudeContrast") if "rlnAmplitudeContrast" in block else None
        ),
        pixel_size_angst=real(pixel_size_label),
        box_px=int(block.ints("rlnImageSize")[i]),
        ctf_premultiplied=bool(block.ints("rlnCtfDataAreCtfPremultiplied", 0)[i]),
        ctf_corrected=bool(block.ints("rlnCtfDataAreCtfCorrected", 0)[i]),
        beam_tilt_x_mrad=real("rlnBeamTiltX", 0.0),
        beam_tilt_y_mrad=real("rlnBeamTiltY", 0.0),
        odd_zernike=_vector(block, "rlnOddZernike", i),
        even_zernike=_vector(block, "rlnEvenZernike", i),
        mag_matrix=np.array(
            [
                [real("rlnMagMat00", 1.0), real("rlnMagMat01", 0.0)],
                [real("rlnMagMat10", 0.0), real("rlnMagMat11", 1.0)],
            ]
        ),
        mtf_file=mtf if mtf not in ("", "None") else None,
        detector_pixel_size_angst=(
            real(_DETECTOR_PIXEL_SIZE) if _DETECTOR_PIXEL_SIZE in block else None
        ),
    )


def _vector(block: StarBlock, label: str, i: int) -> tuple[float, ...]:
    """Vector written as ``[0.1,0.2]``."""
    text = block.strings(label, "[]")[i].strip()
    try:
        if not (text.startswith("[") and text.endswith("]")):
            raise ValueError(text)
        return tuple(float(part) for part in text[1:-1].split(",") if part.strip())
    except ValueError:
        raise StarError(
            f"{block.path}: row {i + 1} of data_optics: {label} is '{text}', not a list like "
            "[0.1,0.2]; correct this value"
        ) from None


def _check_positive(block: StarBlock, label: str) -> None:
    values = block.floats(label)
    bad = ~(np.isfinite(values) & (values > 0))
    _refuse(block, label, bad, "it must be positive; correct this value")


def _refuse(block: StarBlock, label: str, bad: NDArray[np.bool_], why: str) -> None:
    """Raise for the first bad row of the table."""
    if bad.any():
        row = int(np.argmax(bad))
        raise StarError(
            f"{block.path}: row {row + 1} of data_optics: {label} is "
            f"{block.columns[label][row]}; {why}"
        )
