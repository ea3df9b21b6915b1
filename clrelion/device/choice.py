"""List the OpenCL devices of this machine and choose one by ``--device``."""

from __future__ import annotations

import ctypes
import functools
import logging
import platform as host_platform
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyopencl as cl

from clrelion.errors import DeviceError

logger = logging.getLogger(__name__)

_KIND_RANK = {"gpu": 0, "accelerator": 1, "cpu": 2, "other": 3}
_CL_DEVICE_UUID_KHR = 0x106A
_UUID_BYTES = 16


@dataclass(frozen=True)
class DeviceInfo:
    """One OpenCL device.

    Attributes
    ----------
    platform_index, device_index : int
        Position in the loader's listing (``--device PLATFORM:INDEX``).
    platform_name, platform_vendor, name, driver : str
    kind : str
        ``gpu``, ``cpu``, ``accelerator`` or ``other``.
    global_memory_bytes, max_allocation_bytes, local_memory_bytes : int
        As the driver reports them.
    n_compute_units, max_work_group_size : int
    uuid : str or None
        Hexadecimal, where the driver has ``cl_khr_device_uuid``.
    pci_bus_id : str or None
        ``domain:bus:device.0`` where the driver tells it.
    handle
        The ``pyopencl.Device``.
    """

    platform_index: int
    device_index: int
    platform_name: str
    platform_vendor: str
    name: str
    driver: str
    kind: str
    global_memory_bytes: int
    max_allocation_bytes: int
    local_memory_bytes: int
    n_compute_units: int
    max_work_group_size: int
    uuid: str | None
    pci_bus_id: str | None
    handle: Any = field(compare=False, repr=False)

    @property
    def label(self) -> str:
        """Name and position, for messages: ``NVIDIA H200 (0:0, NVIDIA CUDA)``."""
        return f"{self.name} ({self.platform_index}:{self.device_index}, {self.platform_name})"


def list_devices() -> list[DeviceInfo]:
    """All devices of all platforms that answer, in the loader's order.

    A platform that fails is left out with one warning line.

    Raises
    ------
    DeviceError
        There is no OpenCL platform, or none with a device; says what to install.
    """
    try:
        platforms = cl.get_platforms()
    except cl.Error as error:
        raise DeviceError(_no_opencl_message(str(error))) from error
    devices: list[DeviceInfo] = []
    for index, platform in enumerate(platforms):
        devices += _platform_devices(index, platform)
    if not devices:
        raise DeviceError(_no_opencl_message("no platform has a device"))
    return devices


def _platform_devices(index: int, platform: cl.Platform) -> list[DeviceInfo]:
    try:
        handles = platform.get_devices()
    except Exception as error:
        if getattr(error, "code", None) != cl.status_code.DEVICE_NOT_FOUND:
            logger.warning(
                "OpenCL platform %d (%s) is left out: it does not list its devices (%s)",
                index, _safe_name(platform), error,
            )  # fmt: skip
        return []
    result = []
    for device_index, handle in enumerate(handles):
        try:
            result.append(_describe(index, device_index, handle))
        except Exception as error:
            logger.warning(
                "OpenCL device %d:%d of %s is left out: it does not describe itself (%s)",
                index, device_index, _safe_name(platform), error,
            )  # fmt: skip
    return result


def _safe_name(platform: cl.Platform) -> str:
    try:
        return str(platform.name).strip()
    except Exception:
        return "no name"


def _describe(platform_index: int, device_index: int, device: cl.Device) -> DeviceInfo:
    extensions = device.extensions.split()
    return DeviceInfo(
        platform_index=platform_index,
        device_index=device_index,
        platform_name=device.platform.name.strip(),
        platform_vendor=device.platform.vendor.strip(),
        name=" ".join(device.name.split()),
        driver=device.driver_version.strip(),
        kind=_kind(device),
        global_memory_bytes=int(device.global_mem_size),
        max_allocation_bytes=int(device.max_mem_alloc_size),
        local_memory_bytes=int(device.local_mem_size),
        n_compute_units=int(device.max_compute_units),
        max_work_group_size=int(device.max_work_group_size),
        uuid=_uuid(device) if "cl_khr_device_uuid" in extensions else None,
        pci_bus_id=_pci_bus_id(device) if "cl_nv_device_attribute_query" in extensions else None,
        handle=device,
    )


