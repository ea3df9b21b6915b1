"""The fenced blocks of the documentation, and a reader's shell to run them."""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import subprocess
from dataclasses import dataclass
from pathlib import Path

from clrelion.cli import postprocess, reconstruct, refine
from clrelion.cli.main import main
from tests.reference.refine_program import undisturbed_logging

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_PROGRAMS = {
    "clrelion": main,
    "clrelion_refine": lambda words: refine.refine(words, "clrelion_refine"),
    "clrelion_refine3d": lambda words: refine.refine3d(words, "clrelion_refine3d"),
    "clrelion_class3d": lambda words: refine.class3d(words, "clrelion_class3d"),
    "clrelion_postprocess": lambda words: postprocess.postprocess(words, "clrelion_postprocess"),
    "clrelion_reconstruct": lambda words: reconstruct.reconstruct(words, "clrelion_reconstruct"),
}


@dataclass(frozen=True)
class Fence:
    """One fenced block: its language and its lines."""

    page: Path
    language: str
    text: str

    def commands(self) -> list[str]:
        """Commands: all lines of a shell script, those after ``$`` of a console."""
        lines = self.text.replace("\\\n", " ").splitlines()
        if self.language == "console":
            return [line[2:] for line in lines if line.startswith("$ ")]
        return [line for line in lines if line.strip() and not line.lstrip().startswith("#")]


def fences(page: Path) -> list[Fence]:
    """All fenced blocks of a page, in order."""
    return [Fence(page, m[1], m[2]) for m in _FENCE.finditer(page.read_text(encoding="utf-8"))]


class Shell:
    """A shell whose clrelion runs in this process; it remembers its folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def run(self, command: str) -> str:
        """Run a command, which must succeed; give what it printed."""
        words = shlex.split(command)
        if words[0] == "cd":
            self.folder = self.folder / words[1]
            return ""
        if words[0] not in _PROGRAMS:
            done = subprocess.run(
                command, shell=True, cwd=self.folder, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, f"{command}\n{done.stderr}"
            return done.stdout
        words, target = (words[:-2], words[-1]) if words[-2:-1] == [">"] else (words, None)
        out, err, before = io.StringIO(), io.StringIO(), Path.cwd()
        os.chdir(self.folder)
        try:
            with (
                undisturbed_logging(),
                contextlib.redirect_stdout(out),
                contextlib.redirect_stderr(err),
            ):
                code = _PROGRAMS[words[0]](words[1:])
        finally:
            os.chdir(before)
        assert code == 0, f"{command}\n{err.getvalue()}"
        if target is not None:
            (self.folder / target).write_text(out.getvalue())
        return out.getvalue()
