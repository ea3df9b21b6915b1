"""``clrelion completion``: scripts that let a shell complete commands, options and file names."""

import argparse
import importlib
from collections.abc import Sequence
from dataclasses import dataclass

from clrelion.cli.arguments import CommandParser
from clrelion.cli.console import complain
from clrelion.errors import ClrelionError

_EPILOG = """\
examples:
  # for this shell
  eval "$(clrelion completion bash)"

  # for good
  clrelion completion bash > ~/.local/share/bash-completion/completions/clrelion
  clrelion completion zsh > ~/.zfunc/_clrelion       # with fpath+=~/.zfunc before compinit
  clrelion completion fish > ~/.config/fish/completions/clrelion.fish
"""
_SCRIPTS = {"clrelion_refine": "refine", "clrelion_refine3d": "refine3d",
            "clrelion_class3d": "class3d", "clrelion_postprocess": "postprocess",
            "clrelion_reconstruct": "reconstruct"}  # fmt: skip
"""Programs that are sub-commands under a name of their own."""


@dataclass(frozen=True)
class _Option:
    """One option: its flag without dashes, first sentence of its help, words it allows."""

    flag: str
    text: str
    choices: tuple[str, ...]
    takes_value: bool


def completion(arguments: Sequence[str]) -> int:
    """Print the completion script of a shell.

    Parameters
    ----------
    arguments
        Name of the shell: bash, zsh or fish.

    Returns
    -------
    int
        0, or 1 with one line on standard error.
    """
    try:
        given = build_parser().parse(arguments)
    except ClrelionError as error:
        complain("clrelion completion", str(error))
        return 1
    print(_WRITERS[given.shell](), end="")
    return 0


def build_parser() -> CommandParser:
    """Make the argument parser."""
    parser = CommandParser(
        prog="clrelion completion",
        description="Print a script that lets a shell complete commands, options and file names.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("shell", choices=tuple(_WRITERS))
    return parser


def _commands() -> dict[str, tuple[str, list[_Option]]]:
    """Purpose and options of each sub-command."""
    from clrelion.cli.main import COMMANDS

    found = {}
    for name, command in COMMANDS.items():
        parser = getattr(importlib.import_module(command.module), command.parser)()
        found[name] = (command.purpose, [*map(_option, _with_flags(parser))])
    return found


def _with_flags(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    return [a for a in parser._actions if any(f.startswith("--") for f in a.option_strings)]


def _option(action: argparse.Action) -> _Option:
    flag = next(f for f in action.option_strings if f.startswith("--"))
    text = (action.help or "").split(". ")[0].replace("%%", "%")
    choices = tuple(str(choice) for choice in action.choices or ())
    return _Option(flag.lstrip("-"), text, choices, action.nargs != 0)


def _bash() -> str:
    commands = _commands()
    cases = "".join(
        f"        {name}) flags='{' '.join('--' + o.flag for o in options)}' ;;\n"
        for name, (_, options) in commands.items()
    )
    words = "".join(
        f"        {name}.--{o.flag}) "
        f"COMPREPLY=($(compgen -W '{' '.join(o.choices)}' -- \"$cur\")); return ;;\n"
        for name, (_, options) in commands.items()
        for o in options
        if o.choices
    )
    own_names = "".join(
        f"        {script}) command={name}; first=1 ;;\n" for script, name in _SCRIPTS.items()
    )
    return f"""\
# bash completion of clrelion
_clrelion() {{
    local cur=${{COMP_WORDS[COMP_CWORD]}} previous=${{COMP_WORDS[COMP_CWORD-1]}} flags=''
    local command=${{COMP_WORDS[1]}} first=2
    case ${{COMP_WORDS[0]##*/}} in
{own_names}    esac
    COMPREPLY=()
    if (( COMP_CWORD < first )); then
        COMPREPLY=($(compgen -W '{' '.join(commands)} --help --version' -- "$cur"))
        return
    fi
    case $command.$previous in
        completion.completion) COMPREPLY=($(compgen -W '{' '.join(_WRITERS)}' -- "$cur")); return ;;
{words}    esac
    case $command in
{cases}    esac
    if [[ $cur == -* ]]; then
        COMPREPLY=($(compgen -W "$flags" -- "$cur"))
    else
        COMPREPLY=($(compgen -f -- "$cur"))
    fi
}}
complete -o filenames -F _clrelion clrelion {' '.join(_SCRIPTS)}
"""


def _zsh() -> str:
    commands = _commands()

    def quoted(text: str) -> str:
        return text.replace("'", "'\\''")

    def bracketed(text: str) -> str:
        return quoted(text).replace("[", "(").replace("]", ")").replace(":", "\\:")

    names = "".join(f"    '{name}:{quoted(purpose)}'\n" for name, (purpose, _) in commands.items())
    cases = ""
    for name, (_, options) in commands.items():
        lines = []
        for o in options:
            value = f":value:({' '.join(o.choices)})" if o.choices else ":value:_files"
            lines.append(
                f"            '--{o.flag}[{bracketed(o.text)}]{value if o.takes_value else ''}'"
            )
        if name == "completion":
            lines.append(f"            '1:shell:({' '.join(_WRITERS)})'")
        cases += f"        {name}) _arguments \\\n" + " \\\n".join(lines) + " ;;\n"
    own_names = "".join(
        f"        {script}) _clrelion_command {name} ;;\n" for script, name in _SCRIPTS.items()
    )
    return f"""\
#compdef clrelion {' '.join(_SCRIPTS)}
# zsh completion of clrelion
_clrelion_command() {{
    case $1 in
{cases}    esac
}}
_clrelion() {{
    local -a commands
    commands=(
{names}    )
    case ${{words[1]:t}} in
{own_names}        *)
            if (( CURRENT == 2 )); then
                _describe command commands
            else
                local command=$words[2]
                shift words
                (( CURRENT-- ))
                _clrelion_command $command
            fi ;;
    esac
}}
if [ "$funcstack[1]" = "_clrelion" ]; then
    _clrelion "$@"
else
    compdef _clrelion clrelion {' '.join(_SCRIPTS)}
fi
"""


def _fish() -> str:
    commands = _commands()

    def quoted(text: str) -> str:
        return text.replace("\\", "\\\\").replace("'", "\\'")

    def option_line(start: str, o: _Option) -> str:
        value = f" -x -a '{' '.join(o.choices)}'" if o.choices else " -r" if o.takes_value else ""
        return f"{start} -l {o.flag}{value} -d '{quoted(o.text)}'\n"

    lines = ["# fish completion of clrelion\n"]
    for name, (purpose, options) in commands.items():
        lines.append(
            f"complete -c clrelion -f -n __fish_use_subcommand -a {name} -d '{quoted(purpose)}'\n"
        )
        start = f"complete -c clrelion -n '__fish_seen_subcommand_from {name}'"
        lines += [option_line(start, o) for o in options]
        if name == "completion":
            lines.append(f"{start} -x -a '{' '.join(_WRITERS)}'\n")
    for script, name in _SCRIPTS.items():
        lines += [option_line(f"complete -c {script}", o) for o in commands[name][1]]
    return "".join(lines)


_WRITERS = {"bash": _bash, "zsh": _zsh, "fish": _fish}
