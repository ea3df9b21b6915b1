"""``_model.star``: spectra, priors and accuracies of the classes; noise and scale of the data."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clrelion.errors import ContinueError, StarError
from clrelion.io.star import StarBlock, read_star
from clrelion.io.star_writer import Block, Column, StarTable, format_floats, write_star

_FLOAT_LABELS = {
    "pixel_size_angst": "rlnPixelSize",
    "current_resolution_angst": "rlnCurrentResolution",
    "padding_factor": "rlnPaddingFactor",
    "tau2_fudge": "rlnTau2FudgeFactor",
    "avg_norm_correction": "rlnNormCorrectionAverage",
    "sigma_offset_angst": "rlnSigmaOffsetsAngst",
    "sigma_rot_deg": "rlnSigmaPriorRotAngle",
    "sigma_tilt_deg": "rlnSigmaPriorTiltAngle",
    "sigma_psi_deg": "rlnSigmaPriorPsiAngle",
    "log_likelihood": "rlnLogLikelihood",
    "ave_pmax": "rlnAveragePmax",
}
_INT_LABELS = {
    "ori_size": "rlnOriginalImageSize",
    "current_size": "rlnCurrentImageSize",
    "interpolator": "rlnFourierSpaceInterpolator",
    "r_min_nn": "rlnMinRadiusNnInterpolation",
    "n_classes": "rlnNrClasses",
    "orientational_prior_mode": "rlnOrientationalPriorMode",
}
_CLASS_LABELS = {
    "pdf_class": "rlnClassDistribution",
    "acc_rot_deg": "rlnAccuracyRotations",
    "acc_trans_angst": "rlnAccuracyTranslationsAngst",
    "estimated_resolution_angst": "rlnEstimatedResolution",
    "overall_completeness": "rlnOverallFourierCompleteness",
}
_SPECTRUM_LABELS = {
    "data_vs_prior": "rlnSsnrMap",
    "fsc_halves": "rlnGoldStandardFsc",
    "fourier_coverage": "rlnFourierCompleteness",
    "sigma2_class": "rlnReferenceSigma2",
    "tau2": "rlnReferenceTau2",
}
_ORIENTABILITY = "rlnSpectralOrientabilityContribution"
_NO_RESOLUTION_ANGST = 999.0
_DIRECTIONS = "model_pdf_orient_class_"


@dataclass(kw_only=True)
class ModelFile:
    """Contents of a model file.

    Attributes
    ----------
    ori_size, current_size
        Box and current size of the model, px (current size 0 in iteration 0).
    pixel_size_angst, current_resolution_angst
        Å; the resolution may be infinite.
    padding_factor, tau2_fudge, avg_norm_correction, sigma_offset_angst
        As named; sigma_offset is a standard deviation, Å.
    n_classes
        K.
    orientational_prior_mode
        0 none, 1 priors on rot, tilt and psi.
    sigma_rot_deg, sigma_tilt_deg, sigma_psi_deg
        Standard deviations of the orientational priors, degrees.
    log_likelihood, ave_pmax
        Of the iteration.
    interpolator, r_min_nn
        1 trilinear, 0 nearest neighbour; radius of the latter, px.
    class_files
        Map file of each class.
    pdf_class, acc_rot_deg, acc_trans_angst, estimated_resolution_angst, overall_completeness
        float64, (K,).
    data_vs_prior, fsc_halves, fourier_coverage, sigma2_class, tau2
        float64, (K, N/2+1): per shell of the model.
    orientability
        float64, (K, N/2+1), or None before accuracies were estimated.
    group_names, group_n_particles, scale_correction
        Scale groups: names, int64 and float64 (n_groups,).
    sigma2_noise
        float64, (n_optics, N/2+1): noise power per shell; values <= 0 are not stored and come
        back as 0.
    pdf_direction
        float64, (K, n_dir): prior of each direction of the grid, or None.
    """

    ori_size: int
    pixel_size_angst: float
    current_resolution_angst: float
    current_size: int
    padding_factor: float
    n_classes: int
    tau2_fudge: float
    avg_norm_correction: float
    sigma_offset_angst: float
    orientational_prior_mode: int
    sigma_rot_deg: float
    sigma_tilt_deg: float
    sigma_psi_deg: float
    log_likelihood: float
    ave_pmax: float
    interpolator: int = 1
    r_min_nn: int = 10
    class_files: list[str]
    pdf_class: NDArray[np.float64]
    acc_rot_deg: NDArray[np.float64]
    acc_trans_angst: NDArray[np.float64]
    estimated_resolution_angst: NDArray[np.float64]
    overall_completeness: NDArray[np.float64]
    data_vs_prior: NDArray[np.float64]
    fsc_halves: NDArray[np.float64]
    fourier_coverage: NDArray[np.float64]
    sigma2_class: NDArray[np.float64]
    tau2: NDArray[np.float64]
    orientability: NDArray[np.float64] | None = None
    group_names: list[str]
    group_n_particles: NDArray[np.int64]
    scale_correction: NDArray[np.float64]
    sigma2_noise: NDArray[np.float64]
    pdf_direction: NDArray[np.float64] | None = None

    @property
    def n_shells(self) -> int:
        """Shells 0..N/2."""
        return self.ori_size // 2 + 1


def read_model(path: str | os.PathLike[str], with_directions: bool = True) -> ModelFile:
    """Read a model file of clrelion or RELION (4.0 or later).

    Parameters
    ----------
    path
        ``X_model.star``.
    with_directions
        False leaves out the priors of the directions, the longest tables by far.

    Raises
    ------
    StarError
        The file cannot be read, or lacks a block or label, or a spectrum has the wrong length.
    ContinueError
        It is no model file.

    Notes
    -----
    Specification E 6.3, F.5.
    """
    blocks = read_star(path, None if with_directions else _DIRECTIONS)
    if "model_general" not in blocks:
        raise ContinueError(f"{path}: has no data_model_general; it is no _model.star")
    general = blocks["model_general"]
    n_classes = int(general.ints("rlnNrClasses")[0])
    n_shells = int(general.ints("rlnOriginalImageSize")[0]) // 2 + 1
    classes = _block(blocks, "model_classes", path, n_classes)
    groups = _block(blocks, "model_groups", path)
    spectra = [_block(blocks, f"model_class_{k + 1}", path, n_shells) for k in range(n_classes)]
    values: dict[str, Any] = {}
    values |= {name: int(general.ints(label)[0]) for name, label in _INT_LABELS.items()}
    values |= {name: float(general.floats(label)[0]) for name, label in _FLOAT_LABELS.items()}
    values |= {name: classes.floats(label) for name, label in _CLASS_LABELS.items()}
    values |= {
        name: np.stack([block.floats(label) for block in spectra])
        for name, label in _SPECTRUM_LABELS.items()
    }
    if all(_ORIENTABILITY in block for block in spectra):
        values["orientability"] = np.stack([block.floats(_ORIENTABILITY) for block in spectra])
    return ModelFile(
        **values,
        class_files=classes.strings("rlnReferenceImage"),
        group_names=groups.strings("rlnGroupName"),
        group_n_particles=groups.ints("rlnGroupNrParticles"),
        scale_correction=groups.floats("rlnGroupScaleCorrection"),
        sigma2_noise=_read_noise(blocks, path, int(general.ints("rlnNrOpticsGroups")[0]), n_shells),
        pdf_direction=_read_directions(blocks, path, n_classes),
    )


def _block(
    blocks: Mapping[str, StarBlock],
    name: str,
    path: str | os.PathLike[str],
    n_rows: int | None = None,
) -> StarBlock:
    """Give a block that must exist, with a known number of rows if given."""
    if name not in blocks:
        raise StarError(
            f"{path}: has no data_{name}; the file is incomplete: take another iteration"
        )
    block = blocks[name]
    if n_rows is not None and block.n_rows != n_rows:
        raise StarError(
            f"{path}: data_{name} has {block.n_rows} rows instead of {n_rows}; "
            "the file is damaged: take another iteration"
        )
    return block


def _read_noise(
    blocks: Mapping[str, StarBlock],
    path: str | os.PathLike[str],
    n_optics: int,
    n_shells: int,
) -> NDArray[np.float64]:
    """Noise spectra; the index column counts, since rows <= 0 are left out."""
    sigma2 = np.zeros((n_optics, n_shells), dtype=np.float64)
    for g in range(n_optics):
        block = _block(blocks, f"model_optics_group_{g + 1}", path)
        shells = block.ints("rlnSpectralIndex")
        if shells.size and not 0 <= shells.min() <= shells.max() < n_shells:
            raise StarError(
                f"{path}: data_{block.name} has rlnSpectralIndex outside 0..{n_shells - 1}; "
                "the file is damaged: take another iteration"
            )
        sigma2[g, shells] = block.floats("rlnSigma2Noise")
    return sigma2


def _read_directions(
    blocks: Mapping[str, StarBlock], path: str | os.PathLike[str], n_classes: int
) -> NDArray[np.float64] | None:
    """Direction priors, or None if any class has none."""
    names = [f"{_DIRECTIONS}{k + 1}" for k in range(n_classes)]
    if not all(name in blocks for name in names):
        return None
    first = blocks[names[0]]
    rows = [
        _block(blocks, name, path, first.n_rows).floats("rlnOrientationDistribution")
        for name in names
    ]
    return np.stack(rows)


def write_model(path: str | os.PathLike[str], model: ModelFile) -> None:
    """Write a model file with RELION's blocks, labels and order.

    Parameters
    ----------
    path
        File to write.
    model
        The model of one half-set, or the joint one.

    Notes
    -----
    Specification E 6.3, but with all digits: with RELION's six decimals a continued run has
    another resolution and other spectra than the one it goes on from, and soon other poses.
    """
    n_groups = len(model.group_names)
    classes: dict[str, Column] = {"rlnReferenceImage": model.class_files}
    classes |= {label: getattr(model, name) for name, label in _CLASS_LABELS.items()}
    groups: dict[str, Column] = {
        "rlnGroupNumber": np.arange(1, n_groups + 1),
        "rlnGroupName": model.group_names,
        "rlnGroupNrParticles": np.asarray(model.group_n_particles, dtype=np.int64),
        "rlnGroupScaleCorrection": model.scale_correction,
    }
    blocks: list[Block] = [_general_block(model), StarTable("model_classes", classes)]
    blocks += [_class_block(model, k) for k in range(model.n_classes)]
    blocks.append(StarTable("model_groups", groups))
    blocks += [_noise_block(model, g) for g in range(len(model.sigma2_noise))]
    if model.pdf_direction is not None:
        blocks += [
            StarTable(f"model_pdf_orient_class_{k + 1}", {"rlnOrientationDistribution": pdf})
            for k, pdf in enumerate(model.pdf_direction)
        ]
    write_star(path, blocks, all_digits=True)


def _general_block(model: ModelFile) -> StarTable:
    return StarTable.of_values(
        "model_general",
        {
            "rlnReferenceDimensionality": 3,
            "rlnDataDimensionality": 2,
            "rlnOriginalImageSize": model.ori_size,
            "rlnCurrentResolution": float(model.current_resolution_angst),
            "rlnCurrentImageSize": model.current_size,
            "rlnPaddingFactor": float(model.padding_factor),
            "rlnIsHelix": 0,
            "rlnFourierSpaceInterpolator": model.interpolator,
            "rlnMinRadiusNnInterpolation": model.r_min_nn,
            "rlnPixelSize": float(model.pixel_size_angst),
            "rlnNrClasses": model.n_classes,
            "rlnNrBodies": 1,
            "rlnNrGroups": len(model.group_names),
            "rlnNrOpticsGroups": len(model.sigma2_noise),
            "rlnTau2FudgeFactor": float(model.tau2_fudge),
            "rlnNormCorrectionAverage": float(model.avg_norm_correction),
            "rlnSigmaOffsetsAngst": float(model.sigma_offset_angst),
            "rlnOrientationalPriorMode": model.orientational_prior_mode,
            "rlnSigmaPriorRotAngle": float(model.sigma_rot_deg),
            "rlnSigmaPriorTiltAngle": float(model.sigma_tilt_deg),
            "rlnSigmaPriorPsiAngle": float(model.sigma_psi_deg),
            "rlnLogLikelihood": float(model.log_likelihood),
            "rlnAveragePmax": float(model.ave_pmax),
        },
    )


def _for_readers(values: NDArray[np.float64]) -> list[str]:
    """Reals that no run goes on from, in RELION's format."""
    return [text.strip() for text in format_floats(values)]


def _class_block(model: ModelFile, k: int) -> StarTable:
    shells = np.arange(model.n_shells)
    box_angst = model.ori_size * model.pixel_size_angst
    columns: dict[str, Column] = {
        "rlnSpectralIndex": shells,
        "rlnResolution": _for_readers(shells / box_angst),
        "rlnAngstromResolution": _for_readers(
            np.where(shells == 0, _NO_RESOLUTION_ANGST, box_angst / np.maximum(shells, 1))
        ),
    }
    columns |= {label: getattr(model, name)[k] for name, label in _SPECTRUM_LABELS.items()}
    if model.orientability is not None:
        columns[_ORIENTABILITY] = model.orientability[k]
    return StarTable(f"model_class_{k + 1}", columns)


def _noise_block(model: ModelFile, g: int) -> StarTable:
    shells = np.flatnonzero(model.sigma2_noise[g] > 0)
    return StarTable(
        f"model_optics_group_{g + 1}",
        {
            "rlnSpectralIndex": shells,
            "rlnResolution": _for_readers(shells / (model.ori_size * model.pixel_size_angst)),
            "rlnSigma2Noise": model.sigma2_noise[g, shells],
        },
    )
