"""``_optimiser.star``: the state of a run, from which it can be continued."""

import os
from dataclasses import MISSING, dataclass, field, fields
from typing import Any

from clrelion.constants import PROGRAM_NAME, VERSION
from clrelion.errors import ContinueError
from clrelion.io.star import StarBlock, read_comments, read_star
from clrelion.io.star_writer import Block, Scalar, StarTable, write_star

_BLOCK = "optimiser_general"
_OWN_BLOCK = "clrelion"
_NO_FILE = "None"


@dataclass(kw_only=True)
class OptimiserFile:
    """Contents of an optimiser file; fields with a default may be absent in a file read.

    Names are those of the specification's tables (E 6.5); lengths are in Å and angles in degrees
    where the name says so, resolutions in 1/Å (``best_resolution_inv_angst``).  File names that
    are not used are None.  ``iteration`` is -1 in the final file of a converged auto-refine.

    Attributes
    ----------
    program, command_line
        The two leading comment lines.
    own_options
        Options that only clrelion has, as strings; kept in an extra block that RELION ignores.
    """

    output_root: str
    model_star: str
    model_star2: str | None = None
    data_star: str
    sampling_star: str
    iteration: int
    n_iterations: int
    do_split_random_halves: bool
    low_resol_join_halves_angst: float
    adaptive_oversampling: int
    adaptive_fraction: float
    random_seed: int
    particle_diameter_angst: float
    width_mask_edge_px: int
    do_zero_mask: bool
    do_solvent_flattening: bool
    do_solvent_fsc_correction: bool
    solvent_mask: str | None
    solvent_mask2: str | None
    tau_spectrum: str | None
    max_coarse_size_px: int
    highres_limit_angst: float
    lowres_limit_angst: float = -1.0
    incr_size: int
    do_map: bool
    tau2_fudge: float = -1.0
    max_significant: int = -1
    do_auto_refine: bool
    do_auto_sampling: bool = False
    auto_local_healpix_order: int
    n_iter_without_resolution_gain: int
    best_resolution_inv_angst: float
    n_iter_without_assignment_changes: int
    do_skip_align: bool
    do_skip_rotate: bool = False
    acc_rot_deg: float
    acc_trans_angst: float
    changes_orientations_deg: float
    changes_offsets_angst: float
    changes_classes: float
    smallest_changes_orientations_deg: float
    smallest_changes_offsets_angst: float
    smallest_changes_classes: int
    has_converged: bool
    has_high_fsc_at_limit: bool
    n_iter_since_large_size_increase: int
    do_norm_correction: bool
    do_scale_correction: bool
    do_ctf_correction: bool
    do_center_classes: bool = False
    do_ctf_intact_first_peak: bool
    is_ctf_phase_flipped: bool
    do_only_flip_phases: bool
    refs_are_ctf_corrected: bool
    do_fix_sigma_noise: bool
    do_fix_sigma_offset: bool
    n_pool: int
    own_options: dict[str, str] = field(default_factory=dict)
    program: str = f"{PROGRAM_NAME} optimiser; version {VERSION}"
    command_line: str = ""


@dataclass(frozen=True)
class _Constant:
    """Value of a label that only means something in modes that clrelion does not have."""

    value: Scalar


_OFF = _Constant(0)
_UNSET = _Constant(-1)
_UNSET_REAL = _Constant(-1.0)
_ZERO = _Constant(0.0)
_NONE = _Constant(_NO_FILE)
_EMPTY = _Constant("")

