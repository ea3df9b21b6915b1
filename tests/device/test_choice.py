"""Listing and choosing devices, runtimes that are not registered, and machines without OpenCL."""

from __future__ import annotations

import logging
import os
import platform
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import platformdirs
import pyopencl
import pytest

from clrelion.device import choice, runtimes
from clrelion.device.choice import DeviceInfo
from clrelion.device.session import DeviceSession
from clrelion.errors import DeviceError

CPU = DeviceInfo(
    platform_index=0, device_index=0, platform_name="Portable Computing Language",
    platform_vendor="The pocl project", name="EPYC", driver="3.1", kind="cpu",
    global_memory_bytes=500 * 10**9, max_allocation_bytes=10**9, local_memory_bytes=2**15,
    n_compute_units=64, max_work_group_size=4096, uuid=None, pci_bus_id=None, handle=None,
)  # fmt: skip
SMALL_GPU = replace(
    CPU, platform_index=1, platform_name="NVIDIA CUDA", platform_vendor="NVIDIA Corporation",
    name="NVIDIA T4", kind="gpu", global_memory_bytes=16 * 10**9, n_compute_units=40, uuid="aa00",
)  # fmt: skip
LARGE_GPU = replace(
    SMALL_GPU, device_index=1, name="NVIDIA H200", global_memory_bytes=141 * 10**9,
    n_compute_units=132, uuid="bb01",
)  # fmt: skip
DEVICES = [CPU, SMALL_GPU, LARGE_GPU]


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("auto", LARGE_GPU),
        ("gpu", LARGE_GPU),
        ("cpu", CPU),
        ("gpu:0", SMALL_GPU),
        ("gpu:1", LARGE_GPU),
        ("cpu:0", CPU),
        ("1:1", LARGE_GPU),
        ("nvidia:0", SMALL_GPU),
        ("Portable:0", CPU),
        ("t4", SMALL_GPU),
        ("NVIDIA", LARGE_GPU),
        ("uuid:bb", LARGE_GPU),
        ("uuid:GPU-AA-00", SMALL_GPU),
    ],
)
def test_specification(spec: str, expected: DeviceInfo) -> None:
    assert choice.matching_devices(spec, DEVICES)[0] == expected


def test_auto_prefers_gpu_then_memory() -> None:
    assert choice.rank_devices(DEVICES) == [LARGE_GPU, SMALL_GPU, CPU]


@pytest.mark.parametrize(
    "spec", ["gpu:2", "0:1", "2:0", "radeon", "uuid:", "uuid:cc", "accelerator"]
)
def test_unknown_specification_lists_the_devices(spec: str) -> None:
    with pytest.raises(DeviceError, match=r"no such OpenCL device.*H200 \(1:1, NVIDIA CUDA\)"):
        choice.matching_devices(spec, DEVICES)


