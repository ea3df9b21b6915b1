"""Runs beside Debian's RELION 3.1.3: point groups, K = 3, several optics groups."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from clrelion.device.session import DeviceSession
from tools.parity import __main__ as program
from tools.parity import oracle
from tools.parity.oracle import ORACLE_CASES, OracleCase, as_json, relion_version, run_case
from tools.parity.page import write_page

# In every run of the tests: the others repeat `make parity`.
QUICK = ("I2", "voltages", "boxes")
CASES = {case.name: case for case in ORACLE_CASES}

needs_relion = pytest.mark.skipif(
    relion_version() is None, reason=f"{oracle.PROGRAM} is not installed"
)


def shortcomings(case: OracleCase, folder: Path, session: DeviceSession) -> list[str]:
    device = f"{session.info.platform_index}:{session.info.device_index}"
    steps = run_case(case, folder, device)
    assert [step.iteration for step in steps] == list(case.iterations)
    return [f"{s.iteration}: {text}" for s in steps for text in s.shortcomings(case.bounds)]


@needs_relion
@pytest.mark.parametrize("name", QUICK)
def test_both_programs_agree(name: str, tmp_path: Path, session_double: DeviceSession) -> None:
    assert shortcomings(CASES[name], tmp_path, session_double) == []


@needs_relion
@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in CASES if name not in QUICK])
def test_other_cases_agree(name: str, tmp_path: Path, session_double: DeviceSession) -> None:
    assert shortcomings(CASES[name], tmp_path, session_double) == []


@needs_relion
def test_the_page_names_what_is_left_out(tmp_path: Path, session_double: DeviceSession) -> None:
    """What version 3.1.3 does otherwise is seen, and so is a case that asks for too much."""
    case = CASES["pixel sizes"]
    device = f"{session_double.info.platform_index}:{session_double.info.device_index}"
    steps = run_case(case, tmp_path, device)
    content = {**as_json(case, steps), "seconds": 1.0,
               "origin": {"version": "", "commit": "", "date": "", "python": ""}}  # fmt: skip
    path = tmp_path / f"{case.results_name}.json"
    path.write_text(json.dumps(content))
    assert write_page(tmp_path, tmp_path / "page.md")
    page = (tmp_path / "page.md").read_text()
    assert f"## Beside RELION {relion_version()}" in page
    assert "left out: average norm" in page
    strict = replace(case, relaxation=None)
    assert any("norm" in text for text in steps[0].shortcomings(strict.bounds))


def test_without_relion_one_line_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setattr(program, "write_page", lambda results, page: True)
    words = ["parity", "--sets", "none", "--steps", "none", "--folder", str(tmp_path)]
    monkeypatch.setattr("sys.argv", words)
    relion_version.cache_clear()
    try:
        assert program.main() == 0
    finally:
        relion_version.cache_clear()
    assert capsys.readouterr().err == f"{oracle.PROGRAM} is not installed: no runs beside it\n"
    assert list((tmp_path / "results").iterdir()) == []
