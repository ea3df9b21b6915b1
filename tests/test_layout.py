"""The rules of the house: who may import whom, how long a file may grow, what a kernel brings."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "clrelion"
MODULES = sorted(PACKAGE.rglob("*.py"))
KERNELS = sorted((PACKAGE / "cl").rglob("*.cl.mako"))

# In the order of the data; a room may import rooms before its own, never later ones.
ROOMS = [
    "orientations",
    "fourier",
    "io",
    "particles",
    "parallel",
    "cl",
    "device",
    "planning",
    "expectation",
    "maximization",
    "refinement",
    "postprocess",
    "projection",
    "report",
    "simulation",
    "api",
    "bench",
    "cli",
]
SHARED = {"errors", "constants"}  # any room may import these
OPTION_READERS = {"options", "refinement", "cli"}
PURE = {"orientations", "fourier"}
# What the expectation step hands over is defined where it is received.
HANDED_OVER = {
    ("expectation", "clrelion.maximization.sums"),
    ("expectation", "clrelion.maximization.device_sums"),
    ("expectation", "clrelion.maximization.waiting_sums"),
}
# bench wraps the queue and the kernels of a session to time them
OWNERS = {"pyopencl": ("device", "bench"), "mpi4py": ("parallel",)}

MAX_MODULE_LINES = 400
MAX_KERNEL_LINES = 250
MAX_FUNCTION_LINES = 60
LONG_MODULES: dict[str, str] = {}  # path: why it may be longer
LONG_FUNCTIONS: dict[str, str] = {}  # path::function: why it may be longer

FORBIDDEN_NAMES = re.compile(r"(^|_)(utils?|helpers?|misc|common_functions|v\d+|new|old|tmp|copy)$")


def room_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return parts[0] if len(parts) > 1 or parts[0] != "__init__" else ""


def runtime_imports(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Yield the dotted name and line of every import that happens when the program runs."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            for child in node.orelse:
                yield from runtime_imports(child)
            continue
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: imports are absolute here"
            module = node.module or ""
            yield module, node.lineno
            if module == "clrelion":
                yield from ((f"clrelion.{alias.name}", node.lineno) for alias in node.names)
        yield from runtime_imports(node)


def import_mistakes(room: str, source: str) -> list[str]:
    """Say what a module of a room imports against the rules."""
    found = []
    for name, line in runtime_imports(ast.parse(source)):
        top = name.split(".")[0]
        owner = OWNERS.get(top)
        if owner is not None and room not in owner:
            found.append(f"line {line}: only clrelion.{' and '.join(owner)} may import {top}")
        if top != "clrelion" or name == "clrelion":
            continue
        other = name.split(".")[1]
        if other == room or other in SHARED:
            continue
        if other == "options":
            if room not in OPTION_READERS:
                found.append(f"line {line}: options are read in refinement and cli only")
        elif other not in ROOMS:
            found.append(f"line {line}: {name} is no room of the house")
        elif room in PURE and other not in PURE:
            found.append(f"line {line}: {room} is pure NumPy and does not import {other}")
        elif room in SHARED | {"", "options"}:
            found.append(f"line {line}: {room or 'the package'} imports no room, but {other}")
        elif (room, name) in HANDED_OVER:
            continue
        elif room in ROOMS and ROOMS.index(other) > ROOMS.index(room):
            found.append(f"line {line}: {other} comes after {room} in the order of the data")
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_follow_the_data(path: Path) -> None:
    room = room_of(path)
    if room == "__main__":
        room = "cli"
    assert import_mistakes(room, path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("room", "source"),
    [
        ("io", "import pyopencl as cl"),
        ("io", "def f():\n    from clrelion.device.session import DeviceSession"),
        ("fourier", "from clrelion.io.star import read_star"),
        ("expectation", "from clrelion.options import RefineOptions"),
        ("expectation", "from clrelion.maximization.reconstruct import reconstruct"),
        ("device", "import mpi4py.MPI"),
        ("parallel", "from clrelion.device.session import DeviceSession"),
        ("refinement", "from clrelion.cli.progress import Progress"),
        ("refinement", "from clrelion import cli"),
        ("errors", "from clrelion.io.star import read_star"),
        ("io", "from clrelion.helpers import x"),
        ("refinement", "from clrelion.simulation.dataset import simulate"),
    ],
)
def test_the_import_rule_catches(room: str, source: str) -> None:
    assert len(import_mistakes(room, source)) == 1


def test_the_import_rule_allows() -> None:
    source = (
        "from typing import TYPE_CHECKING\n"
        "from clrelion.errors import StarError\nfrom clrelion.fourier.shells import x\n"
        "if TYPE_CHECKING:\n    import pyopencl\n    from clrelion.refinement.state import S\n"
    )
    assert import_mistakes("io", source) == []


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_module_is_short(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    name = str(path.relative_to(ROOT))
    n_lines = text.count("\n")
    assert n_lines <= MAX_MODULE_LINES or name in LONG_MODULES, f"{name}: {n_lines} lines"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[1:] if ast.get_docstring(node) else node.body
            n_lines = (node.end_lineno or 0) - body[0].lineno + 1 if body else 0
            where = f"{name}::{node.name}"
            assert n_lines <= MAX_FUNCTION_LINES or where in LONG_FUNCTIONS, f"{where}: {n_lines}"


def test_no_exception_outlives_its_reason() -> None:
    for name in LONG_MODULES:
        assert (ROOT / name).read_text(encoding="utf-8").count("\n") > MAX_MODULE_LINES, name
    functions = {
        f"{path.relative_to(ROOT)}::{node.name}"
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef)
    }
    assert set(LONG_FUNCTIONS) <= functions


@pytest.mark.parametrize("path", KERNELS, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_kernel_has_a_head_a_test_and_is_short(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert re.match(r"\s*(//|/\*|##|<%doc>)", text), f"{path.name}: begins with no head comment"
    assert text.count("\n") <= MAX_KERNEL_LINES, f"{path.name}: {text.count(chr(10))} lines"
    stem = path.name.removesuffix(".cl.mako")
    relative = str(path.relative_to(PACKAGE / "cl")).removesuffix(".cl.mako")
    used_by_others = any(relative in other.read_text(encoding="utf-8") for other in KERNELS
                         if other != path)  # fmt: skip
    tests = [t for t in (ROOT / "tests").rglob("test_*.py") if t != Path(__file__).resolve()]
    tested = any(re.search(rf"\b{stem}\b", t.read_text(encoding="utf-8")) for t in tests)
    assert tested or (relative.startswith("common/") and used_by_others), f"{relative}: no test"


def test_no_file_has_a_name_that_says_nothing() -> None:
    places = [PACKAGE, ROOT / "tests", ROOT / "tools"]
    files = [f for place in places for f in place.rglob("*") if "__pycache__" not in f.parts]
    bad = [str(f) for f in files if FORBIDDEN_NAMES.search(f.name.split(".")[0])]
    assert bad == []


def test_every_room_says_what_it_is_for() -> None:
    missing = [
        room for room in ROOMS
        if not (PACKAGE / room / "__init__.py").is_file()
        or not ast.get_docstring(ast.parse((PACKAGE / room / "__init__.py").read_text("utf-8")))
    ]  # fmt: skip
    assert missing == []