def test_failing_device_is_left_out_with_one_line(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(choice, "list_devices", lambda: DEVICES)

    def check(info: DeviceInfo) -> str | None:
        return "unknown target CPU 'generic'" if info is LARGE_GPU else None

    assert choice.choose_device("auto", check=check) is SMALL_GPU
    assert [r.getMessage() for r in caplog.records] == [
        "OpenCL device NVIDIA H200 (1:1, NVIDIA CUDA) is left out: unknown target CPU 'generic'"
    ]
    with pytest.raises(DeviceError, match="unknown target CPU"):
        choice.choose_device("h200", check=check)


class _BrokenPlatform:
    name = "Broken"

    def get_devices(self) -> list[Any]:
        raise RuntimeError("driver exploded")


def test_broken_platform_is_skipped(
    session: DeviceSession, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    good = session.device.platform
    silent = SimpleNamespace(name="Half broken", get_devices=lambda: [SimpleNamespace()])
    monkeypatch.setattr(pyopencl, "get_platforms", lambda: [_BrokenPlatform(), silent, good])
    devices = choice.list_devices()
    assert {d.platform_index for d in devices} == {2}
    assert session.info.name in [d.name for d in devices]
    messages = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert len(messages) == 2
    assert "platform 0 (Broken) is left out" in messages[0]
    assert "driver exploded" in messages[0]
    assert "device 1:0 of Half broken is left out" in messages[1]


def test_usability_of_a_device(session: DeviceSession) -> None:
    assert choice.usability_problem(session.info) is None
    broken = replace(session.info, handle=SimpleNamespace())
    assert choice.usability_problem(broken) is not None


def test_list_describes_the_device(session: DeviceSession) -> None:
    info = session.info
    assert info in choice.list_devices()
    assert info.kind in ("cpu", "gpu", "accelerator")
    assert info.global_memory_bytes >= info.max_allocation_bytes > 0
    assert info.n_compute_units >= 1
    assert info.uuid is None or len(info.uuid) == 32


def _run(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False,
        env={**os.environ, **environment}, cwd=Path(__file__).resolve().parents[2],
    )  # fmt: skip


def test_no_opencl_says_what_to_install(tmp_path: Path) -> None:
    code = "from clrelion.device.choice import choose_device; choose_device('auto')"
    result = _run(code, OCL_ICD_VENDORS=str(tmp_path))
    assert result.returncode == 1
    last_line = result.stderr.strip().splitlines()[-1]
    assert last_line.startswith("clrelion.errors.DeviceError: no OpenCL device found")
    assert "intel-opencl-rt" in last_line
    assert "NVIDIA" in last_line


@pytest.mark.parametrize(
    ("release", "expected"),
    [
        ({"ID": "ubuntu", "ID_LIKE": "debian"}, "apt install pocl-opencl-icd"),
        ({"ID": "fedora"}, "dnf install pocl"),
        ({"ID": "rocky", "ID_LIKE": "rhel centos fedora"}, "dnf install pocl"),
        ({"ID": "nixos"}, "pip install intel-opencl-rt"),
    ],
)
def test_install_hint(
    release: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform, "freedesktop_os_release", lambda: release)
    assert expected in choice.install_hint()


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with a vendor folder, a Python prefix and a cache folder, all empty."""
    for variable in (*runtimes.VENDOR_VARIABLES, runtimes.FILENAMES_VARIABLE):
        monkeypatch.setenv(variable, "")  # so that what the code sets is undone afterwards
        monkeypatch.delenv(variable)
    for name in ("vendors", "prefix/lib", "nvidia", "cache"):
        (tmp_path / name).mkdir(parents=True)
    monkeypatch.setattr(runtimes, "SYSTEM_VENDOR_FOLDER", tmp_path / "vendors")
    monkeypatch.setattr(runtimes, "_LIBRARY_FOLDERS", (str(tmp_path / "nvidia"),))
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "prefix"))
    monkeypatch.setattr(platformdirs, "user_cache_dir", lambda name: str(tmp_path / "cache" / name))
    # no look at this machine's own libraries
    monkeypatch.setenv("LD_LIBRARY_PATH", "")
    monkeypatch.setattr(subprocess, "run", _no_ldconfig)
    return tmp_path


def _no_ldconfig(*_args: object, **_kwargs: object) -> None:
    raise OSError("no ldconfig")


def _vendors_after_prepare() -> list[str] | None:
    runtimes.prepare_runtimes.__wrapped__()
    folder = os.environ.get("OCL_ICD_VENDORS")
    if folder is None:
        return None
    return [file.read_text().strip() for file in sorted(Path(folder).glob("*.icd"))]


def test_nothing_to_register(machine: Path) -> None:
    (machine / "vendors" / "pocl.icd").write_text("libpocl.so.2\n")
    (machine / "prefix/lib/libintelocl.so").touch()  # another runtime is registered
    assert _vendors_after_prepare() is None


def test_unregistered_nvidia_joins_the_registered(
    machine: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (machine / "vendors" / "pocl.icd").write_text("libpocl.so.2\n")
    (machine / "vendors" / "stale.icd").write_text("/nowhere/libgone.so\n")
    library = machine / "nvidia" / "libnvidia-opencl.so.1"
    library.touch()
    with caplog.at_level(logging.INFO):
        assert _vendors_after_prepare() == ["libpocl.so.2", str(library)]
    assert "OCL_ICD_VENDORS" in caplog.text


def test_libraries_named_for_the_khronos_loader_are_registered(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pocl, nvidia = (machine / "nvidia" / name for name in ("libpocl.so.2", "libnvidia-opencl.so.1"))
    pocl.touch()
    nvidia.touch()
    monkeypatch.setenv("OCL_ICD_FILENAMES", f"{pocl.name}:libgone.so:/no/such.so:{nvidia.name}")
    assert _vendors_after_prepare() == [str(pocl), str(nvidia)]


def test_named_library_that_is_registered_is_not_registered_twice(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (machine / "vendors" / "pocl.icd").write_text("libpocl.so.2\n")
    (machine / "nvidia" / "libpocl.so.2.9.0").touch()
    (machine / "nvidia" / "libpocl.so.2").symlink_to("libpocl.so.2.9.0")
    monkeypatch.setenv("OCL_ICD_FILENAMES", str(machine / "nvidia" / "libpocl.so.2.9.0"))
    assert _vendors_after_prepare() is None


def test_registered_nvidia_is_left_alone(machine: Path) -> None:
    (machine / "vendors" / "nvidia.icd").write_text("libnvidia-opencl.so.1\n")
    (machine / "nvidia" / "libnvidia-opencl.so.1").touch()
    assert _vendors_after_prepare() is None


def test_intel_from_pypi(machine: Path) -> None:
    library = machine / "prefix/lib/libintelocl.so"
    library.touch()
    assert _vendors_after_prepare() == [str(library)]


def test_users_choice_of_runtimes_is_respected(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (machine / "nvidia" / "libnvidia-opencl.so.1").touch()
    monkeypatch.setenv("OCL_ICD_FILENAMES", "libnvidia-opencl.so.1")
    monkeypatch.setenv("OCL_ICD_VENDORS", str(machine / "vendors"))
    assert _vendors_after_prepare() == []


def test_unwritable_cache_folder(machine: Path) -> None:
    (machine / "cache" / "clrelion").write_text("a file where the folder should be")
    library = machine / "nvidia" / "libnvidia-opencl.so.1"
    library.touch()
    assert _vendors_after_prepare() == [str(library)]


def test_ldconfig_finds_nvidia(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listing = (
        "\tlibnvidia-opencl.so.10 (libc6,x86-64) => /opt/lib/libnvidia-opencl.so.10\n"
        "\tlibnvidia-opencl.so.1 (libc6,x86-64) => /opt/lib/libnvidia-opencl.so.1\n"
    )
    monkeypatch.setattr(subprocess, "run", lambda *_a, **_k: SimpleNamespace(stdout=listing))
    assert runtimes.find_library("libnvidia-opencl.so.1") == "/opt/lib/libnvidia-opencl.so.1"
