"""The documentation does what it says: its commands run, its options, links and messages exist."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from clrelion.cli.main import COMMANDS
from clrelion.cli.parser import build_parser, parse_refine
from clrelion.cli.presets import CLASS3D, REFINE3D
from tests.docs.pages import PAGES, ROOT, Fence, Shell, fences

DOCS = ROOT / "docs"
LANGUAGES = {"console", "sh", "python", "text", "mermaid"}  # of fences; one without is shell
ALL_FENCES = [fence for page in PAGES for fence in fences(page)]


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """A reader who has followed the tutorial."""
    folder = tmp_path_factory.mktemp("reader")
    (folder / "examples").symlink_to(ROOT / "examples")
    reader = Shell(folder)
    for fence in fences(DOCS / "tutorial.md"):
        if fence.language == "console":
            for command in fence.commands():
                said = reader.run(command)
                if command.startswith("clrelion refine3d"):
                    assert "Refinement has converged" in said
    return reader


def test_tutorial(shell: Shell) -> None:
    assert shell.folder.name == "project"
    for name in (
        "Refine3D/job001/run_class001.mrc", "Refine3D/job001/run_report.html",
        "PostProcess/job002/postprocess.mrc", "Class3D/job003/run_it004_class002.mrc",
        "again_half2.mrc",
    ):  # fmt: skip
        assert (shell.folder / name).is_file(), name


@pytest.mark.parametrize(
    "page",
    [p for p in PAGES if p.name != "tutorial.md"
     and any(f.language == "console" for f in fences(p))],
    ids=lambda page: page.name,
)  # fmt: skip
def test_commands_run(shell: Shell, page: Path) -> None:
    """In the tutorial's folder."""
    reader = Shell(shell.folder)
    for fence in fences(page):
        if fence.language == "console":
            for command in fence.commands():
                reader.run(command)


def test_notebook_runs(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(shell.folder)
    names: dict[str, object] = {}
    for fence in fences(DOCS / "notebook.md"):
        if fence.language == "python":
            exec(compile(fence.text, "notebook.md", "exec"), names)
    assert Path("map.mrc").is_file()


def test_every_block_is_of_a_kind_that_is_checked() -> None:
    unknown = [
        f"{fence.page.name}: {fence.text[:40]!r}"
        for fence in ALL_FENCES
        if fence.language and fence.language not in LANGUAGES
    ]
    assert unknown == []


def options_of(fence: Fence) -> list[tuple[str, list[str]]]:
    """Program and flags of each clrelion command of a block that is not run."""
    found = []
    for command in fence.commands():
        words = re.split(r"\s+", command.strip())
        own = [i for i, word in enumerate(words) if Path(word).name.startswith("clrelion")]
        words = words[own[0] :] if own else [""]  # behind mpirun and its options
        program = Path(words[0]).name
        if program == "clrelion" and len(words) > 1 and words[1] in COMMANDS:
            found.append((words[1], words[2:]))
        elif program.removeprefix("clrelion_") in COMMANDS and program.startswith("clrelion_"):
            found.append((program.removeprefix("clrelion_"), words[1:]))
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_that_are_only_shown_are_valid(page: Path) -> None:
    presets = {"refine": None, "refine3d": REFINE3D, "class3d": CLASS3D}
    for fence in fences(page):
        if fence.language not in ("", "sh"):
            continue
        for name, words in options_of(fence):
            if name in presets:
                if not any(word in ("...", "--help") for word in words):
                    parse_refine(words, "clrelion", presets[name])
                continue
            command = COMMANDS[name]
            module = __import__(command.module, fromlist=["x"])
            if "--help" not in words:
                getattr(module, command.parser)().parse(words)


def test_options_named_for_relions_users_exist() -> None:
    known = {f.lstrip("-") for a in build_parser("x", REFINE3D)._actions for f in a.option_strings}
    known |= set(REFINE3D.switches()) | set(CLASS3D.switches())
    text = (DOCS / "relion.md").read_text(encoding="utf-8")
    table = text[text.index("| in RELION's window") : text.index("## As a job")]
    named = set(re.findall(r"`--(\w+)", table))
    assert len(named) > 20
    assert named <= known


def test_links_lead_somewhere() -> None:
    broken = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[\w-]*)?\)", text):
            if "://" not in target and not (page.parent / target).exists():
                broken.append(f"{page.name}: {target}")
    assert broken == []


def test_messages_of_the_troubleshooting_page_exist() -> None:
    """Each message quoted there is in the program's text."""
    said: list[str] = []
    for path in (ROOT / "clrelion").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                said.append(node.value)
            elif isinstance(node, ast.JoinedStr):
                parts = (v.value if isinstance(v, ast.Constant) else "{}" for v in node.values)
                said.append("".join(map(str, parts)))
    text = (DOCS / "troubleshooting.md").read_text(encoding="utf-8")
    quoted = re.findall(r"^\| `([^`]+)` \|", text, re.MULTILINE)
    assert len(quoted) > 20
    missing = [message for message in quoted if not any(message in one for one in said)]
    assert missing == []


def test_site_builds(tmp_path: Path) -> None:
    """With all warnings as errors: navigation, links, docstrings of the reference."""
    pytest.importorskip("mkdocs")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT), "NO_MKDOCS_2_WARNING": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "notebook" / "index.html").read_text(encoding="utf-8")
    assert "clrelion.api.Projector" in page
