"""``clrelion report``: the page of a run of clrelion or RELION, made from its files."""

import argparse
from collections.abc import Sequence

from clrelion.cli.arguments import CommandParser
from clrelion.cli.console import complain, setup_logging
from clrelion.errors import ClrelionError

_EXAMPLES = """\
examples:
  clrelion report Refine3D/job012
  clrelion report Class3D/job008/run_it025_optimiser.star --o class3d.html

Every run of clrelion writes this page by itself; this command makes it for runs of RELION (4.0 or
later), for runs that were stopped, and again from files that were moved.
"""


def report(arguments: Sequence[str]) -> int:
    """Make the report of a run.

    Parameters
    ----------
    arguments
        The run, and ``--o``.

    Returns
    -------
    int
        0, or 1 with one line on standard error.
    """
    setup_logging(verbosity=1)
    try:
        given = build_parser().parse(arguments)
        from clrelion.report.run_record import find_root
        from clrelion.report.summary import make_report

        print(make_report(find_root(given.run), given.o))
    except ClrelionError as error:
        complain("clrelion report", str(error))
        return 1
    return 0


def build_parser() -> CommandParser:
    """Make the argument parser."""
    parser = CommandParser(
        prog="clrelion report",
        description="Show a run on one HTML page, with each figure as PNG and CSV in a folder "
        "beside it.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("run", help="folder of a run, its output root (--o), or any of its files")
    parser.add_argument("--o", metavar="PAGE", help="page to write [ROOT_report.html]")
    return parser
