"""How a step shows how far it is; the display itself belongs to the command line."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

__all__ = ["Progress", "ProgressMaker", "no_progress", "with_check"]


class Progress(Protocol):
    """Shows how far a step is."""

    def update(self, n: int) -> None:
        """Count ``n`` more units as done."""


class ProgressMaker(Protocol):
    """Makes the display of a step."""

    def __call__(
        self, total: int, label: str, unit: str = "particles"
    ) -> AbstractContextManager[Progress]:
        """Show a step of so many units of work."""


class _Silent:
    """Progress that nobody sees."""

    def update(self, n: int) -> None:
        """Count nothing."""


@contextmanager
def no_progress(total: int, label: str, unit: str = "particles") -> Iterator[Progress]:
    """Show nothing."""
    yield _Silent()


class _Checked:
    """Progress that looks after something at every step."""

    def __init__(self, shown: Progress, check: Callable[[], None]) -> None:
        self._shown = shown
        self._check = check

    def update(self, n: int) -> None:
        """Count, then check."""
        self._shown.update(n)
        self._check()


def with_check(progress: ProgressMaker, check: Callable[[], None]) -> ProgressMaker:
    """Make progress displays that call ``check`` at every step; it may raise to end the run."""

    @contextmanager
    def make(total: int, label: str, unit: str = "particles") -> Iterator[Progress]:
        with progress(total, label, unit) as shown:
            yield _Checked(shown, check)

    return make
