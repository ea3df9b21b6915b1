"""``clrelion simulate``: particles with known poses from an atomic model or a map."""

import argparse
import os
import time
from collections.abc import Sequence

from clrelion.cli.arguments import CommandParser
from clrelion.cli.console import complain, setup_logging
from clrelion.cli.progress import Progress
from clrelion.errors import ClrelionError, OptionsError
from clrelion.simulation.dataset import simulate as make_data_set
from clrelion.simulation.settings import PreferredView, SimulatedOptics, SimulationSettings

_EXAMPLES = """\
examples:
  # particles of an atomic model, and a start map at 40 A
  clrelion simulate --o sim --model 6x1q.cif --n 2000 --box 128 --angpix 2 --snr 0.05

  # two states of a molecule that is grown from a seed, twice as many of the first
  clrelion simulate --o two --molecule seed:7,kda:300 --molecule seed:7,kda:300,drop:2 --shares 2 1

  # then find them again
  clrelion refine3d --i sim/particles.star --ref sim/ref01.mrc --o run/sim --particle_diameter 160
"""
_OPTICS_KEYS = {
    "box": "box_px",
    "angpix": "pixel_size_angst",
    "voltage": "voltage_kv",
    "cs": "spherical_aberration_mm",
    "ac": "amplitude_contrast",
}
_PREFERRED_KEYS = {
    "rot": "rot_deg",
    "tilt": "tilt_deg",
    "spread": "spread_deg",
    "share": "share",
}


def simulate(arguments: Sequence[str]) -> int:
    """Make a data set.

    Parameters
    ----------
    arguments
        Without the program's name; see ``clrelion simulate --help``.

    Returns
    -------
    int
        0, or 1 with one line on standard error.
    """
    try:
        given = build_parser().parse(arguments)
    except ClrelionError as error:
        complain("clrelion simulate", str(error))
        return 1
    setup_logging(verbosity=1)
    started = time.monotonic()
    try:
        models = list(given.model or [])
        if not models:
            raise OptionsError("give what to image: --model FILE or --molecule seed:42,kda:300")
        settings = _settings(given)
        with Progress(settings.n_particles, "Simulating particles") as bar:
            files = make_data_set(
                models, settings, given.o,
                n_workers=given.j, reference_angst=given.ref_angst, progress=bar.update,
            )  # fmt: skip
    except ClrelionError as error:
        complain("clrelion simulate", str(error))
        return 1
    print(f"particles:  {files.particles_star}")
    print(f"true poses: {files.truth_star}")
    for truth, reference in zip(files.true_maps, files.references, strict=True):
        print(f"true map:   {truth}; as a start reference, {given.ref_angst:g} A: {reference}")
    print(f"{settings.n_particles} particles in {time.monotonic() - started:.1f} s")
    return 0


