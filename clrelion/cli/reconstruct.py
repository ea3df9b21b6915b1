"""``clrelion reconstruct``: a map from particles whose poses are known."""

import argparse
import logging
import sys
from collections.abc import Sequence

import numpy as np

from clrelion.cli.arguments import CommandParser
from clrelion.cli.console import complain, setup_logging
from clrelion.cli.external_job import own_arguments
from clrelion.cli.jobs import run_job
from clrelion.cli.progress import Progress
from clrelion.errors import ClrelionError, OptionsError

logger = logging.getLogger(__name__)

_EXAMPLES = """\
examples:
  # all particles of a refinement, with the poses it found
  clrelion reconstruct --i Refine3D/job001/run_data.star --o map.mrc --ctf --sym D2

  # both half maps as well, and their FSC; for clrelion postprocess --i map_half1.mrc
  clrelion reconstruct --i run_data.star --o map.mrc --ctf --sym D2 --halves

  # one class of a classification, up to 8 A
  clrelion reconstruct --i run_it025_data.star --o class2.mrc --ctf --class 2 --maxres 8
"""
_INPUTS = {"in_parts": "i"}
_GOLD_STANDARD = 0.143


def reconstruct(arguments: Sequence[str], program: str = "clrelion reconstruct") -> int:
    """Reconstruct a map.

    Parameters
    ----------
    arguments
        Without the program's name.
    program
        Name for messages.

    Returns
    -------
    int
        0, or 1 with one line on standard error.
    """
    try:
        given = build_parser(program).parse(own_arguments(arguments, _INPUTS, "map.mrc"))
        if not given.o.endswith(".mrc"):
            raise OptionsError(f"--o {given.o}: give the name of the map, ending in .mrc")
        if given.halves and given.subset:
            raise OptionsError("--halves and --subset: give one of the two")
    except ClrelionError as error:
        complain(program, str(error))
        return 1
    setup_logging(given.verb)
    return run_job(program, given.o, given.pipeline_control, lambda: _run(given))


def main() -> int:
    """Run ``clrelion_reconstruct`` with this process's arguments."""
    return reconstruct(sys.argv[1:], program="clrelion_reconstruct")


def _run(given: argparse.Namespace) -> list[tuple[str, str]]:
    """Do the job; give its output nodes."""
    from clrelion.expectation.settings import CtfRules
    from clrelion.fourier.transforms import set_workers
    from clrelion.io.mrc import write_map
    from clrelion.io.particle_table import read_particles
    from clrelion.maximization.half_maps import half_set_fsc
    from clrelion.maximization.sums import join_half_sets
    from clrelion.projection.from_poses import (
        PoseReconstruction,
        map_of_sums,
        particles_of,
        sums_from_poses,
    )

    set_workers(given.j)
    table = read_particles(given.i, given.angpix, given.ctf)
    how = PoseReconstruction.of_particles(
        table,
        given.angpix,
        symmetry=given.sym,
        padding=given.pad,
        max_resolution_angst=max(0.0, given.maxres),
        ctf=CtfRules(
            given.ctf, True,
            given.ctf_intact_first_peak, given.ctf_phase_flipped, given.only_flip_phases,
        ),
    )  # fmt: skip
    halves = [1, 2] if given.halves else [given.subset]
    sums = []
    for half in halves:
        ids = particles_of(table, half, max(0, given.class_number))
        label = f"Back-projecting half {half}" if half else "Back-projecting"
        with Progress(len(ids), label) as bar:
            sums.append(sums_from_poses(table, ids, how, progress=bar.update))
        logger.info("%d particles", len(ids))
    pixel_size = how.pixel_size_angst
    nodes = [(given.o, "DensityMap.mrc.relion.reconstruct")]
    if given.halves:
        stem = given.o.removesuffix(".mrc")
        for half, of_half in zip(halves, sums, strict=True):
            name = f"{stem}_half{half}.mrc"
            write_map(name, map_of_sums(of_half, how), pixel_size)
            nodes.append((name, "DensityMap.mrc.relion.halfmap.reconstruct"))
        fsc = half_set_fsc(sums[0], sums[1])
        last = max(1, int(np.argmax(np.append(fsc, 0.0) < _GOLD_STANDARD)) - 1)
        logger.info(
            "Resolution of the half maps (FSC 0.143, unmasked): %.2f A",
            how.ori_size * pixel_size / last,
        )
    total = sums[0] if len(sums) == 1 else join_half_sets(sums[0], sums[1])
    write_map(given.o, map_of_sums(total, how), pixel_size)
    for name, _ in nodes:
        logger.info("Map: %s", name)
    return nodes


def build_parser(program: str = "clrelion reconstruct") -> CommandParser:
    """Make the argument parser."""
    parser = CommandParser(
        prog=program,
        description="A map from particles in the orientations and with the shifts of their STAR "
        "file, with the options of relion_reconstruct. It is not regularised: post-process the "
        "half maps, or low-pass it.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--i", required=True, metavar="STAR", help="particles with poses, e.g. run_data.star")
    add("--o", default="clrelion.mrc", metavar="MAP", help="the map [clrelion.mrc]")
    add("--sym", default="C1", metavar="GROUP", help="point group [C1]")
    add("--ctf", action="store_true", help="correct for the CTF")
    add("--halves", action="store_true", help="both half maps as well: MAP_half1.mrc, _half2")
    add("--subset", type=int, choices=(1, 2), default=0, help="only this half-set")
    add("--class", type=int, default=0, dest="class_number", metavar="N", help="only this class")
    add("--maxres", type=float, default=-1.0, metavar="A", help="highest resolution [Nyquist]")
    add("--pad", type=float, default=2.0, help="oversampling of Fourier space [2]")
    add("--angpix", type=float, metavar="A/px", help="pixel size [first optics group's]")
    add("--ctf_intact_first_peak", action="store_true", help="CTF is 1 up to its first peak")
    add("--ctf_phase_flipped", action="store_true", help="images have been phase-flipped")
    add("--only_flip_phases", action="store_true", help="correct phases, not amplitudes")
    add("--j", type=int, metavar="N", help="threads of the transforms [all cores]")
    add("--verb", type=int, default=1, choices=(0, 1, 2), help="0: warnings only [1]")
    add("--pipeline_control", metavar="DIR", help="folder of RELION's marker files")
    return parser
