"""What is run beside an installed RELION: sets, options, and what the versions do not share."""

from __future__ import annotations

from dataclasses import dataclass

from tools.parity.bounds import BOUNDS, Bounds, Relaxation

NOISE_INSIDE = "sigma2_noise below the Nyquist shell of the smallest box"
FSC_BELOW = "fsc below the shells of random phases"


@dataclass(frozen=True)
class OracleCase:
    """One set and what to do with it.

    Attributes
    ----------
    name
        Of the case.
    simulation, refinement
        Arguments of ``clrelion simulate`` and of both refinement programs, after the common ones.
        Files that ``oracle_inputs`` knows by name are made when they are named here.
    symmetry
        Point group of the run; of the set too, if `simulation` names no model.
    iterations
        Iterations to compare.
    relaxation
        What the two versions do not share; None: nothing.
    noise_shells
        If given, sigma2_noise is judged in the shells below this one alone.
    fsc_shells
        The same for the FSC.
    option
        The option that the case is about, beside `refinement`. Without it clrelion must not agree.
    relions_option
        RELION's spelling of it, if that is another.
    dropped
        Flags of the common part that the case is about leaving out.
    absent
        Flags of the common part that no run of the case has.
    n_ranks
        Of RELION; with three it splits half-sets.
    """

    name: str
    simulation: str
    refinement: str
    symmetry: str = "C1"
    iterations: tuple[int, ...] = (1, 2, 3)
    relaxation: Relaxation | None = None
    noise_shells: int | None = None
    fsc_shells: int | None = None
    option: str = ""
    relions_option: str | None = None
    dropped: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    n_ranks: int = 1

    @property
    def results_name(self) -> str:
        """Name of its folder; of its results file too, without the suffix."""
        return f"oracle_{self.name.replace(' ', '_')}"

    @property
    def bounds(self) -> Bounds:
        """How far an iteration may be from RELION's; double precision."""
        usual = BOUNDS["double"]
        return usual if self.relaxation is None else self.relaxation.relax(usual)

    @property
    def is_about_an_option(self) -> bool:
        """Whether there is something to leave out to see that it has an effect."""
        return bool(self.option or self.dropped)


_HIGH_SYMMETRY = "--ref ref01.mrc --ini_high 25 --healpix_order 3"
_ASYMMETRIC = "--ini_high 40 --healpix_order 1"
_MOLECULE = "--molecule seed:1,kda:100"
_TWO_GROUPS = "--particles_per_micrograph 30"
_VOLTAGES = f"{_MOLECULE} {_TWO_GROUPS} --optics voltage:100,ac:0.07"
_PLAIN = f"--ref ref01.mrc {_ASYMMETRIC}"

_ONE_EXTENT = Relaxation(
    "boxes of one extent in Å and no shifts, as 3.1.3 shifts an image by the period of the "
    "model's box. Left out: sigma2_noise from the Nyquist shell of the smaller box on, where it "
    "divides by the pixels of the model's shell; sigma_offset, for which it has no lower bound",
    only=frozenset({
        "norm", "pmax", "log-likelihood", "tau2", "data_vs_prior", "fsc", "scale", "class sizes",
        "average norm", "directions", "accuracy", "run_it001_class001.mrc",
        "run_it002_class001.mrc", "run_it003_class001.mrc", NOISE_INSIDE,
    }),
)  # fmt: skip
_TWO_EXTENTS = Relaxation(
    "3.1.3 does not compensate for boxes of different extent in Å; a correlation does not depend "
    "on the scale, so poses, Pmax and correlation of the first iteration are judged",
    only=frozenset({"pmax", "log-likelihood"}),
)

_KEPT_POSES = Relaxation(
    "RELION writes the number of the class in the place of the distribution of directions, which "
    "kept poses do not have",
    apart_from=frozenset({"directions"}),
)

_COPIED_DIRECTIONS = Relaxation(
    "the distribution of directions of iteration 1 is that of one class, copied to all; clrelion "
    "divides it by their number",
    apart_from=frozenset({"directions"}),
)
_RANDOM_PHASES = Relaxation(
    "where phases are randomised the correction is chance; judged are the maps before it, and the "
    "FSC within the mask in the shells below",
    apart_from=frozenset({"fsc", "run_it001_half1_class001.mrc", "run_it001_half2_class001.mrc"}),
)

_SETS = (
    *(OracleCase(g, "", _HIGH_SYMMETRY, g) for g in ("T", "O", "I1", "I2", "I3", "I4")),
    OracleCase(
        "K3",
        "--molecule seed:1,kda:100 --molecule seed:2,kda:100 --molecule seed:3,kda:100 --n 90",
        f"--ref refs.star {_ASYMMETRIC}",
    ),
    OracleCase("voltages", _VOLTAGES, _PLAIN),
    OracleCase(
        "boxes",
        f"{_MOLECULE} {_TWO_GROUPS} --optics box:32,angpix:5 --shift 0",
        f"{_PLAIN} --offset_range 0 --oversampling 0",
        relaxation=_ONE_EXTENT,
        noise_shells=16,
    ),
    OracleCase(
        "pixel sizes",
        f"{_MOLECULE} {_TWO_GROUPS} --optics angpix:4.4",
        _PLAIN,
        iterations=(1,),
        relaxation=_TWO_EXTENTS,
    ),
)

