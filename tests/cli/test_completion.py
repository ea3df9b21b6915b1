"""Completion scripts: what a shell offers, and that each shell can read its script."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from clrelion.cli.completion import completion
from clrelion.cli.main import COMMANDS


def script(shell: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert completion([shell]) == 0
    return capsys.readouterr().out


def offered_by_bash(text: str, line: str, folder: Path) -> list[str]:
    """Complete the last word of a command line."""
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("bash is not installed")
    words = line.split(" ")
    quoted = " ".join(f"'{word}'" for word in words)
    ask = (
        f"{text}\nCOMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}; _clrelion\n"
        'printf "%s\\n" "${COMPREPLY[@]}"\n'
    )
    done = subprocess.run(
        [bash, "-c", ask], cwd=folder, capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    return done.stdout.split()


def test_bash(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    text = script("bash", capsys)
    (tmp_path / "particles.star").touch()

    def offered(line: str) -> list[str]:
        return offered_by_bash(text, line, tmp_path)

    assert set(offered("clrelion ")) >= set(COMMANDS)
    assert offered("clrelion post") == ["postprocess"]
    assert offered("clrelion refine3d --auto_l") == ["--auto_local_healpix_order"]
    assert "--auto_bfac" in offered("clrelion postprocess --auto_")
    assert "--ctf" not in offered("clrelion postprocess --")
    assert offered("clrelion reconstruct --subset ") == ["1", "2"]
    assert offered("clrelion refine3d --i part") == ["particles.star"]
    assert offered("clrelion_refine --split") == ["--split_random_halves"]
    assert offered("clrelion completion ") == ["bash", "zsh", "fish"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_option_is_known_and_the_shell_reads_it(
    shell: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    text = script(shell, capsys)
    for word in ("low_resol_join_halves", "randomize_at_fsc", "clrelion_class3d", "workloads"):
        assert word in text
    file = tmp_path / "script"
    file.write_text(text)
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"{shell} is not installed")
    done = subprocess.run([program, "-n", str(file)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_an_unknown_shell_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert completion(["powershell"]) == 1
    assert capsys.readouterr().err.count("\n") == 1
