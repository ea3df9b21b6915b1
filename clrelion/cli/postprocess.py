"""``clrelion postprocess``: mask, FSC within the mask, sharpening."""

import argparse
import logging
import shlex
import sys
from collections.abc import Sequence

from clrelion.cli.arguments import CommandParser
from clrelion.cli.console import complain, setup_logging
from clrelion.cli.external_job import POSTPROCESS_INPUTS, own_arguments
from clrelion.cli.jobs import run_job
from clrelion.errors import ClrelionError, OptionsError
from clrelion.fourier.transforms import set_workers

logger = logging.getLogger(__name__)

_DESCRIPTION = (
    "Sharpens the average of two half maps and measures their resolution within a mask, with the "
    "correction for what the mask adds (phase randomisation). Options are those of "
    "relion_postprocess; sizes are in Angstrom unless a unit says otherwise."
)
_EXAMPLES = """\
examples:
  # mask made from the maps, B-factor from the Guinier plot
  clrelion postprocess --i Refine3D/job001/run_half1_class001_unfil.mrc \\
    --o PostProcess/job002/postprocess --auto_mask --auto_bfac

  # your own mask, the detector's MTF, a B-factor of your choice
  clrelion postprocess --i run_half1_class001_unfil.mrc --o post/post --mask mask.mrc \\
    --mtf mtf_k2_300kV.star --mtf_angpix 0.885 --adhoc_bfac -80

  # FSC and weighting only
  clrelion postprocess --i run_half1_class001_unfil.mrc --o post/post
"""


def postprocess(arguments: Sequence[str], program: str = "clrelion postprocess") -> int:
    """Post-process two half maps.

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
        given = build_parser(program).parse(
            own_arguments(arguments, POSTPROCESS_INPUTS, "postprocess")
        )
        if given.auto_mask and given.mask:
            raise OptionsError("--auto_mask and --mask: give one of the two")
        if given.auto_bfac and given.adhoc_bfac:
            raise OptionsError("--auto_bfac and --adhoc_bfac: give one of the two")
    except ClrelionError as error:
        complain(program, str(error))
        return 1
    setup_logging(given.verb)
    set_workers(given.j)
    command_line = shlex.join([program, *arguments])
    return run_job(program, given.o, given.pipeline_control, lambda: _run(given, command_line))


def main() -> int:
    """Run ``clrelion_postprocess`` with this process's arguments."""
    return postprocess(sys.argv[1:], program="clrelion_postprocess")


def _run(given: argparse.Namespace, command_line: str) -> list[tuple[str, str]]:
    """Do the job; give its output nodes."""
    from clrelion.postprocess.job import PostprocessSettings
    from clrelion.postprocess.job import postprocess as post_process
    from clrelion.postprocess.masking import MaskRules
    from clrelion.postprocess.sharpen import SharpenRules

    rules = None
    if given.auto_mask:
        rules = MaskRules(
            given.inimask_threshold, given.lowpass_mask,
            given.extend_inimask, given.width_mask_edge,
        )  # fmt: skip
    result = post_process(
        PostprocessSettings(
            half_map=given.i,
            output_root=given.o,
            other_half_map=given.i2,
            pixel_size_angst=given.angpix if given.angpix and given.angpix > 0 else None,
            mask=given.mask,
            mask_rules=rules,
            mtf=given.mtf,
            mtf_pixel_size_angst=given.mtf_angpix if given.mtf_angpix > 0 else None,
            sharpening=SharpenRules(
                weight_by_fsc=not given.skip_fsc_weighting,
                fit_bfactor=given.auto_bfac,
                bfactor_angst2=given.adhoc_bfac,
                fit_lowres_angst=given.autob_lowres,
                fit_highres_angst=given.autob_highres,
                low_pass_angst=given.low_pass,
                low_pass_edge=given.filter_edge_width,
            ),
            randomise_below_fsc=given.randomize_at_fsc,
            randomise_at_angst=given.randomize_at_A,
            molecular_weight_kda=given.molweight,
            force_mask=given.force_mask,
            random_seed=abs(given.random_seed),
            write_half_maps=given.half_maps,
        ),
        command_line,
    )
    from clrelion.report.postprocess_figures import draw_postprocess

    figures = draw_postprocess(given.o, result)
    guinier = result.sharpening.guinier
    if guinier.slope is not None:
        logger.info(
            "Guinier plot: slope %.2f, intercept %.2f, squared correlation %.3f",
            guinier.slope, guinier.intercept, guinier.correlation,
        )  # fmt: skip
    logger.info("B-factor: %.1f A^2", result.sharpening.bfactor_angst2)
    logger.info("Final resolution: %.2f A", result.resolution_angst)
    logger.info("Map: %s", result.map)
    if result.masked_map is not None:
        logger.info("Masked map: %s", result.masked_map)
    logger.info("Figures: %s", ", ".join(figures))
    nodes = [(result.map, "DensityMap.mrc.relion.postprocess")]
    if result.masked_map is not None:
        nodes.append((result.masked_map, "DensityMap.mrc.relion.postprocess.masked"))
    nodes.append((f"{given.o}.star", "ProcessData.star.relion.postprocess"))
    return nodes


