"""``clrelion plan``: the memory plan of a job on a device, without particles and without a run."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from clrelion.cli.arguments import CommandParser
from clrelion.cli.console import complain, setup_logging
from clrelion.errors import ClrelionError, OptionsError
from clrelion.options.byte_size import byte_size

if TYPE_CHECKING:
    from clrelion.planning.limits import DeviceLimits
    from clrelion.refinement.forecast import RunSizes

_EPILOG = """\
examples:
  # will this auto-refine fit into the best device here?
  clrelion plan --box 360 --angpix 1.1 --particles 100000 --auto_refine

  # and four classes into a card of 12 GB?
  clrelion plan --box 256 --angpix 1.2 --particles 50000 --K 4 --memory 12GB

The sizes are the largest that each iteration can have: image sizes and sampling grow as fast as the
schedule allows. `--memory SIZE` plans for a device that this machine does not have.
"""


def plan(arguments: Sequence[str]) -> int:
    """Print the memory plan of every iteration of a job.

    Parameters
    ----------
    arguments
        Box size, device and job, in the spelling of ``clrelion_refine``.

    Returns
    -------
    int
        0, or 1 with one line on standard error.
    """
    setup_logging(verbosity=0)
    try:
        given = build_parser().parse(arguments)
        for line in _lines(given):
            print(line)
    except ClrelionError as error:
        complain("clrelion plan", str(error))
        return 1
    return 0


def build_parser() -> CommandParser:
    """Make the argument parser."""
    parser = CommandParser(
        prog="clrelion plan",
        description="Print how much memory a job would take, iteration by iteration.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--box", type=int, required=True, help="box of the particles, px")
    add("--angpix", type=float, default=1.0, help="pixel size, Å/px [1]")
    add("--particles", type=int, default=100_000, help="number of particles [100000]")
    add("--auto_refine", action="store_true", help="auto-refine in two half-sets, to Nyquist")
    add("--K", type=int, default=1, help="classes [1]")
    add("--iter", type=int, default=25, help="iterations of a classification [25]")
    add("--sym", default="C1", help="point group [C1]")
    add("--pad", type=float, default=2.0, help="padding factor [2]")
    add("--ini_high", type=float, default=60.0, help="low-pass of the start reference, Å [60]")
    add("--particle_diameter", type=float, help="Å [nine tenths of the box]")
    add("--healpix_order", type=int, default=2, help="angular sampling [2]")
    add("--auto_local_healpix_order", type=int, default=4, help="searches are local from here [4]")
    add("--oversampling", type=int, default=1, help="of the fine pass [1]")
    add("--offset_range", type=float, default=6.0, help="px [6]")
    add("--offset_step", type=float, default=2.0, help="px [2]")
    add("--device", default="auto", help="as in clrelion_refine [auto]")
    add("--memory", metavar="SIZE", help="plan for a GPU with so much memory, e.g. 24GB")
    add("--memory_limit", metavar="SIZE", help="device memory to use at most, e.g. 12GB")
    add("--precision", choices=("single", "double"), default="single")
    return parser


def _lines(given: argparse.Namespace) -> list[str]:
    from clrelion.planning.run import plan_run
    from clrelion.refinement.forecast import foresee
    from clrelion.refinement.sampling_schedule import start_sampling
    from clrelion.refinement.schedule_state import ScheduleState

    run = _sizes(given)
    limits, label = _limits(given)
    sampling = start_sampling(
        run.policy,
        healpix_order=given.healpix_order,
        psi_step_deg=-1.0,
        offset_range_px=given.offset_range,
        offset_step_px=given.offset_step,
        pixel_size_angst=given.angpix,
    )
    if not given.ini_high > 0:
        raise OptionsError(f"--ini_high {given.ini_high:g}: give a resolution in Å")
    state = ScheduleState(current_resolution_inv_angst=1.0 / given.ini_high)
    return [label, *plan_run(limits, foresee(run, state, sampling, 1)).lines()]


def _sizes(given: argparse.Namespace) -> RunSizes:
    from clrelion.orientations.symmetry import PointGroup
    from clrelion.refinement.forecast import ImageGroup, RunSizes
    from clrelion.refinement.schedule_state import SchedulePolicy

    if given.box < 2 or given.box % 2:
        raise OptionsError(f"--box {given.box}: give an even number of pixels")
    if given.auto_refine and given.K != 1:
        raise OptionsError("--auto_refine with --K: halves are refined with one class only")
    for name in ("angpix", "particles", "K", "iter", "pad"):
        if not getattr(given, name) > 0:
            raise OptionsError(f"--{name} {getattr(given, name):g}: it must be positive")
    diameter = given.particle_diameter or 0.9 * given.box * given.angpix
    n_halves = 2 if given.auto_refine else 1
    return RunSizes(
        ori_size=given.box,
        pixel_size_angst=given.angpix,
        padding_factor=given.pad,
        n_classes=given.K,
        n_halves=n_halves,
        groups=(ImageGroup(given.box, given.angpix, -(-given.particles // n_halves)),),
        symmetry_order=PointGroup.from_name(given.sym).order,
        policy=SchedulePolicy(
            is_auto_refine=given.auto_refine,
            oversampling=given.oversampling,
            particle_diameter_angst=diameter,
            local_healpix_order=given.auto_local_healpix_order,
        ),
        n_iterations=999 if given.auto_refine else given.iter,
    )


def _size(flag: str, text: str) -> int:
    try:
        return byte_size(text)
    except ValueError as error:
        raise OptionsError(f"{flag}: {error}") from error


def _limits(given: argparse.Namespace) -> tuple[DeviceLimits, str]:
    from clrelion.device.memory import budget_of_total
    from clrelion.planning.limits import DeviceLimits

    limit = None if given.memory_limit is None else _size("--memory_limit", given.memory_limit)
    if given.memory is not None:
        total = _size("--memory", given.memory)
        budget = budget_of_total(total, limit)
        real_bytes = 8 if given.precision == "double" else 4
        largest = budget.largest_allocation_bytes
        limits = DeviceLimits(budget.bytes, largest, total, False, 1, real_bytes)
        return limits, f"A GPU with {given.memory}"
    from clrelion.device.choice import choose_device
    from clrelion.device.session import DeviceSession

    session = DeviceSession(choose_device(given.device), given.precision)
    return DeviceLimits.of(session, session.memory_budget(limit)), session.info.label
