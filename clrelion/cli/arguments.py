"""What the command lines of all sub-commands have in common."""

import argparse
import difflib
from collections.abc import Iterable, Sequence
from typing import NoReturn

from clrelion.errors import OptionsError

_DASHES = "\u2010\u2011\u2012\u2013\u2014\u2015\u2212"


class CommandParser(argparse.ArgumentParser):
    """An argparse parser whose errors are one line, with the nearest flag for a mistyped one."""

    def error(self, message: str) -> NoReturn:
        """Raise the mistake instead of leaving the process."""
        raise OptionsError(message.replace("argument ", "", 1))

    def parse(self, arguments: Sequence[str]) -> argparse.Namespace:
        """Parse the arguments of a sub-command.

        Raises
        ------
        OptionsError
            A flag that is unknown, or a value that is missing or wrong.
        """
        given, unknown = self.parse_known_args(list(arguments))
        if unknown:
            flags = [f for action in self._actions for f in action.option_strings]
            raise OptionsError(unknown_text(unknown[0], [flag.lstrip("-") for flag in flags]))
        return given


def unknown_text(token: str, known: Iterable[str]) -> str:
    """Say what is wrong with an argument that no option takes, and suggest the nearest flag.

    Parameters
    ----------
    token
        The argument.
    known
        Flags without their dashes.
    """
    if not token.startswith(("-", *_DASHES)):
        return f"unexpected argument {token!r}: it follows no option that takes a value"
    name = token.lstrip("-" + _DASHES).partition("=")[0]
    if token[0] in _DASHES:
        return f"unknown option {token!r}: its dash is not the ASCII one; write --{name}"
    lower = {one.lower(): one for one in known}
    near = difflib.get_close_matches(name.lower(), lower, n=1, cutoff=0.5)
    advice = f"did you mean --{lower[near[0]]}?" if near else "see --help"
    return f"unknown option {token!r}: {advice}"
