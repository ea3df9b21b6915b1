"""Runs beside Debian's RELION 3.1.3: point groups, classes, optics groups, options, halves."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from clrelion.device.session import DeviceSession
from tools.parity import __main__ as program
from tools.parity import oracle
from tools.parity.oracle import OracleResult, as_json, relion_version, run_case
from tools.parity.oracle_cases import ORACLE_CASES, OracleCase
from tools.parity.page import write_page
from tools.parity.relion_spread import SEEDS, measure_spread

# In every run of the tests: the others repeat `make parity`.
QUICK = ("I2", "boxes", "--skip_align", "--maxsig 2", "auto-refine")
CASES = {case.name: case for case in ORACLE_CASES}

needs_relion = pytest.mark.skipif(
    relion_version() is None, reason=f"{oracle.PROGRAM} is not installed"
)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of all cases, so that they share their sets."""
    return tmp_path_factory.mktemp("oracle")


def run(case: OracleCase, folder: Path, session: DeviceSession) -> OracleResult:
    device = f"{session.info.platform_index}:{session.info.device_index}"
    result = run_case(case, folder, device)
    assert [step.iteration for step in result.steps] == list(case.iterations)
    return result


@needs_relion
@pytest.mark.parametrize("name", QUICK)
def test_both_programs_agree(name: str, folder: Path, session_double: DeviceSession) -> None:
    """And disagree if clrelion is not given the option that the case is about."""
    assert run(CASES[name], folder, session_double).shortcomings(CASES[name]) == []


@needs_relion
@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in CASES if name not in QUICK])
def test_other_cases_agree(name: str, folder: Path, session_double: DeviceSession) -> None:
    assert run(CASES[name], folder, session_double).shortcomings(CASES[name]) == []


@needs_relion
def test_an_option_without_effect_is_a_shortcoming(
    folder: Path, session_double: DeviceSession
) -> None:
    case = replace(CASES["--skip_align"], option="--no_parallel_disc_io", iterations=(1,))
    result = run(case, folder, session_double)
    assert result.shortcomings(case) == ["the option makes no difference"]


@needs_relion
@pytest.mark.slow
def test_programs_differ_less_than_seeds(folder: Path, session_double: DeviceSession) -> None:
    info = session_double.info
    pairs = measure_spread(folder, f"{info.platform_index}:{info.device_index}")["pairs"]
    n = len(SEEDS)
    between, same = ([pair["mean FSC"] for pair in some] for some in (pairs[:n], pairs[n:]))
    assert min(same) > max(between)


@needs_relion
def test_the_page_names_what_is_left_out(tmp_path: Path, session_double: DeviceSession) -> None:
    """What version 3.1.3 does otherwise is seen, and so is a case that asks for too much."""
    case = CASES["pixel sizes"]
    result = run(case, tmp_path, session_double)
    content = {**as_json(case, result), "seconds": 1.0,
               "origin": {"version": "", "commit": "", "date": "", "python": ""}}  # fmt: skip
    path = tmp_path / f"{case.results_name}.json"
    path.write_text(json.dumps(content))
    assert write_page(tmp_path, tmp_path / "page.md")
    page = (tmp_path / "page.md").read_text()
    assert f"## Beside RELION {relion_version()}" in page
    assert "left out: average norm" in page
    strict = replace(case, relaxation=None)
    assert any("norm" in text for text in result.shortcomings(strict))


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
