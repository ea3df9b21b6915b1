"""One whole refinement of the real particles, for all tests that look at its results."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.reference.refine_program import BETAGAL, README_OPTIONS, succeed, write_small_set


@dataclass
class WholeRun:
    """A finished auto-refine of examples/betagal.

    Attributes
    ----------
    folder
        Working directory of the run, with particles.star, particles.mrcs and ref.mrc.
    log
        Its standard output.
    """

    folder: Path
    log: str


@pytest.fixture(scope="session")
def betagal(tmp_path_factory: pytest.TempPathFactory) -> WholeRun:
    """Auto-refine of examples/betagal by the command of shared/data/README.md (15 s)."""
    folder = tmp_path_factory.mktemp("betagal")
    for name in ("particles.star", "particles.mrcs", "ref.mrc"):
        shutil.copy(BETAGAL / name, folder)
    options = f"--i particles.star --o Refine3D/job001/run {README_OPTIONS}"
    ended = succeed(folder, f"{options} --pipeline_control Refine3D/job001/", with_report=True)
    return WholeRun(folder, ended.out)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Project folder with 24 particles."""
    write_small_set(tmp_path)
    return tmp_path