# RELION 5.0.1's labels in its order: the field of each, or the constant to write.
_ROWS: tuple[tuple[str, str | _Constant], ...] = (
    ("rlnOutputRootName", "output_root"),
    ("rlnModelStarFile", "model_star"),
    ("rlnModelStarFile2", "model_star2"),
    ("rlnExperimentalDataStarFile", "data_star"),
    ("rlnTomoTomogramsFile", _EMPTY),
    ("rlnTomoTrajectoriesFile", _EMPTY),
    ("rlnOrientSamplingStarFile", "sampling_star"),
    ("rlnCurrentIteration", "iteration"),
    ("rlnNumberOfIterations", "n_iterations"),
    ("rlnDoSplitRandomHalves", "do_split_random_halves"),
    ("rlnJoinHalvesUntilThisResolution", "low_resol_join_halves_angst"),
    ("rlnAdaptiveOversampleOrder", "adaptive_oversampling"),
    ("rlnAdaptiveOversampleFraction", "adaptive_fraction"),
    ("rlnRandomSeed", "random_seed"),
    ("rlnParticleDiameter", "particle_diameter_angst"),
    ("rlnWidthMaskEdge", "width_mask_edge_px"),
    ("rlnDoZeroMask", "do_zero_mask"),
    ("rlnDoSolventFlattening", "do_solvent_flattening"),
    ("rlnDoSolventFscCorrection", "do_solvent_fsc_correction"),
    ("rlnSolventMaskName", "solvent_mask"),
    ("rlnSolventMask2Name", "solvent_mask2"),
    ("rlnBodyStarFile", _NONE),
    ("rlnTauSpectrumName", "tau_spectrum"),
    ("rlnMaximumCoarseImageSize", "max_coarse_size_px"),
    ("rlnHighresLimitExpectation", "highres_limit_angst"),
    ("rlnLowresLimitExpectation", "lowres_limit_angst"),
    ("rlnIncrementImageSize", "incr_size"),
    ("rlnDoMapEstimation", "do_map"),
    ("rlnDoFastSubsetOptimisation", _OFF),
    ("rlnDoExternalReconstruct", _OFF),
    ("rlnDoBlush", _OFF),
    ("rlnBlushNoSpectralTrailing", _OFF),
    ("rlnDoGradientRefine", _OFF),
    ("rlnDoStochasticGradientDescent", _OFF),
    ("rlnGradEmIters", _OFF),
    ("rlnGradHasConverged", _OFF),
    ("rlnGradCurrentStepsize", _ZERO),
    ("rlnGradSubsetOrder", _OFF),
    ("rlnGradSuspendFinerSamplingIter", _UNSET),
    ("rlnGradSuspendLocalSamplingIter", _UNSET),
    ("rlnSgdInitialIterationsFraction", _Constant(0.3)),
    ("rlnSgdFinalIterationsFraction", _Constant(0.2)),
    ("rlnSgdMinimumResolution", _Constant(20.0)),
    ("rlnSgdInitialResolution", _UNSET_REAL),
    ("rlnSgdFinalResolution", _UNSET_REAL),
    ("rlnSgdInitialSubsetSize", _UNSET),
    ("rlnSgdFinalSubsetSize", _UNSET),
    ("rlnSgdMuFactor", _ZERO),
    ("rlnSgdSkipAnneal", _OFF),
    ("rlnSgdClassInactivityThreshold", _ZERO),
    ("rlnSgdSubsetSize", _UNSET),
    ("rlnSgdWriteEverySubset", _Constant(10)),
    ("rlnSgdStepsize", _UNSET_REAL),
    ("rlnSgdStepsizeScheme", _EMPTY),
    ("rlnTau2FudgeScheme", _EMPTY),
    ("rlnTau2FudgeArg", "tau2_fudge"),
    ("rlnMaximumSignificantPoses", "max_significant"),
    ("rlnDoAutoRefine", "do_auto_refine"),
    ("rlnDoAutoSampling", "do_auto_sampling"),
    ("rlnAutoLocalSearchesHealpixOrder", "auto_local_healpix_order"),
    ("rlnNumberOfIterWithoutResolutionGain", "n_iter_without_resolution_gain"),
    ("rlnBestResolutionThusFar", "best_resolution_inv_angst"),
    ("rlnNumberOfIterWithoutChangingAssignments", "n_iter_without_assignment_changes"),
    ("rlnDoSkipAlign", "do_skip_align"),
    ("rlnDoSkipRotate", "do_skip_rotate"),
    ("rlnOverallAccuracyRotations", "acc_rot_deg"),
    ("rlnOverallAccuracyTranslationsAngst", "acc_trans_angst"),
    ("rlnChangesOptimalOrientations", "changes_orientations_deg"),
    ("rlnChangesOptimalOffsets", "changes_offsets_angst"),
    ("rlnChangesOptimalClasses", "changes_classes"),
    ("rlnSmallestChangesOrientations", "smallest_changes_orientations_deg"),
    ("rlnSmallestChangesOffsets", "smallest_changes_offsets_angst"),
    ("rlnSmallestChangesClasses", "smallest_changes_classes"),
    ("rlnLocalSymmetryFile", _NONE),
    ("rlnDoHelicalRefine", _OFF),
    ("rlnIgnoreHelicalSymmetry", _OFF),
    ("rlnFourierMask", _NONE),
    ("rlnHelicalTwistInitial", _ZERO),
    ("rlnHelicalRiseInitial", _ZERO),
    ("rlnHelicalCentralProportion", _Constant(0.3)),
    ("rlnNrHelicalNStart", _Constant(1)),
    ("rlnHelicalMaskTubeInnerDiameter", _UNSET_REAL),
    ("rlnHelicalMaskTubeOuterDiameter", _UNSET_REAL),
    ("rlnHelicalSymmetryLocalRefinement", _OFF),
    ("rlnHelicalSigmaDistance", _UNSET_REAL),
    ("rlnHelicalKeepTiltPriorFixed", _OFF),
    ("rlnHasConverged", "has_converged"),
    ("rlnHasHighFscAtResolLimit", "has_high_fsc_at_limit"),
    ("rlnHasLargeSizeIncreaseIterationsAgo", "n_iter_since_large_size_increase"),
    ("rlnDoCorrectNorm", "do_norm_correction"),
    ("rlnDoCorrectScale", "do_scale_correction"),
    ("rlnDoCorrectCtf", "do_ctf_correction"),
    ("rlnDoCenterClasses", "do_center_classes"),
    ("rlnDoIgnoreCtfUntilFirstPeak", "do_ctf_intact_first_peak"),
    ("rlnCtfDataArePhaseFlipped", "is_ctf_phase_flipped"),
    ("rlnDoOnlyFlipCtfPhases", "do_only_flip_phases"),
    ("rlnRefsAreCtfCorrected", "refs_are_ctf_corrected"),
    ("rlnFixSigmaNoiseEstimates", "do_fix_sigma_noise"),
    ("rlnFixSigmaOffsetEstimates", "do_fix_sigma_offset"),
    ("rlnMaxNumberOfPooledParticles", "n_pool"),
    ("rlnOffsetRangeX", _UNSET_REAL),
    ("rlnOffsetRangeY", _UNSET_REAL),
    ("rlnOffsetRangeZ", _UNSET_REAL),
)