_SEEDED = OracleCase(
    "K3 from one map",
    "--molecule seed:1,kda:100 --molecule seed:2,kda:100 --molecule seed:3,kda:100 --n 90",
    f"--ref ref01.mrc --K 3 {_ASYMMETRIC}",
    relaxation=_COPIED_DIRECTIONS,
)
_POSED = f"{_PLAIN} --i posed.star"


def _option(
    option: str,
    refinement: str = _PLAIN,
    name: str | None = None,
    relions_option: str | None = None,
    absent: tuple[str, ...] = (),
    relaxation: Relaxation | None = None,
) -> OracleCase:
    return OracleCase(
        name or option,
        _VOLTAGES,
        refinement,
        option=option,
        relions_option=relions_option,
        absent=absent,
        relaxation=relaxation,
    )


def _left_out(flag: str) -> OracleCase:
    return OracleCase(f"without {flag}", _VOLTAGES, _PLAIN, dropped=(flag,))


_OPTIONS = (
    _option("--ctf_intact_first_peak"),
    _option("--ctf_phase_flipped"),
    _option("--only_flip_phases"),
    OracleCase(
        "--ctf_uncorrected_ref",
        _VOLTAGES,
        _PLAIN,
        option="--ctf_uncorrected_ref",
        relions_option="",
        dropped=("--ctf_corrected_ref",),
    ),
    _left_out("--ctf"),
    _left_out("--norm"),
    _left_out("--scale"),
    _left_out("--flatten_solvent"),
    _left_out("--firstiter_cc"),
    _option("--solvent_mask mask.mrc"),
    _option("--solvent_mask2 inner.mrc", f"{_PLAIN} --solvent_mask mask.mrc"),
    _option("--maskedge 2"),
    _option("--perturb 0.5"),
    _option("--tau tau.star"),
    _option("--strict_highres_exp 25"),
    _option("--strict_lowres_exp 60"),
    _option("--maxsig 2"),
    _option("--maxsig 2", f"{_PLAIN} --oversampling 0", name="--maxsig, one pass"),
    _option("--adaptive_fraction 0.5"),
    _option("--oversampling 0"),
    _option("--oversampling 2"),
    _option("--psi_step 20"),
    _option("--limit_tilt -40"),
    _option("--sigma noise.star", absent=("--firstiter_cc",)),
    _option("--offset 3", absent=("--firstiter_cc",)),
    _option("--coarse_size 6"),
    _option("--incr_size 2"),
    _option("--fix_sigma_noise"),
    _option("--fix_sigma_offset", f"{_PLAIN} --offset 8"),
    _option("--skip_align", _POSED, relaxation=_KEPT_POSES),
    _option("--skip_rotate", _POSED, relaxation=_KEPT_POSES),
    OracleCase(
        "--skip_align, K = 3",
        "--molecule seed:1,kda:100 --molecule seed:2,kda:100 --molecule seed:3,kda:100 --n 90",
        f"--ref refs.star {_ASYMMETRIC} --i posed.star",
        option="--skip_align",
        relaxation=_KEPT_POSES,
    ),
    _option("--sigma_ang 11", _POSED),
    OracleCase(
        "--sigma_ang in D2",
        f"{_MOLECULE},sym:D2",
        f"{_POSED} --sigma_ang 11 --ini_high 25",
        symmetry="D2",
        option="--relion_quirks",
        relions_option="",
    ),
    _option("--sigma_rot 11", _POSED),
    _option("--sigma_tilt 11", _POSED),
    _option("--sigma_psi 11", _POSED),
    _option(
        "--trust_ref_size --ref other.mrc",
        name="--trust_ref_size",
        relions_option="--ref rescaled.mrc",
    ),
)

_HALVES = "--auto_refine --split_random_halves --low_resol_join_halves 40 --sigma noise.star"

_AUTO_REFINE = (
    OracleCase(
        "auto-refine",
        f"{_VOLTAGES} --n 120 --particles_per_micrograph 60",
        f"{_PLAIN} {_HALVES} --auto_iter_max 4",
        iterations=(1, 2, 3, 4),
        n_ranks=3,
        absent=("--scale",),
    ),
    OracleCase(
        "--solvent_correct_fsc",
        f"{_VOLTAGES} --n 120 --particles_per_micrograph 60",
        f"{_PLAIN} {_HALVES} --solvent_mask mask.mrc --auto_iter_max 1",
        iterations=(1,),
        n_ranks=3,
        absent=("--scale",),
        option="--solvent_correct_fsc",
        relaxation=_RANDOM_PHASES,
        fsc_shells=7,
    ),
)

_FORMATS = (
    OracleCase("legacy STAR file", _MOLECULE, f"{_PLAIN} --i legacy.star"),
    OracleCase("8-bit stack", _VOLTAGES, f"{_PLAIN} --i int8.star --dont_check_norm"),
    OracleCase("16-bit stack", _VOLTAGES, f"{_PLAIN} --i int16.star --dont_check_norm"),
)

ORACLE_CASES = (*_SETS, _SEEDED, *_OPTIONS, *_AUTO_REFINE, *_FORMATS)

DIFFERENCES = (
    "3.1.3 has one noise spectrum a micrograph, 5.0.1 one an optics group: each optics group has "
    "one micrograph here.",
    "Its reconstruction is that of 5.0.1 with `--skip_gridding`.",
    "Its model file of iteration 0 and its overall Fourier completeness are defined differently: "
    "neither is compared. So is the accuracy after the first iteration, where it writes 0.",
)
"""What the two versions do not share in any run, for the page."""
