"""From arguments in RELION's grammar to :class:`clrelion.options.RefineOptions`.

Differs from RELION (Specification E 7): an unknown flag is an error, not a warning; an option out
of scope is refused by name unless its value is the default.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from clrelion.cli.arguments import CommandParser, unknown_text
from clrelion.cli.external_job import REFINE_INPUTS, own_arguments
from clrelion.cli.presets import Preset, without_switched_off
from clrelion.cli.relion_flags import (
    DEVICE_FLAGS,
    IGNORED,
    REFUSED,
    device_of_gpu_list,
    device_of_mode,
    device_of_switch,
    refusal,
)
from clrelion.constants import VERSION
from clrelion.errors import OptionsError
from clrelion.options import RefineOptions, flags

_DESCRIPTION = (
    "3D classification and 3D auto-refine of cryo-EM particles on an OpenCL device, with RELION's "
    "options. Sizes are in Angstrom and angles in degrees unless a unit says otherwise; -1 "
    "switches an option with default 'off' off."
)


@dataclass(frozen=True)
class ParsedCommand:
    """A command line.

    Attributes
    ----------
    options
        Its options.
    notices
        What its user should be told once about it.
    wants_gpu
        It says ``--mode 1`` and names no device: the user should be told if there is no GPU.
    """

    options: RefineOptions
    notices: tuple[str, ...]
    wants_gpu: bool = False


class _HelpFormatter(argparse.HelpFormatter):
    """Wraps the description, keeps the lines of the examples."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        if text.startswith("examples:"):
            return text
        return super()._fill_text(text, width, indent)


