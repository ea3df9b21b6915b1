"""``clrelion devices``: the table of OpenCL devices, or a check that one works."""

import argparse
import sys
from collections.abc import Sequence

from clrelion.cli.arguments import CommandParser
from clrelion.cli.console import complain, setup_logging
from clrelion.errors import ClrelionError

_EXAMPLES = """\
examples:
  clrelion devices
  clrelion devices --check --device gpu:1     # would a run with this --device work?
"""


def devices(arguments: Sequence[str]) -> int:
    """Print the device table, or check one device.

    Parameters
    ----------
    arguments
        ``--check`` and ``--device DEVICE``; nothing prints the table of all devices.

    Returns
    -------
    int
        0, or 1 if there is no OpenCL device, or none that works.
    """
    try:
        given = build_parser().parse(arguments)
    except ClrelionError as error:
        complain("clrelion devices", str(error))
        return 1
    setup_logging(verbosity=1)
    try:
        if given.check:
            from clrelion.device.choice import choose_device

            print(choose_device(given.device).label)
        else:
            from clrelion.device.table import device_table, format_table

            rows = device_table()
            print(format_table(rows))
            if not any(row.passed for row in rows):
                complain("clrelion devices", "no device passed its self-test")
                return 1
    except ClrelionError as error:
        complain("clrelion devices", str(error))
        return 1
    sys.stdout.flush()
    return 0


def build_parser() -> CommandParser:
    """Make the argument parser."""
    parser = CommandParser(
        prog="clrelion devices",
        description="List the OpenCL devices of this machine and test each (about a second).",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--check", action="store_true", help="no table: name the device that a run would use"
    )
    parser.add_argument(
        "--device", default="auto", help="with --check: which device, as in clrelion_refine [auto]"
    )
    return parser
