"""The console script ``clrelion``: ``clrelion refine``, ``devices``, ``simulate``."""

import sys
from collections.abc import Sequence

from clrelion.cli.console import complain
from clrelion.constants import VERSION

_USAGE = """\
usage: clrelion COMMAND [options]

3D classification and 3D auto-refine of cryo-EM particles on any OpenCL device.

commands:
  refine     classify or auto-refine; the same program as clrelion_refine
  devices    list the OpenCL devices of this machine and test them
  simulate   make particles with known poses from an atomic model or a map

`clrelion COMMAND --help` says more; `clrelion --version` prints the version.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a sub-command.

    Parameters
    ----------
    arguments
        Without the program's name (default: those of this process).

    Returns
    -------
    int
        Exit code: 0 success, 1 failure, 2 aborted.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    command, rest = (given[0], given[1:]) if given else ("", [])
    if command == "refine":
        from clrelion.cli.refine import refine

        return refine(rest, program="clrelion refine")
    if command == "devices":
        from clrelion.cli.devices import devices

        return devices(rest)
    if command == "simulate":
        from clrelion.cli.simulate import simulate

        return simulate(rest)
    if command == "--version":
        print(f"clrelion {VERSION}")
        return 0
    if command in ("", "--help", "-h"):
        print(_USAGE, end="")
        return 0 if command else 1
    complain("clrelion", f"there is no command {command!r}; commands: refine, devices, simulate")
    return 1