class _Remember(argparse.Action):
    """Keep a value; a repeated option counts once, with its last value."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        repeated: set[str] = namespace.repeated
        if hasattr(namespace, self.dest):
            repeated.add(option_string or self.dest)
        setattr(namespace, self.dest, True if self.nargs == 0 else values)


def build_parser(program: str, preset: Preset | None = None) -> argparse.ArgumentParser:
    """Make the argument parser from the table of options.

    Parameters
    ----------
    program
        Name to show in ``--help``.
    preset
        Defaults to show instead of the table's.

    Returns
    -------
    argparse.ArgumentParser
        Groups, units and defaults as in the table; parsed values stay strings.
    """
    parser = CommandParser(
        prog=program,
        description=_DESCRIPTION if preset is None else f"{preset.purpose} {_DESCRIPTION}",
        epilog=None if preset is None else preset.examples,
        formatter_class=_HelpFormatter,
        allow_abbrev=False,
        usage=f"{program} --i STAR --ref MAP --o ROOT [options]",
        argument_default=argparse.SUPPRESS,
    )
    parser.add_argument("--version", action="version", version=f"clrelion {VERSION}")
    groups: dict[str, argparse._ArgumentGroup] = {}
    for name, flag in flags().items():
        if flag.group not in groups:
            groups[flag.group] = parser.add_argument_group(flag.group)
        groups[flag.group].add_argument(
            *(f"--{spelling}" for spelling in (flag.name, *flag.aliases)),
            dest=name,
            action=_Remember,
            nargs=0 if is_switch(name) else None,
            metavar=None if is_switch(name) else flag.hint or flag.unit or "N",
            help=f"{flag.help} {_default_text(name, preset)}".strip().replace("%", "%%"),
        )
    spellings = parser.add_argument_group("RELION's ways to choose a device (see --device)")
    for name, text in DEVICE_FLAGS.items():
        nargs: str | int | None = {"gpu": "?", "mode": None}.get(name, 0)
        spellings.add_argument(
            f"--{name}",
            dest=f"relion_{name}",
            action=_Remember,
            nargs=nargs,
            const="",
            metavar=None if nargs == 0 else "IDS" if name == "gpu" else "N",
            help=text,
        )
    external = parser.add_argument_group("As RELION's External job calls them")
    for name, own in REFINE_INPUTS.items():
        external.add_argument(f"--{name}", metavar="FILE", help=f"same as --{own}")
    accepted = parser.add_argument_group("Accepted for RELION's sake, without effect")
    for name, ignored in IGNORED.items():
        accepted.add_argument(
            f"--{name}",
            dest=f"ignored_{name}",
            action=_Remember,
            nargs=None if ignored.takes_value else 0,
            metavar="VALUE" if ignored.takes_value else None,
            help=f"({ignored.note})",
        )
    return parser


def is_switch(field_name: str) -> bool:
    """Tell whether an option takes no value."""
    return RefineOptions.model_fields[field_name].annotation is bool


def default_text(field_name: str) -> str:
    """Return the default of an option and its unit, in brackets, as ``--help`` shows it."""
    flag = flags()[field_name]
    if is_switch(field_name):
        return ""
    default = RefineOptions.model_fields[field_name].default
    unit = f" {flag.unit}" if flag.unit else ""
    if field_name in ("particles_star", "reference", "output_root"):
        return "[required]"
    if default is None:
        words = [flag.unit, "" if "default:" in flag.help else "off"]
        return f"[{'; '.join(filter(None, words))}]" if any(words) else ""
    return f"[{default:g}{unit}]" if isinstance(default, float) else f"[{default}{unit}]"


def _default_text(field_name: str, preset: Preset | None) -> str:
    """Return what `default_text` does, with the defaults of a preset."""
    if preset is None or field_name not in preset.values:
        return default_text(field_name)
    if field_name in preset.kind:
        return "[always on]"
    value = preset.values[field_name]
    flag = flags()[field_name]
    if value is True:
        return f"[on; --no_{flag.name} switches it off]"
    unit = f" {flag.unit}" if flag.unit else ""
    return f"[{value:g}{unit}]" if isinstance(value, float) else f"[{value}{unit}]"


def parse_refine(
    arguments: Sequence[str], program: str = "clrelion_refine", preset: Preset | None = None
) -> ParsedCommand:
    """Parse the arguments of a refinement.

    Parameters
    ----------
    arguments
        The arguments, without the program's name.
    program
        Name to show in ``--help``.
    preset
        Values of options that are not given.

    Returns
    -------
    ParsedCommand
        Checked options, and notices.

    Raises
    ------
    OptionsError
        An unknown flag (the message suggests the nearest), one that is out of scope, a missing or
        wrong value, or a contradiction.
    """
    notices: list[str] = []
    own, preset_values = without_switched_off(arguments, preset)
    kept = list(_without_refused(own_arguments(own, REFINE_INPUTS, "run"), notices))
    parser = build_parser(program, preset)
    namespace, unknown = parser.parse_known_args(kept, argparse.Namespace(repeated=set()))
    if unknown:
        known = [flag.name for flag in flags().values()] + [*DEVICE_FLAGS, *IGNORED, *REFUSED]
        known += [] if preset is None else preset.switches()
        raise OptionsError(unknown_text(unknown[0], known))
    given = vars(namespace)
    notices += [f"{name} is given twice: the last one counts" for name in sorted(given["repeated"])]
    values = preset_values | {name: value for name, value in given.items() if name in flags()}
    device = _device_from_relion_flags(given)
    if device is not None and "device" not in values:
        values["device"] = device
    notices += [
        f"--{name} has no effect: {ignored.note}"
        for name, ignored in IGNORED.items()
        if f"ignored_{name}" in given
    ]
    options = RefineOptions.from_values(values)
    wants_gpu = given.get("relion_mode") == "1" and options.device == "auto"
    return ParsedCommand(options, (*notices, *options.notices()), wants_gpu)


def _without_refused(arguments: Sequence[str], notices: list[str]) -> Iterator[str]:
    """Pass arguments on, less options out of scope that have their default value."""
    i = 0
    while i < len(arguments):
        name, equals, attached = arguments[i].removeprefix("--").partition("=")
        refused = refusal(name) if arguments[i].startswith("--") else None
        if refused is None:
            yield arguments[i]
            i += 1
            continue
        follows = arguments[i + 1 : i + 2]
        value = attached if equals else follows[0] if follows else None
        if refused.default is None or value is None or not _same(value, refused.default):
            raise OptionsError(f"--{name}: {refused.reason}")
        notices.append(f"--{name} {value} is the default and changes nothing")
        i += 1 if equals else 2


def _same(value: str, default: str) -> bool:
    try:
        return float(value) == float(default)
    except ValueError:
        return value == default


def _device_from_relion_flags(given: dict[str, Any]) -> str | None:
    """Return the device of RELION's flags; a list of GPUs says more than a switch."""
    if "relion_gpu" in given:
        return device_of_gpu_list(given["relion_gpu"])
    for name in DEVICE_FLAGS:
        if name not in ("gpu", "mode") and f"relion_{name}" in given:
            return device_of_switch(name)
    return device_of_mode(given["relion_mode"]) if "relion_mode" in given else None
