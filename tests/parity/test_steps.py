"""RELION's step-by-step runs, repeated by whole runs of clrelion (specification E, Appendix F).

What is compared and how far it may differ stands in tools/parity/step_agreement.py and bounds.py.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from clrelion.device.session import DeviceSession
from tools.parity.step_agreement import StepAgreement, compare_step
from tools.parity.step_runs import STEP_RUNS, StepRun, repeat_run
from tools.parity.workplace import FOLDER, make_sets, prepare_step_runs

# In every run of the tests; the others need a minute or the simulated particles.
QUICK = ("bg/base", "bg/c4", "bg/os0", "bg/base@2")
RUNS = {run.label: run for run in STEP_RUNS}


@pytest.fixture(scope="session")
def sets(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Simulated particles: those of `make parity`, or made now, in half a minute."""
    if (FOLDER / "sets" / "betagal80").is_dir():
        return FOLDER / "sets"
    pytest.importorskip("finufft", reason="the simulator needs finufft")
    return make_sets(tmp_path_factory.mktemp("parity"))


@pytest.fixture
def place(request: pytest.FixtureRequest, shared: Path, tmp_path: Path) -> Path:
    """Folder in which RELION's command of the parameter runs as it is."""
    run = RUNS[request.getfixturevalue("label")]
    source = request.getfixturevalue("sets") if run.particle_set == "pol" else None
    return prepare_step_runs(tmp_path / "place", run.particle_set, source)


def repeat(
    run: StepRun, place: Path, session: DeviceSession, precision: str
) -> list[StepAgreement]:
    root = place / "found" / "run"
    device = f"{session.info.platform_index}:{session.info.device_index}"
    repeat_run(run, place, root, precision, device)
    return [compare_step(str(root), str(run.recorded / "run"), i) for i in run.iterations]


def shortcomings(run: StepRun, steps: list[StepAgreement], precision: str) -> list[str]:
    bounds = run.bounds(precision)
    return [f"{s.iteration}: {text}" for s in steps for text in s.shortcomings(bounds)]


@pytest.mark.parametrize("label", QUICK)
def test_iterations_are_relions(label: str, place: Path, session_double: DeviceSession) -> None:
    steps = repeat(RUNS[label], place, session_double, "double")
    assert shortcomings(RUNS[label], steps, "double") == []
    assert len(steps) == len(RUNS[label].iterations)
    assert any(step.maps for step in steps) or label == "bg/os0"


@pytest.mark.parametrize("label", ["bg/base"])
def test_single_precision_is_close(label: str, place: Path, session: DeviceSession) -> None:
    steps = repeat(RUNS[label], place, session, "single")
    assert shortcomings(RUNS[label], steps, "single") == []


@pytest.mark.slow
@pytest.mark.parametrize("label", [label for label in RUNS if label not in QUICK])
def test_other_runs_are_relions(label: str, place: Path, session_double: DeviceSession) -> None:
    steps = repeat(RUNS[label], place, session_double, "double")
    assert shortcomings(RUNS[label], steps, "double") == []


@pytest.mark.slow
@pytest.mark.parametrize("label", [label for label in RUNS if label != "bg/base"])
def test_other_runs_in_single_precision(label: str, place: Path, session: DeviceSession) -> None:
    steps = repeat(RUNS[label], place, session, "single")
    assert shortcomings(RUNS[label], steps, "single") == []


def test_every_recorded_run_is_here(shared: Path) -> None:
    recorded = {
        f"{place.parent.name}/{place.name}"
        for place in (shared / "data" / "steps").glob("*/*")
        if place.is_dir()
    }
    assert recorded == {run.name for run in STEP_RUNS}
