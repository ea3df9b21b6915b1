"""RELION's flags that are no options of clrelion: mapped, without effect, or out of scope.

Specification E 7.2 and 7.3; also the flags of RELION 1.x and GeRelion's own.
"""

import re
from dataclasses import dataclass

from clrelion.errors import OptionsError


@dataclass(frozen=True)
class Ignored:
    """A flag that is accepted and changes nothing; ``note`` says why, once."""

    note: str
    takes_value: bool = False


@dataclass(frozen=True)
class Refused:
    """A flag for something clrelion does not do; its default value (None: a switch) is harmless."""

    reason: str
    default: str | None = None


IGNORED: dict[str, Ignored] = {
    "pool": Ignored("the memory planner chooses how many particles make a batch", True),
    "dont_combine_weights_via_disc": Ignored("sums never go through the disc"),
    "no_parallel_disc_io": Ignored("each rank reads its own particles"),
    "onthefly_shifts": Ignored("shifts are applied on the device"),
    "memory_per_thread": Ignored("see --memory_limit", True),
    "ctf_corrected_ref": Ignored("it is the default; the opposite is --ctf_uncorrected_ref"),
    "failsafe_threshold": Ignored("there is no fail-safe mode", True),
    "sequential_halves_recons": Ignored("both halves are reconstructed in turn"),
    "skip_gridding": Ignored("it is the default"),
    "gridding_iter": Ignored("there is no iterative gridding", True),
    "r_min_nn": Ignored("it matters with --NN only, which is out of scope", True),
    "keep_scratch": Ignored("a copy that stays is made by `clrelion scratch copy`"),
}

_DEVICE_SWITCHES: dict[str, str] = {
    "cpu": "cpu",
    "sycl": "auto",
    "sycl-levelzero": "gpu",
    "sycl-cuda": "gpu",
    "sycl-hip": "gpu",
    "sycl-opencl": "auto",
    "sycl-cpu": "cpu",
}
DEVICE_FLAGS: dict[str, str] = {
    "gpu": "GPUs to use as RELION writes them: 0 or 0:1:2 (one a rank) or 0,1:2; alone: any GPU",
    "mode": "GeRelion: 0 = CPU, 1 = GPU if there is one",
    **{name: f"same as --device {spec}" for name, spec in _DEVICE_SWITCHES.items()},
}
"""Flags that set --device, with their help."""

_HELIX = "helical reconstruction is out of scope"
_GRADIENT = "gradient refinement and initial models are out of scope: give a --ref"
_TOMO = "subtomogram averaging is out of scope"
_BODIES = "multi-body refinement is out of scope"
_MOVIES = "movie refinement (RELION 1.x) is out of scope"
_GERELION = "GeRelion's mask and counter options are out of scope"
_GRIDDING = "interpolation is trilinear, with direct division of the padded transform"