def _kind(device: cl.Device) -> str:
    for kind, flag in (
        ("gpu", cl.device_type.GPU),
        ("cpu", cl.device_type.CPU),
        ("accelerator", cl.device_type.ACCELERATOR),
    ):
        if device.type & flag:
            return kind
    return "other"


def _uuid(device: cl.Device) -> str | None:
    """Ask the driver through the C interface: pyopencl does not know this query."""
    library = _loader_library()
    if library is None:
        return None
    value = (ctypes.c_ubyte * _UUID_BYTES)()
    status = library.clGetDeviceInfo(
        ctypes.c_void_p(device.int_ptr),
        ctypes.c_uint(_CL_DEVICE_UUID_KHR),
        ctypes.c_size_t(_UUID_BYTES),
        value,
        None,
    )
    return bytes(value).hex() if status == 0 else None


@functools.cache
def _loader_library() -> ctypes.CDLL | None:
    """Load the OpenCL loader that this process has already loaded (pyopencl's own, often)."""
    try:
        lines = Path("/proc/self/maps").read_text().splitlines()
        paths = [line.split()[-1] for line in lines if "libOpenCL" in line]
        return ctypes.CDLL(paths[0]) if paths else None
    except OSError:
        return None


def _pci_bus_id(device: cl.Device) -> str | None:
    try:
        bus, slot = int(device.pci_bus_id_nv), int(device.pci_slot_id_nv)
        domain = int(device.pci_domain_id_nv)
    except (cl.Error, AttributeError):
        return None
    return f"{domain:08x}:{bus:02x}:{slot >> 3:02x}.{slot & 7}"


def rank_devices(devices: Sequence[DeviceInfo]) -> list[DeviceInfo]:
    """Best first: GPU before accelerator before CPU, then more memory, then more compute units."""
    return sorted(
        devices,
        key=lambda d: (
            _KIND_RANK[d.kind],
            # a CPU's memory is the host's, whichever runtime reports it
            -d.global_memory_bytes if d.kind == "gpu" else 0,
            -d.n_compute_units,
            d.platform_index,
            d.device_index,
        ),
    )


def choose_device(
    spec: str,
    index: int = 0,
    *,
    check: Callable[[DeviceInfo], str | None] | None = None,
) -> DeviceInfo:
    """Choose one device.

    Parameters
    ----------
    spec : str
        ``auto`` (best device), ``cpu`` or ``gpu`` (best of this kind), ``gpu:1`` (second GPU,
        RELION's numbering), ``PLATFORM:INDEX`` with the platform's number or part of its name
        (``0:1``, ``NVIDIA:0``), ``uuid:...`` (beginning of a UUID), or part of a device's or
        platform's name. Case does not matter. Several, separated by commas: the first.
    index : int
        How many others on this machine have taken the same ``spec``: of several devices of one
        kind each gets its own, and the first again if there are not enough.
    check : callable, optional
        Returns what is wrong with a device, or None. Default: a kernel is built and run. Devices
        that fail are left out with a warning if there is another one to take.

    Raises
    ------
    DeviceError
        No OpenCL, no device matches, or none that matches works.
    """
    candidates = matching_devices(spec.split(",")[0].strip(), list_devices())
    alike = [d for d in candidates if d.kind == candidates[0].kind]
    if index > 0 and candidates[0].kind != "cpu":  # every runtime drives the same cores
        first = index % len(alike)
        candidates = [*alike[first:], *alike[:first], *candidates[len(alike) :]]
    return _first_working(spec, candidates, check)


