"""The programs as their users start them: output, exit codes, what is left behind."""

import os
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path

import pytest

import clrelion
from clrelion.cli import refine as refine_module
from clrelion.cli.main import COMMANDS
from clrelion.cli.progress import Progress
from clrelion.cli.refine import refine
from clrelion.errors import AbortRequested, ImageError
from clrelion.options import RefineOptions
from clrelion.parallel.communicator import Communicator
from clrelion.refinement.diary import Diary

ROOT = Path(__file__).resolve().parents[2]
START = "--i particles.star --o out/run --ref ref.mrc --norm --scale"


def run(*arguments: str, cwd: Path = ROOT) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-m", "clrelion", *arguments],
        cwd=cwd, env=environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def test_version() -> None:
    done = run("--version")
    assert (done.returncode, done.stdout) == (0, f"clrelion {clrelion.__version__}\n")


def test_help_names_the_commands() -> None:
    done = run("--help")
    assert done.returncode == 0
    assert "refine " in done.stdout
    assert "devices " in done.stdout


def test_refine_help_is_grouped_and_quick() -> None:
    done = run("refine", "--help")
    assert done.returncode == 0
    assert "Auto-refine and automatic sampling:" in done.stdout
    assert "--offset_range px" in done.stdout
    assert done.stderr == ""


def test_unknown_command() -> None:
    done = run("classify")
    assert done.returncode == 1
    line = f"clrelion: there is no command 'classify'; commands: {', '.join(COMMANDS)}\n"
    assert done.stderr == line


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ("--symm C1", "unknown option '--symm': did you mean --sym?"),
        ("--helix", "--helix: helical reconstruction is out of scope"),
        ("--sym C3v", "--sym: unknown point group 'C3v'; allowed: Cn, Dn"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_1(arguments: str, line: str) -> None:
    done = run("refine", *START.split(), *arguments.split())
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith(f"clrelion refine: {line}")
    assert done.stderr.count("\n") == 1


def test_symmetry_operators_are_printed() -> None:
    done = run("refine", *START.split(), "--sym", "D2", "--print_symmetry_ops")
    assert done.returncode == 0
    assert done.stdout.startswith("D2: 4 operators\n\n1\n  1.000000  0.000000")
    assert done.stdout.count("\n") == 1 + 4 * 5


class TestHowARunEnds:
    """Exit codes and marker files around a refinement that is replaced by one line."""

    @pytest.fixture
    def end(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> Callable[[BaseException | None], int]:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(refine_module, "setup_logging", lambda verbosity, rank: None)

        class NoReport:
            def add(self, written: object) -> None:
                raise AssertionError

            def finish(self, warnings: list[tuple[int, str]]) -> None:
                sys.stdout.write(f"finished after {warnings}\n")

        def end(error: BaseException | None) -> int:
            def run_refinement(
                options: RefineOptions,
                command_line: str,
                progress: Callable[[int, str], Progress],
                comm: Communicator,
                diary: Diary,
                on_written: Callable[[object], None],
            ) -> types.SimpleNamespace:
                assert comm.size == 1
                assert progress is Progress
                assert command_line.startswith("clrelion_refine --i particles.star --o out/run")
                assert on_written.__name__ == "add"
                if error is not None:
                    raise error
                return types.SimpleNamespace(output_root=options.output_root)

            stand_in = types.ModuleType("clrelion.refinement.run")
            stand_in.run_refinement = run_refinement  # type: ignore[attr-defined]
            monkeypatch.setitem(sys.modules, stand_in.__name__, stand_in)
            page = types.ModuleType("clrelion.report.live")
            page.LiveReport = NoReport  # type: ignore[attr-defined]
            monkeypatch.setitem(sys.modules, page.__name__, page)
            arguments = [*START.split(), "--pipeline_control", "job/"]
            return refine(arguments, program="clrelion_refine")

        return end

    def test_success(
        self, end: Callable[[BaseException | None], int], capsys: pytest.CaptureFixture[str]
    ) -> None:
        Path("job").mkdir()
        Path("job/RELION_JOB_EXIT_FAILURE").touch()
        assert end(None) == 0
        assert capsys.readouterr().out == "finished after []\n"
        assert os.listdir("job") == ["RELION_JOB_EXIT_SUCCESS"]

    def test_bad_input(
        self, end: Callable[[BaseException | None], int], capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert end(ImageError("particles.star row 3: a.mrcs does not exist")) == 1
        said = capsys.readouterr()
        assert said.err == "clrelion_refine: particles.star row 3: a.mrcs does not exist\n"
        assert "The run ended: particles.star row 3: a.mrcs does not exist" in said.out
        assert os.listdir("job") == ["RELION_JOB_EXIT_FAILURE"]

    @pytest.mark.parametrize("error", [AbortRequested("RELION_JOB_ABORT_NOW"), KeyboardInterrupt()])
    def test_aborted(
        self, end: Callable[[BaseException | None], int], error: BaseException
    ) -> None:
        assert end(error) == 2
        assert os.listdir("job") == ["RELION_JOB_EXIT_ABORTED"]

    def test_defect_leaves_its_traceback(
        self, end: Callable[[BaseException | None], int], capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert end(ZeroDivisionError("of the program")) == 1
        assert capsys.readouterr().err == (
            "clrelion_refine: unexpected ZeroDivisionError: of the program; "
            "traceback in out/run_traceback.log\n"
        )
        assert "Traceback (most recent call last)" in Path("out/run_traceback.log").read_text()
        assert Path("job/RELION_JOB_EXIT_FAILURE").exists()

    def test_output_folder_that_cannot_be_made(
        self, end: Callable[[BaseException | None], int], capsys: pytest.CaptureFixture[str]
    ) -> None:
        Path("out").touch()
        assert end(None) == 1
        assert "--o out/run: cannot make out" in capsys.readouterr().err