REFUSED: dict[str, Refused] = {
    "helix": Refused(_HELIX),
    "ignore_helical_symmetry": Refused(_HELIX),
    "bimodal_psi": Refused(_HELIX),
    "helical_nr_asu": Refused(_HELIX, "1"),
    "helical_nstart": Refused(_HELIX, "1"),
    "helical_z_percentage": Refused(_HELIX, "0.3"),
    "helical_inner_diameter": Refused(_HELIX, "-1"),
    "helical_outer_diameter": Refused(_HELIX, "-1"),
    "helical_sigma_distance": Refused(_HELIX, "-1"),
    "helical_offset_step": Refused(_HELIX, "-1"),
    "helical_exclude_resols": Refused(_HELIX, ""),
    "helical_symmetry_search": Refused(_HELIX),
    "helical_keep_tilt_prior_fixed": Refused(_HELIX),
    "local_symmetry": Refused("local symmetry is out of scope", "None"),
    "relax_sym": Refused("symmetry relaxation is out of scope", ""),
    "reconstruct_subtracted_bodies": Refused(_BODIES),
    "sgd": Refused(_GRADIENT),
    "stochastic_em": Refused(_GRADIENT),
    "grad": Refused(_GRADIENT),
    "mu": Refused(_GRADIENT, "0.9"),
    "som": Refused("self-organising maps are out of scope"),
    "class_inactivity_threshold": Refused(_GRADIENT, "0"),
    "denovo_3dref": Refused(_GRADIENT),
    "no_init_blobs": Refused(_GRADIENT),
    "tau2_fudge_scheme": Refused("schemes of T are out of scope: give --tau2_fudge", ""),
    "tomograms": Refused(_TOMO, ""),
    "trajectories": Refused(_TOMO, ""),
    "ios": Refused(_TOMO, ""),
    "normalised_subtomo": Refused(_TOMO),
    "skip_subtomo_multi": Refused(_TOMO),
    "ctf3d_not_squared": Refused(_TOMO),
    "subtomo_multi_thr": Refused(_TOMO, "0.01"),
    "offset_range_x": Refused(_TOMO, "-1"),
    "offset_range_y": Refused(_TOMO, "-1"),
    "offset_range_z": Refused(_TOMO, "-1"),
    "external_reconstruct": Refused("reconstruction by an external program is out of scope"),
    "pad_ctf": Refused("padding against CTF aliasing is out of scope"),
    "lowpass": Refused("low-pass by region is out of scope", "0"),
    "lowpass_mask": Refused("low-pass by region is out of scope", "None"),
    "fourier_mask": Refused("Fourier masks are out of scope", "None"),
    "asymmetric_padding": Refused(_HELIX),
    "only_sample_tilt": Refused("sampling of the tilt alone is out of scope"),
    "fast_subsets": Refused("early iterations on subsets change the result, not only the time"),
    "NN": Refused(_GRIDDING),
    "dont_skip_gridding": Refused(_GRIDDING),
    "print_metadata_labels": Refused("labels are listed in RELION's documentation"),
    "realign_movie_frames": Refused(_MOVIES, ""),
    "sim_anneal": Refused("simulated annealing (RELION 1.x) is out of scope"),
    "red_mask": Refused(_GERELION, "None"),
    "yellow_mask": Refused(_GERELION, "None"),
    "yellow_map": Refused(_GERELION, "None"),
    "fsc_mask": Refused(_GERELION, "None"),
    "extra_iter": Refused(_GERELION, "0"),
}

_REFUSED_FAMILIES: dict[str, str] = {
    "helical_": _HELIX,
    "multibody_": _BODIES,
    "sgd_": _GRADIENT,
    "grad_": _GRADIENT,
    "som_": "self-organising maps are out of scope",
    "blush": "Blush regularisation is out of scope",
    "movie_": _MOVIES,
    "sim_anneal": "simulated annealing (RELION 1.x) is out of scope",
}


def refusal(name: str) -> Refused | None:
    """Return why a flag of RELION is refused; None if it is not one of those."""
    if name in REFUSED:
        return REFUSED[name]
    for prefix, reason in _REFUSED_FAMILIES.items():
        if name.startswith(prefix):
            return Refused(reason)
    return None


def device_of_switch(name: str) -> str:
    """Return the device that one of RELION's switches (``cpu``, ``sycl-cuda``, ...) stands for."""
    return _DEVICE_SWITCHES[name]


def device_of_mode(mode: str) -> str:
    """Return the device of GeRelion's ``--mode``.

    Raises
    ------
    OptionsError
        Neither 0 nor 1.
    """
    devices = {"0": "cpu", "1": "auto"}
    if mode not in devices:
        raise OptionsError(f"--mode {mode}: not allowed; allowed: 0 (CPU), 1 (GPU if there is one)")
    return devices[mode]


def device_of_gpu_list(text: str) -> str:
    """Translate the value of RELION's ``--gpu`` into that of ``--device``.

    Parameters
    ----------
    text
        Empty, or GPU numbers: colons separate ranks, commas the threads of one rank. A rank of
        clrelion drives one device, so lists for threads become as many entries as they have
        different numbers.

    Returns
    -------
    str
        ``gpu``, or ``gpu:N`` entries joined by commas, one a rank.

    Raises
    ------
    OptionsError
        Anything else than numbers, commas and colons.
    """
    if text.strip() == "":
        return "gpu"
    if not re.fullmatch(r"\d+([,:]\d+)*:?", text.strip()):
        raise OptionsError(
            f"--gpu {text!r}: not allowed; allowed: nothing, or numbers as in 0 or 0:1 or 0,1:2,3"
        )
    numbers = re.findall(r"\d+", text)
    # "0:0:1:1" are four ranks on two GPUs; in "0,1:0,1" the numbers are those of threads
    if "," in text or len(set(numbers)) == 1:
        numbers = list(dict.fromkeys(numbers))
    return ",".join(f"gpu:{int(number)}" for number in numbers)
