"""The console script ``clrelion``: finds the sub-command and hands it its arguments."""

import importlib
import sys
from collections.abc import Callable, Sequence
from typing import NamedTuple

from clrelion.cli.console import complain
from clrelion.constants import VERSION


class Command(NamedTuple):
    """A sub-command.

    Attributes
    ----------
    module, function
        Where it is; imported when it is called. The function takes the arguments that follow the
        command's name and returns the exit code.
    purpose
        One line for ``clrelion --help``.
    parser
        Function of the module that makes its argument parser.
    """

    module: str
    function: str
    purpose: str
    parser: str = "build_parser"


COMMANDS: dict[str, Command] = {
    "refine3d": Command(
        "clrelion.cli.refine", "refine3d",
        "gold-standard 3D auto-refine, with recommended defaults", "refine3d_parser",
    ),
    "class3d": Command(
        "clrelion.cli.refine", "class3d",
        "3D classification, with recommended defaults", "class3d_parser",
    ),
    "refine": Command(
        "clrelion.cli.refine", "refine",
        "both, with RELION's own options and defaults; the same program as clrelion_refine",
        "refine_parser",
    ),
    "postprocess": Command(
        "clrelion.cli.postprocess", "postprocess",
        "mask, FSC within it and sharpening of two half maps",
    ),
    "reconstruct": Command(
        "clrelion.cli.reconstruct", "reconstruct",
        "a map from particles whose poses are known",
    ),
    "report": Command(
        "clrelion.cli.report", "report",
        "show a run of clrelion or RELION on one HTML page",
    ),
    "devices": Command(
        "clrelion.cli.devices", "devices",
        "list the OpenCL devices of this machine and test them",
    ),
    "plan": Command(
        "clrelion.cli.plan", "plan",
        "how much memory a job would take on a device, iteration by iteration",
    ),
    "scratch": Command(
        "clrelion.cli.scratch", "scratch",
        "copy particle images to a local disk, for several runs",
    ),
    "simulate": Command(
        "clrelion.cli.simulate", "simulate",
        "make particles with known poses from an atomic model or a map",
    ),
    "bench": Command(
        "clrelion.cli.bench", "bench",
        "time named workloads, step by step and kernel by kernel",
    ),
    "completion": Command(
        "clrelion.cli.completion", "completion",
        "completion of commands and options for bash, zsh or fish",
    ),
}  # fmt: skip
"""In the order of ``clrelion --help``."""


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
    name, rest = (given[0], given[1:]) if given else ("", [])
    if name in COMMANDS:
        command = COMMANDS[name]
        run: Callable[[Sequence[str]], int] = getattr(
            importlib.import_module(command.module), command.function
        )
        return run(rest)
    if name == "--version":
        print(f"clrelion {VERSION}")
        return 0
    if name in ("", "--help", "-h"):
        print(usage(), end="")
        return 0 if name else 1
    complain("clrelion", f"there is no command {name!r}; commands: {', '.join(COMMANDS)}")
    return 1


def usage() -> str:
    """Return the text of ``clrelion --help``."""
    width = max(map(len, COMMANDS))
    lines = "\n".join(f"  {name:{width}s}  {c.purpose}" for name, c in COMMANDS.items())
    return (
        "usage: clrelion COMMAND [options]\n\n"
        "3D classification and 3D auto-refine of cryo-EM particles on any OpenCL device.\n\n"
        f"commands:\n{lines}\n\n"
        "`clrelion COMMAND --help` says more; `clrelion --version` prints the version.\n"
    )