def build_parser(program: str = "clrelion postprocess") -> CommandParser:
    """Make the argument parser."""
    parser = CommandParser(
        prog=program,
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    files = parser.add_argument_group("input and output").add_argument
    files("--i", required=True, metavar="MAP",
        help="one half map, unfiltered: run_half1_class001_unfil.mrc")  # fmt: skip
    files("--i2", metavar="MAP", help="the other one [half1 and half2 exchanged in the name]")
    files("--o", default="postprocess", metavar="ROOT", help="root of all output [postprocess]")
    files("--angpix", type=float, metavar="A/px", help="pixel size [that of the header]")
    files("--molweight", type=float, default=0.0, metavar="kDa",
        help="mass of the ordered part, for an FSC without a mask")  # fmt: skip
    files("--half_maps", action="store_true", help="write the sharpened half maps, too")
    _add_mask_options(parser)
    _add_sharpening_options(parser)
    others = parser.add_argument_group("others").add_argument
    others("--random_seed", type=int, default=0, metavar="N", help="of the random phases [0]")
    others("--j", type=int, default=None, metavar="N", help="threads [all cores]")
    others("--verb", type=int, default=1, choices=(0, 1, 2), help="0: warnings only [1]")
    others("--pipeline_control", metavar="DIR", help="folder of RELION's marker files")
    return parser


def _add_mask_options(parser: CommandParser) -> None:
    mask = parser.add_argument_group("mask").add_argument
    mask("--mask", metavar="MAP", help="soft mask, 0 to 1")
    mask("--auto_mask", action="store_true", help="make one from the maps: ROOT_mask.mrc")
    mask("--inimask_threshold", type=float, metavar="DENSITY",
        help="density at which --auto_mask cuts [5 sd of the solvent's]")  # fmt: skip
    mask("--lowpass_mask", type=float, default=15.0, metavar="A",
        help="low-pass before cutting; 0: none [15]")  # fmt: skip
    mask("--extend_inimask", type=float, default=3.0, metavar="px", help="growth of the mask [3]")
    mask("--width_mask_edge", type=float, default=6.0, metavar="px", help="its soft edge [6]")
    mask("--force_mask", action="store_true",
        help="keep to the mask even if the unmasked maps agree further")  # fmt: skip
    mask("--randomize_at_fsc", type=float, default=0.8, metavar="FSC",
        help="phases are random from where the unmasked FSC falls below this [0.8]")  # fmt: skip
    mask("--randomize_at_A", type=float, default=-1.0, metavar="A",
        help="... or from this resolution on")  # fmt: skip


def _add_sharpening_options(parser: CommandParser) -> None:
    sharp = parser.add_argument_group("sharpening").add_argument
    sharp("--auto_bfac", action="store_true", help="B-factor from the Guinier plot")
    sharp("--autob_lowres", type=float, default=10.0, metavar="A",
        help="lowest resolution of the fit [10]")  # fmt: skip
    sharp("--autob_highres", type=float, default=0.0, metavar="A",
        help="highest resolution of the fit; 0: the last shell with signal [0]")  # fmt: skip
    sharp("--adhoc_bfac", type=float, default=0.0, metavar="A^2",
        help="B-factor to apply, negative to sharpen, e.g. -80")  # fmt: skip
    sharp("--mtf", metavar="STAR", help="detector's MTF to divide by")
    sharp("--mtf_angpix", type=float, default=-1.0, metavar="A/px",
        help="pixel size of the micrographs that the MTF is for [that of the maps]")  # fmt: skip
    sharp("--skip_fsc_weighting", action="store_true", help="do not weight by the FSC")
    sharp("--low_pass", type=float, default=0.0, metavar="A",
        help="low-pass at the end; negative: at the final resolution; 0: none [0]")  # fmt: skip
    sharp("--filter_edge_width", type=float, default=2.0, metavar="shells",
        help="width of its edge [2]")  # fmt: skip
