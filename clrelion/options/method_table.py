"""The table of the options of the method; that of all options is built on it."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from clrelion.constants import N_MAX_CLASSES
from clrelion.options.flags import (
    AUTO,
    COMMAND,
    CORRECTIONS,
    CTF,
    EXPECTATION,
    FILES,
    ITERATIONS,
    MASK,
    MAXIMIZATION,
    OVERRIDE,
    OVERRIDE_CLASS3D,
    POINT_GROUPS,
    REFERENCE,
    SAMPLING,
    Count,
    Flag,
    HealpixOrder,
    OffFloat,
    OffInt,
    OffName,
    Positive,
    Seed,
    SymmetryName,
)


class MethodOptions(BaseModel):
    """Options of the method: what is computed from what."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    particles_star: Annotated[
        str, Flag("i", FILES, "", "STAR file of the particles.", hint="STAR")
    ] = ""
    output_root: Annotated[
        str, Flag("o", FILES, "",
            "Root of all output names, e.g. Refine3D/job001/run.", COMMAND, "ROOT")
    ] = ""
    pixel_size_angst: Annotated[
        OffFloat, Flag("angpix", FILES, "Å/px",
            "Pixel size of a legacy STAR file without one; overrides the map's header.", COMMAND)
    ] = None

    reference: Annotated[
        OffName, Flag("ref", REFERENCE, "",
            "Start map, or a STAR file that lists one map a class.", hint="MAP|STAR")
    ] = None
    ini_high_angst: Annotated[
        OffFloat, Flag("ini_high", REFERENCE, "Å", "Low-pass filter of the start reference.")
    ] = None
    firstiter_cc: Annotated[
        bool, Flag("firstiter_cc", REFERENCE, "",
            "Cross-correlation in iteration 1: for references of unknown intensity scale.")
    ] = False
    ref_pixel_size_angst: Annotated[
        OffFloat, Flag("ref_angpix", REFERENCE, "Å/px",
            "Pixel size of the reference (default: from its header).")
    ] = None
    trust_ref_size: Annotated[
        bool, Flag("trust_ref_size", REFERENCE, "",
            "Rescale and re-window a reference whose pixel or box differs from the particles.")
    ] = False

    n_iterations: Annotated[
        int, Field(ge=1, le=999), Flag("iter", ITERATIONS, "",
            "Iterations of a classification.", OVERRIDE)
    ] = 50
    n_classes: Annotated[
        int, Field(ge=1, le=N_MAX_CLASSES), Flag("K", ITERATIONS, "",
            "Number of classes, when one start map is given.")
    ] = 1
    tau2_fudge: Annotated[
        Positive, Flag("tau2_fudge", ITERATIONS, "",
            "Regularisation parameter T: above 1 gives the data more weight.", OVERRIDE)
    ] = 1.0
    random_seed: Annotated[
        Seed, Flag("random_seed", ITERATIONS, "",
            "Seed; 0: do not shuffle the particles (default: from the clock).")
    ] = None
    skip_align: Annotated[
        bool, Flag("skip_align", ITERATIONS, "",
            "Keep the poses of the input, only classify.", OVERRIDE)
    ] = False
    skip_rotate: Annotated[
        bool, Flag("skip_rotate", ITERATIONS, "",
            "Keep the orientations of the input, search shifts and classes.", OVERRIDE)
    ] = False
    skip_maximize: Annotated[
        bool, Flag("skip_maximize", ITERATIONS, "",
            "Expectation step only: write the data STAR file and stop.", OVERRIDE)
    ] = False

    ctf: Annotated[
        bool, Flag("ctf", CTF, "", "Correct for the CTF.")
    ] = False
    ctf_uncorrected_ref: Annotated[
        bool, Flag("ctf_uncorrected_ref", CTF, "",
            "The start reference is not CTF-corrected (matters in iteration 1).")
    ] = False
    ctf_phase_flipped: Annotated[
        bool, Flag("ctf_phase_flipped", CTF, "", "The images have been phase-flipped already.")
    ] = False
    only_flip_phases: Annotated[
        bool, Flag("only_flip_phases", CTF, "", "Correct phases only, not amplitudes.")
    ] = False
    ctf_intact_first_peak: Annotated[
        bool, Flag("ctf_intact_first_peak", CTF, "", "Leave the CTF at 1 up to its first peak.")
    ] = False

    particle_diameter_angst: Annotated[
        OffFloat, Flag("particle_diameter", MASK, "Å",
            "Diameter of the circular mask (default: the box less the soft edge).", OVERRIDE)
    ] = None
    zero_mask: Annotated[
        bool, Flag("zero_mask", MASK, "",
            "Fill the background of the images with their mean, not with noise.")
    ] = False
    flatten_solvent: Annotated[
        bool, Flag("flatten_solvent", MASK, "", "Mask the maps after each iteration.", OVERRIDE)
    ] = False
    solvent_mask: Annotated[
        OffName, Flag("solvent_mask", MASK, "",
            "Mask for the maps instead of the sphere.", OVERRIDE, "MAP")
    ] = None
    solvent_mask2: Annotated[
        OffName, Flag("solvent_mask2", MASK, "",
            "Second mask: its region keeps its own average density.", OVERRIDE, "MAP")
    ] = None
    solvent_correct_fsc: Annotated[
        bool, Flag("solvent_correct_fsc", MASK, "",
            "Mask-corrected FSC (phase randomisation) in every iteration.", OVERRIDE)
    ] = False
    width_mask_edge_px: Annotated[
        int, Field(ge=0), Flag("maskedge", MASK, "px", "Width of soft mask edges.")
    ] = 5

    oversampling: Annotated[
        int, Field(ge=0, le=4), Flag("oversampling", SAMPLING, "",
            "Adaptive oversampling order (0: one pass, 1: twice as fine, ...).", OVERRIDE)
    ] = 1
    healpix_order: Annotated[
        HealpixOrder, Flag("healpix_order", SAMPLING, "",
            "Order of the coarse grid (2: 15 deg, 3: 7.5 deg, ...).", OVERRIDE_CLASS3D)
    ] = 2
    psi_step_deg: Annotated[
        OffFloat, Flag("psi_step", SAMPLING, "deg",
            "Coarse in-plane step (default: that of --healpix_order).", OVERRIDE_CLASS3D)
    ] = None
    offset_range_px: Annotated[
        float, Field(ge=0), Flag("offset_range", SAMPLING, "px",
            "Radius of the shift search.", OVERRIDE_CLASS3D)
    ] = 6.0
    offset_step_px: Annotated[
        Positive, Flag("offset_step", SAMPLING, "px",
            "Coarse step of the shift search.", OVERRIDE_CLASS3D)
    ] = 2.0
    perturb: Annotated[
        float, Field(ge=0, le=1), Flag("perturb", SAMPLING, "",
            "Random perturbation of the sampling, in steps.", OVERRIDE)
    ] = 0.5
    limit_tilt_deg: Annotated[
        float, Field(ge=-180, le=180), Flag("limit_tilt", SAMPLING, "deg",
            "Positive: keep side views only; negative: top views only; beyond 90: all.")
    ] = -91.0
    symmetry: Annotated[
        SymmetryName, Flag("sym", SAMPLING, "", f"Point group: {POINT_GROUPS}.", hint="GROUP")
    ] = "C1"
    sigma_ang_deg: Annotated[
        OffFloat, Flag("sigma_ang", SAMPLING, "deg",
            "Local searches: standard deviation of all three angles.", OVERRIDE)
    ] = None
    sigma_rot_deg: Annotated[
        OffFloat, Flag("sigma_rot", SAMPLING, "deg",
            "Local searches: standard deviation of rot.", OVERRIDE)
    ] = None
    sigma_tilt_deg: Annotated[
        OffFloat, Flag("sigma_tilt", SAMPLING, "deg",
            "Local searches: standard deviation of tilt.", OVERRIDE)
    ] = None
    sigma_psi_deg: Annotated[
        OffFloat, Flag("sigma_psi", SAMPLING, "deg",
            "Local searches: standard deviation of psi.", OVERRIDE)
    ] = None
    sigma_offset_angst: Annotated[
        Positive, Flag("offset", SAMPLING, "Å",
            "Initial standard deviation of the shifts (RELION 1.x: in pixels).", OVERRIDE)
    ] = 10.0
    min_sigma2_offset_angst2: Annotated[
        float, Field(ge=0), Flag("min_sigma2_offset", SAMPLING, "Å^2",
            "Lower bound of the variance of the shifts.")
    ] = 2.0
    consistent_offset_prior: Annotated[
        bool, Flag("consistent_offset_prior", SAMPLING, "",
            "Offset prior all in Å; RELION, and the default, mixes Å and pixels.", OVERRIDE)
    ] = False
    relion_quirks: Annotated[
        bool, Flag("relion_quirks", SAMPLING, "",
            "Do as RELION where its psi prior does not follow the symmetry mate.", OVERRIDE)
    ] = False

    auto_refine: Annotated[
        bool, Flag("auto_refine", AUTO, "",
            "Gold-standard refinement; needs --split_random_halves.")
    ] = False
    split_random_halves: Annotated[
        bool, Flag("split_random_halves", AUTO, "",
            "Refine two halves of the particles independently.")
    ] = False
    low_resol_join_halves_angst: Annotated[
        OffFloat, Flag("low_resol_join_halves", AUTO, "Å",
            "Average the two halves up to this resolution.")
    ] = None
    auto_local_healpix_order: Annotated[
        HealpixOrder, Flag("auto_local_healpix_order", AUTO, "",
            "Order from which searches are local.", OVERRIDE)
    ] = 4
    auto_sampling: Annotated[
        bool, Flag("auto_sampling", AUTO, "",
            "Refine the sampling automatically outside auto-refine too.")
    ] = False
    auto_iter_max: Annotated[
        int, Field(ge=1, le=999), Flag("auto_iter_max", AUTO, "",
            "Most iterations of auto-refine.", COMMAND)
    ] = 999
    auto_ignore_angles: Annotated[
        bool, Flag("auto_ignore_angles", AUTO, "",
            "Refine the sampling although orientations still change.", COMMAND)
    ] = False
    auto_resol_angles: Annotated[
        bool, Flag("auto_resol_angles", AUTO, "",
            "Refine the sampling as soon as the resolution asks for it.", COMMAND)
    ] = False
    minimum_angular_sampling_deg: Annotated[
        OffFloat, Flag("minimum_angular_sampling", AUTO, "deg",
            "Refine the fine angular step at least to this.", COMMAND)
    ] = None
    maximum_angular_sampling_deg: Annotated[
        OffFloat, Flag("maximum_angular_sampling", AUTO, "deg",
            "Do not refine the fine angular step below this.", COMMAND)
    ] = None
    allow_coarser_sampling: Annotated[
        bool, Flag("allow_coarser_sampling", AUTO, "",
            "Classification: coarser sampling while accuracies are poor.", COMMAND)
    ] = False
    abort_at_resolution_angst: Annotated[
        OffFloat, Flag("abort_at_resolution", AUTO, "Å",
            "Stop once the resolution is better than this.", COMMAND)
    ] = None

    norm: Annotated[
        bool, Flag("norm", CORRECTIONS, "", "Correct each particle's normalisation.", OVERRIDE)
    ] = False
    no_norm: Annotated[
        bool, Flag("no_norm", CORRECTIONS, "", "Switch --norm off; wins over it.", OVERRIDE)
    ] = False
    scale: Annotated[
        bool, Flag("scale", CORRECTIONS, "",
            "Correct the intensity scale of each micrograph group.", OVERRIDE)
    ] = False
    no_scale: Annotated[
        bool, Flag("no_scale", CORRECTIONS, "", "Switch --scale off; wins over it.", OVERRIDE)
    ] = False
    sigma2_noise_file: Annotated[
        OffName, Flag("sigma", CORRECTIONS, "",
            "STAR file of the initial noise spectrum.", hint="STAR")
    ] = None
    n_particles_sigma2_noise: Annotated[
        Count, Flag("nr_parts_sigma2noise", CORRECTIONS, "",
            "Most particles of an optics group used for its initial noise spectrum.")
    ] = 1000
    sigma2_fudge: Annotated[
        Positive, Flag("sigma2_fudge", CORRECTIONS, "",
            "Multiplies the noise variance in likelihoods.")
    ] = 1.0
    fix_sigma_noise: Annotated[
        bool, Flag("fix_sigma_noise", CORRECTIONS, "", "Do not update the noise spectra.")
    ] = False
    fix_sigma_offset: Annotated[
        bool, Flag("fix_sigma_offset", CORRECTIONS, "",
            "Do not update the standard deviation of the shifts.")
    ] = False
    dont_check_norm: Annotated[
        bool, Flag("dont_check_norm", CORRECTIONS, "", "Do not check the images' normalisation.")
    ] = False

    adaptive_fraction: Annotated[
        float, Field(gt=0, le=1), Flag("adaptive_fraction", EXPECTATION, "",
            "Part of the probability kept from the coarse for the fine pass.")
    ] = 0.999
    max_significant: Annotated[
        OffInt, Flag("maxsig", EXPECTATION, "",
            "Most coarse samples kept for the fine pass.", OVERRIDE,
            aliases=("max_significants",))
    ] = None
    max_coarse_size_px: Annotated[
        OffInt, Flag("coarse_size", EXPECTATION, "px", "Largest image size of the coarse pass.")
    ] = None
    incr_size: Annotated[
        Count, Flag("incr_size", EXPECTATION, "shells",
            "Fourier shells used beyond the current resolution.")
    ] = 10
    strict_highres_exp_angst: Annotated[
        OffFloat, Flag("strict_highres_exp", EXPECTATION, "Å",
            "Compare no frequencies above this resolution.", OVERRIDE)
    ] = None
    strict_lowres_exp_angst: Annotated[
        OffFloat, Flag("strict_lowres_exp", EXPECTATION, "Å",
            "Compare no frequencies below this resolution.")
    ] = None
    always_cc: Annotated[
        bool, Flag("always_cc", EXPECTATION, "", "Cross-correlation in all iterations.")
    ] = False
    no_map: Annotated[
        bool, Flag("no_map", EXPECTATION, "",
            "No priors: maximum likelihood instead of maximum a posteriori.")
    ] = False

    padding: Annotated[
        float, Field(ge=1, le=4), Flag("pad", MAXIMIZATION, "",
            "Oversampling of the references' Fourier transforms.", OVERRIDE)
    ] = 2.0
    tau2_file: Annotated[
        OffName, Flag("tau", MAXIMIZATION, "",
            "STAR file of a fixed signal-power spectrum.", OVERRIDE, "STAR")
    ] = None
    minres_map: Annotated[
        Count, Flag("minres_map", MAXIMIZATION, "shells",
            "Lowest shells, not regularised.", OVERRIDE)
    ] = 5
    center_classes: Annotated[
        bool, Flag("center_classes", MAXIMIZATION, "",
            "Recentre the maps on their centre of mass (not with halves).", OVERRIDE)
    ] = False