def read_optimiser(path: str | os.PathLike[str]) -> OptimiserFile:
    """Read an optimiser file of clrelion or RELION.

    Parameters
    ----------
    path
        ``X_optimiser.star``.

    Raises
    ------
    StarError
        The file cannot be read, or lacks a label that the state needs.
    ContinueError
        It is no optimiser file.

    Notes
    -----
    Specification E 6.5, E 6.6.
    """
    blocks = read_star(path)
    if _BLOCK not in blocks:
        raise ContinueError(
            f"{path}: has no data_{_BLOCK}; --continue needs the _optimiser.star of an iteration"
        )
    block = blocks[_BLOCK]
    kinds = {f.name: f for f in fields(OptimiserFile)}
    values: dict[str, Any] = {}
    for label, target in _ROWS:
        if isinstance(target, _Constant):
            continue
        kind = kinds[target]
        if label not in block and kind.default is not MISSING:
            continue
        values[target] = _value_of(block, label, kind.type)
    own = blocks.get(_OWN_BLOCK)
    comments = [*read_comments(path), "", ""]
    return OptimiserFile(
        **values,
        own_options={label: column[0] for label, column in own.columns.items()} if own else {},
        program=comments[0],
        command_line=comments[1],
    )


def _value_of(block: StarBlock, label: str, kind: Any) -> Any:
    """Value of a label as the type of its field."""
    if kind is bool:
        return bool(block.ints(label)[0])
    if kind is int:
        return int(block.ints(label)[0])
    if kind is float:
        return float(block.floats(label)[0])
    text = block.strings(label)[0]
    return text if kind is str or text not in (_NO_FILE, "") else None


def write_optimiser(
    path: str | os.PathLike[str], optimiser: OptimiserFile, all_digits: bool = False
) -> None:
    """Write an optimiser file with all labels of RELION 5.0.1, so that RELION can go on from it.

    Parameters
    ----------
    path
        File to write.
    optimiser
        State of the run.
    all_digits
        See :func:`~clrelion.io.star_writer.write_star`.

    Notes
    -----
    Specification E 6.5.
    """
    values: dict[str, Scalar] = {}
    for label, target in _ROWS:
        if isinstance(target, _Constant):
            values[label] = target.value
            continue
        value = getattr(optimiser, target)
        if value is None and target == "model_star2":
            continue  # only there while the halves are split
        values[label] = _NO_FILE if value is None else value
    blocks: list[Block] = [StarTable.of_values(_BLOCK, values)]
    if optimiser.own_options:
        blocks.append(StarTable.of_values(_OWN_BLOCK, optimiser.own_options))
    comments = (optimiser.program, optimiser.command_line)
    write_star(path, blocks, comments, all_digits)