def matching_devices(spec: str, devices: Sequence[DeviceInfo]) -> list[DeviceInfo]:
    """Devices that a specification means, best first; see :func:`choose_device`.

    Raises
    ------
    DeviceError
        None matches; lists what there is.
    """
    ranked = rank_devices(devices)
    text = spec.strip().lower()
    if text in ("", "auto"):
        found = ranked
    elif text in ("cpu", "gpu", "accelerator"):
        found = [d for d in ranked if d.kind == text]
    elif text.startswith("uuid:"):
        wanted = text.removeprefix("uuid:").removeprefix("gpu-").replace("-", "")
        found = [d for d in ranked if d.uuid is not None and wanted and d.uuid.startswith(wanted)]
    elif (match := re.fullmatch(r"(cpu|gpu):(\d+)", text)) is not None:
        of_kind = [d for d in devices if d.kind == match.group(1)]
        found = of_kind[int(match.group(2)) :][:1]
    elif (match := re.fullmatch(r"(.+):(\d+)", text)) is not None:
        found = _by_platform(match.group(1), int(match.group(2)), ranked)
    else:
        found = [d for d in ranked if text in d.name.lower() or text in d.platform_name.lower()]
    if not found:
        known = "; ".join(d.label for d in devices)
        raise DeviceError(f"--device {spec}: no such OpenCL device; there are: {known}")
    return found


def _by_platform(platform: str, index: int, devices: Sequence[DeviceInfo]) -> list[DeviceInfo]:
    def is_meant(device: DeviceInfo) -> bool:
        if platform.isdigit():
            return device.platform_index == int(platform)
        return platform in device.platform_name.lower()

    return [d for d in devices if is_meant(d) and d.device_index == index]


def _first_working(
    spec: str,
    candidates: Sequence[DeviceInfo],
    check: Callable[[DeviceInfo], str | None] | None,
) -> DeviceInfo:
    problems = []
    for candidate in candidates:
        problem = (check or usability_problem)(candidate)
        if problem is None:
            return candidate
        problems.append(f"{candidate.label}: {problem}")
        logger.warning("OpenCL device %s is left out: %s", candidate.label, problem)
    raise DeviceError(
        f"--device {spec}: no usable OpenCL device ({'; '.join(problems)}); "
        "update its driver or choose another one (`clrelion devices` lists them)"
    )


def usability_problem(info: DeviceInfo) -> str | None:
    """Build and run a small kernel; say in one line what is wrong, None if nothing is."""
    from clrelion.device.capabilities import probe

    try:
        probe(info.handle)
    except Exception as error:
        return " ".join(str(error).split())
    return None


def _no_opencl_message(reason: str) -> str:
    return f"no OpenCL device found ({reason}); {install_hint()}"


def install_hint() -> str:
    """One line: how to get an OpenCL runtime on this system."""
    hints = []
    try:
        release = host_platform.freedesktop_os_release()
    except (OSError, AttributeError):
        release = {}
    family = f"{release.get('ID', '')} {release.get('ID_LIKE', '')}"
    if "debian" in family or "ubuntu" in family:
        hints.append("for the CPU: apt install pocl-opencl-icd")
    elif any(name in family for name in ("fedora", "rhel", "centos")):
        hints.append("for the CPU: dnf install pocl")
    elif "arch" in family:
        hints.append("for the CPU: pacman -S pocl")
    elif "suse" in family:
        hints.append("for the CPU: zypper install pocl")
    hints.append("any x86-64 Linux CPU: pip install intel-opencl-rt intel-cmplr-lib-rt")
    hints.append("conda: conda install -c conda-forge pocl ocl-icd-system")
    hints.append(
        "NVIDIA GPU: its driver brings OpenCL (in a container set "
        "NVIDIA_DRIVER_CAPABILITIES=compute,utility)"
    )
    hints.append("AMD GPU: rocm-opencl-runtime; Intel GPU: intel-opencl-icd")
    return "install a runtime: " + "; ".join(hints)
