"""Every kernel template has a head that is true, a twin and a test, and builds in silence."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from clrelion.device.templates import template_names, template_path
from tests.kernels.template_parameters import BUILDS, SINGLE_PRECISION, TENSOR

TESTS = Path(__file__).resolve().parents[1]
ROOT = TESTS.parent
KERNELS = [name for name in template_names() if not name.startswith("common/")]
# tested in this folder, one file each; those of clrelion/cl/device with the room they belong to
OWN = [name for name in KERNELS if name.startswith("expectation/")]
VARIANT_SUFFIXES = ("_vector", "_workers", "_tensor", "_bricks")

_HEAD = re.compile(r"/\*.*?\*/|<%doc>.*?</%doc>", re.DOTALL)
_POINTER = re.compile(r"__global[^,)]*\*\s*(?:restrict\s+)?(\w+)")
# a parameter: a cast has a bracket behind the star
_LOCAL_POINTER = re.compile(r"__local\s+(?:\w+|\$\{\w+\})\s*\*(?!\s*\))")


def head_of(name: str) -> str:
    match = _HEAD.match(template_path(name).read_text(encoding="utf-8"))
    assert match is not None, f"{name}: no head comment"
    return match.group()


def base_name(stem: str) -> str:
    """Name of the computation: variants share twin and test."""
    for suffix in VARIANT_SUFFIXES:
        stem = stem.removesuffix(suffix)
    return stem


@pytest.mark.parametrize("name", OWN)
def test_head_says_what_the_kernel_needs(name: str) -> None:
    head = head_of(name)
    stem = name.rsplit("/", 1)[-1]
    assert re.match(rf"/\* {stem}: \S", head), "begins with the kernel's name"
    for entry in ("Specification E ", "Local memory: ", "Order of sums: ", "Reference: "):
        assert entry in head, f"{name}: the head has no '{entry.strip()}'"
    source = template_path(name).read_text(encoding="utf-8")
    signature = source[source.index(f"void {stem}(") :].split("{\n", 1)[0]
    missing = [p for p in _POINTER.findall(signature) if not re.search(rf"\b{p}\b", head)]
    assert missing == [], f"{name}: arguments that the head does not mention"


@pytest.mark.parametrize("name", KERNELS)
def test_kernel_has_a_twin_and_a_test(name: str) -> None:
    stem = base_name(name.rsplit("/", 1)[-1])
    twin = re.search(r"Reference: (tests/reference/\w+\.py)", head_of(name))
    assert twin is not None, f"{name}: the head names no twin"
    assert (ROOT / twin.group(1)).is_file(), f"{name}: {twin.group(1)} does not exist"
    if name not in OWN:
        return
    source = (ROOT / twin.group(1)).read_text(encoding="utf-8")
    assert re.search(rf"^def {stem}\(", source, re.MULTILINE), f"{twin.group(1)}: no {stem}"
    assert (TESTS / "kernels" / f"test_{stem}.py").is_file(), f"{name}: no test"
    calls = f'"{name.rsplit("/", 1)[-1]}"'
    here = set(Path(__file__).parent.glob("*.py")) - {Path(__file__)}
    assert any(calls in path.read_text(encoding="utf-8") for path in here), f"{name}: never run"


@pytest.mark.parametrize("name", template_names())
def test_functions_with_local_memory_are_always_inlined(name: str) -> None:
    """Else PoCL 3.1 lets all work-groups share that memory, see common/reduce."""
    source = template_path(name).read_text(encoding="utf-8")
    for parameter in _LOCAL_POINTER.finditer(source):
        lines = source[: parameter.end()].splitlines()
        declaration = next(line for line in reversed(lines) if line[:1].strip())
        assert declaration.startswith("GROUP_FUNCTION "), declaration


_BUILD_ALL = """
import json, sys
import pyopencl as cl
from clrelion.device.choice import list_devices, matching_devices
from clrelion.device.session import DeviceSession
from clrelion.device.templates import render
from clrelion.errors import DeviceError
builds, single_only, tensor_only = json.loads(sys.argv[1])
device = matching_devices(sys.argv[2], list_devices())[0]
for precision in ("single", "double"):
    try:
        session = DeviceSession(device, precision)
    except DeviceError:
        continue  # no double precision
    options = [f"-cl-std={session.capabilities.language}", "-cl-mad-enable"]
    # what depends on the precision shows in any choice of parameters
    chosen = builds if precision == "single" else dict(builds).items()
    for name, parameters in chosen:
        if precision == "double" and name in single_only:
            continue
        if name in tensor_only and session.capabilities.tensor == "none":
            continue
        source = render(name, {**session.template_params, **parameters})
        program = cl.Program(session.context, source)
        program.build(options, cache_dir=False)
        log = program.get_build_info(session.device, cl.program_build_info.LOG).strip()
        if log:
            print(precision, name, parameters, log)
"""


# NVIDIA's compiler of 2025 says so of every kernel there is
_SAID_OF_EVERY_KERNEL = "is a kernel, so overriding noinline attribute."


def test_all_variants_build_without_a_word(tmp_path: Path) -> None:
    """In a process with an empty compiler cache: what is cached has no log."""
    builds = [(name, choice) for name in KERNELS for choice in BUILDS.get(name, [{}])]
    path = os.pathsep.join([str(ROOT), *sys.path])
    device = os.environ.get("CLRELION_TEST_DEVICES", "Portable Computing Language").split(",")[0]
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _BUILD_ALL,
         json.dumps([builds, SINGLE_PRECISION, TENSOR]), device.strip()],
        cwd=ROOT, env={**os.environ, "POCL_CACHE_DIR": str(tmp_path), "PYTHONPATH": path},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr[-4000:]
    said = [line for line in run.stdout.splitlines() if _SAID_OF_EVERY_KERNEL not in line]
    assert said == []


def test_no_entry_for_a_template_that_is_gone() -> None:
    assert set(BUILDS) <= set(KERNELS)
