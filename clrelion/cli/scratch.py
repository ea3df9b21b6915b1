"""``clrelion scratch``: copies of particle images on a fast disk of this node, for several runs."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence

from clrelion.cli.arguments import CommandParser
from clrelion.cli.console import complain, setup_logging
from clrelion.errors import ClrelionError

logger = logging.getLogger(__name__)

_EPILOG = """\
examples:
  clrelion scratch copy --i particles.star --scratch_dir /scratch/me
  clrelion class3d --i particles.star --ref ref.mrc --o Class3D/job001/run --K 3 \\
    --scratch_dir /scratch/me --reuse_scratch
  clrelion scratch remove --scratch_dir /scratch/me

`clrelion_refine --scratch_dir DIR` alone needs none of this: it copies as it reads, and its copy is
gone when it ends. A copy made here stays until it is removed; `--scratch_dir DIR --reuse_scratch`
reads it. On several nodes run this once on each.
"""


def scratch(arguments: Sequence[str]) -> int:
    """Copy images to a scratch folder, or remove the copy.

    Parameters
    ----------
    arguments
        ``copy --i STAR --scratch_dir DIR`` or ``remove --scratch_dir DIR``.

    Returns
    -------
    int
        0, or 1 with one line on standard error.
    """
    setup_logging(verbosity=1)
    try:
        given = build_parser().parse(arguments)
        _copy(given) if given.what == "copy" else _remove(given)
    except ClrelionError as error:
        complain("clrelion scratch", str(error))
        return 1
    return 0


def build_parser() -> CommandParser:
    """Make the parser of the command."""
    parser = CommandParser(
        prog="clrelion scratch",
        description="Copy particle images to a local disk, where runs can read them.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("what", choices=("copy", "remove"), help="make the copy, or remove it")
    parser.add_argument("--i", metavar="STAR", help="particles to copy")
    parser.add_argument("--scratch_dir", metavar="DIR", required=True, help="on a local disk")
    parser.add_argument(
        "--keep_free_scratch", metavar="GB", type=float, default=10.0,
        help="leave so much free; what does not fit is read in place [10 GB]",
    )  # fmt: skip
    return parser


def _copy(given: argparse.Namespace) -> None:
    from clrelion.errors import OptionsError
    from clrelion.io.mrc_stack import ImageReader
    from clrelion.io.particle_table import read_particles
    from clrelion.particles.loader import ParticleImages
    from clrelion.particles.scratch import copy_to_scratch

    if given.i is None:
        raise OptionsError("--i is missing: the STAR file of the particles to copy")
    table = read_particles(given.i)
    images = ParticleImages(table, ImageReader(table.star_path))
    images.verify()
    n = copy_to_scratch(table, images, given.scratch_dir, int(1e9 * given.keep_free_scratch))
    rest = "" if n == table.n else "; there is no room for more, the others are read in place"
    logger.info("%d of %d images copied to %s%s", n, table.n, given.scratch_dir, rest)


def _remove(given: argparse.Namespace) -> None:
    from clrelion.particles.scratch import remove_scratch

    was_there = remove_scratch(given.scratch_dir)
    logger.info("%s: %s", given.scratch_dir, "removed" if was_there else "there is no copy")