def build_parser() -> CommandParser:
    """Make the argument parser."""
    parser = CommandParser(
        prog="clrelion simulate",
        description="Particles of an atomic model (PDB, mmCIF), of a map or of a molecule grown "
        "from a seed, with true poses. The same arguments give the same files, whatever --j.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    _add_sample_options(parser)
    _add_image_options(parser)
    parser.add_argument(
        "--j", type=int, default=len(os.sched_getaffinity(0)),
        help="processes [all cores]",
    )  # fmt: skip
    return parser


def _add_sample_options(parser: argparse.ArgumentParser) -> None:
    sample = parser.add_argument_group("what")
    add = sample.add_argument
    add("--o", required=True, metavar="DIR", help="output folder")
    add("--model", action="append", metavar="FILE",
        help="PDB, mmCIF or MRC file; give it once for each state")  # fmt: skip
    add("--molecule", action="append", dest="model", metavar="seed:S,kda:M,sym:Cn|Dn[,drop:D]",
        help="a pseudo-atomic molecule grown from a seed; with drop, without the last D domains of "
        "each protomer: another state of the same")  # fmt: skip
    add("--shares", type=float, nargs="+", default=[], metavar="W",
        help="relative abundance of the states [equal]")  # fmt: skip
    add("--n", type=int, default=1000, help="particles [1000]")
    add("--seed", type=int, default=1, help="seed of everything random [1]")
    add(
        "--preferred",
        metavar="rot:R,tilt:T,spread:S,share:F",
        help="a share F of the particles is seen within about S degrees of one direction",
    )
    add(
        "--shift",
        type=float,
        default=2.5,
        metavar="px",
        help="standard deviation of the shifts [2.5]",
    )
    add("--particles_per_micrograph", type=int, default=100, help="[100]")
    add(
        "--ref_angst",
        type=float,
        default=40.0,
        metavar="A",
        help="resolution of the low-passed references [40]",
    )


def _add_image_options(parser: argparse.ArgumentParser) -> None:
    images = parser.add_argument_group("images")
    add = images.add_argument
    add("--box", type=int, default=128, metavar="px", help="edge of the images [128]")
    add("--angpix", type=float, default=2.0, metavar="A/px", help="pixel size [2]")
    add("--voltage", type=float, default=300.0, metavar="kV", help="[300]")
    add("--cs", type=float, default=2.7, metavar="mm", help="[2.7]")
    add("--ac", type=float, default=0.1, help="amplitude contrast [0.1]")
    add("--optics", action="append", default=[], metavar="box:N,angpix:A,voltage:V,cs:C,ac:Q",
        help="a further optics group; what it does not say is as above. Each group gets an equal "
        "share of the micrographs")  # fmt: skip
    add(
        "--snr",
        type=float,
        default=0.05,
        help="variance of the signal over that of the noise; inf: no noise [0.05]",
    )
    add("--defocus_min", type=float, default=8000.0, metavar="A", help="[8000]")
    add("--defocus_max", type=float, default=24000.0, metavar="A", help="[24000]")
    add(
        "--astigmatism",
        type=float,
        default=800.0,
        metavar="A",
        help="largest difference of the two defocus values [800]",
    )
    add("--no_ctf", action="store_true", help="leave the CTF out")
    add(
        "--bfactor",
        type=float,
        default=40.0,
        metavar="A^2",
        help="envelope exp(-B q^2/4), part of the true map [40]",
    )
    add(
        "--solvent",
        type=float,
        default=0.5,
        help="contrast that the solvent takes away at low resolution, 0 to 1 [0.5]",
    )
    add(
        "--noise_colour",
        type=float,
        default=0.0,
        metavar="C",
        help="power of the noise 1 + C/(1 + (q D)^2); 0: white [0]",
    )
    add("--noise_colour_angst", type=float, default=40.0, metavar="D", help="[40]")
    add(
        "--amplitude_spread",
        type=float,
        default=0.1,
        help="standard deviation of the intensity between micrographs, relative [0.1]",
    )
    add("--float16", action="store_true", help="write MRC mode 12")


def _settings(given: argparse.Namespace) -> SimulationSettings:
    first = SimulatedOptics(given.box, given.angpix, given.voltage, given.cs, given.ac)
    optics = [first]
    for text in given.optics:
        values = _pairs("--optics", text, _OPTICS_KEYS)
        box = values.pop("box_px", float(given.box))
        optics.append(
            SimulatedOptics(**{
                "pixel_size_angst": given.angpix, "voltage_kv": given.voltage,
                "spherical_aberration_mm": given.cs, "amplitude_contrast": given.ac,
                **values, "box_px": int(box),
            })
        )  # fmt: skip
    preferred = None
    if given.preferred is not None:
        values = _pairs("--preferred", given.preferred, _PREFERRED_KEYS)
        if len(values) < len(_PREFERRED_KEYS):
            raise OptionsError(f"--preferred {given.preferred}: give {', '.join(_PREFERRED_KEYS)}")
        preferred = PreferredView(**values)
    return SimulationSettings(
        n_particles=given.n,
        optics=tuple(optics),
        seed=given.seed,
        snr=given.snr,
        has_ctf=not given.no_ctf,
        defocus_angst=(given.defocus_min, given.defocus_max),
        astigmatism_angst=given.astigmatism,
        bfactor=given.bfactor,
        solvent_contrast=given.solvent,
        shift_sd_px=given.shift,
        noise_colour=given.noise_colour,
        noise_colour_angst=given.noise_colour_angst,
        amplitude_spread=given.amplitude_spread,
        particles_per_micrograph=given.particles_per_micrograph,
        state_shares=tuple(given.shares),
        preferred=preferred,
        is_float16=given.float16,
    )


def _pairs(flag: str, text: str, keys: dict[str, str]) -> dict[str, float]:
    """Read ``name:value,name:value``."""
    values = {}
    for part in text.split(","):
        name, _, value = part.strip().partition(":")
        try:
            values[keys[name]] = float(value)
        except (KeyError, ValueError):
            raise OptionsError(
                f"{flag} {text}: '{part}' is not one of {', '.join(keys)} with a number, like "
                f"{next(iter(keys))}:100"
            ) from None
    return values
