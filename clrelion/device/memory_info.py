"""How much memory of a device is free now, by whatever its vendor offers, and may be used."""

from __future__ import annotations

import ctypes
import logging
import resource
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyopencl as cl

from clrelion.device.choice import DeviceInfo
from clrelion.device.memory import LARGEST_BUFFER_BYTES, MemoryBudget, margin_of_total

logger = logging.getLogger(__name__)

_CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")
_CGROUP_USAGE = Path("/sys/fs/cgroup/memory.current")
_MEMINFO = Path("/proc/meminfo")
# What a deterministic session counts on instead of what is free.
_FIXED_SHARE = 0.8
# A CPU device shares its memory with the images and volumes of the host.
_HOST_SHARE = 0.25


def device_budget(
    info: DeviceInfo, is_cpu: bool, is_fixed: bool, held_bytes: int, limit_bytes: int | None
) -> MemoryBudget:
    """How much of a device a session may use.

    Parameters
    ----------
    is_cpu
        It is treated as one.
    is_fixed
        Nothing may depend on what happens to be free.
    held_bytes
        What the session holds already.
    limit_bytes
        The user's limit, or None.
    """
    total = info.global_memory_bytes
    if is_fixed:
        free = available = int(_FIXED_SHARE * total)
    else:
        free = min(total, free_memory_bytes(info) + held_bytes)
        available = host_available_bytes() or total
    margin = margin_of_total(total)
    if is_cpu:
        margin = max(margin, free - int(_HOST_SHARE * available))
    largest = min(info.max_allocation_bytes, LARGEST_BUFFER_BYTES)
    return MemoryBudget(total, free, margin, limit_bytes, largest)


def free_memory_bytes(info: DeviceInfo) -> int:
    """Estimate the free global memory of a device in bytes.

    CPU: the host's available memory, within the control group's limit. NVIDIA: NVML. AMD: its
    own device query. Anything else, or if these fail: the total.
    """
    total = info.global_memory_bytes
    free: int | None = None
    if info.kind == "cpu":
        free = host_available_bytes()
    elif "NVIDIA" in info.platform_vendor:
        free = _nvml_free_bytes(info)
    elif "AMD" in info.platform_name:
        free = _amd_free_bytes(info.handle)
    return total if free is None else min(free, total)


def host_available_bytes() -> int | None:
    """Memory the host can still give, in bytes; None where the system does not tell."""
    available: int | None = None
    try:
        for line in _MEMINFO.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                available = 1024 * int(line.split()[1])
    except OSError:
        return None
    try:
        limit = _CGROUP_LIMIT.read_text().strip()
        if limit.isdigit():
            left = max(0, int(limit) - int(_CGROUP_USAGE.read_text()))
            available = left if available is None else min(available, left)
    except OSError as error:
        logger.debug("no memory limit of a control group: %s", error)
    return available


def peak_resident_bytes() -> int:
    """Most memory of the host that this process has held at a time so far, bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # macOS counts bytes, other systems blocks of 1024
    return int(peak) if sys.platform == "darwin" else 1024 * int(peak)


def _amd_free_bytes(device: cl.Device) -> int | None:
    try:
        values: Any = device.global_free_memory_amd
        return 1024 * int(np.ravel(values)[0])
    except (cl.Error, AttributeError, TypeError, ValueError, IndexError):
        return None


class _NvmlMemory(ctypes.Structure):
    _fields_ = (
        ("total", ctypes.c_ulonglong),
        ("free", ctypes.c_ulonglong),
        ("used", ctypes.c_ulonglong),
    )


def _nvml_free_bytes(info: DeviceInfo) -> int | None:
    """Ask NVIDIA's management library; OpenCL itself has no such query there."""
    bus = info.pci_bus_id
    if bus is None:
        return None
    try:
        nvml = ctypes.CDLL("libnvidia-ml.so.1")
    except OSError as error:
        logger.debug("NVML: %s", error)
        return None
    if nvml.nvmlInit_v2() != 0:
        return None
    try:
        handle = ctypes.c_void_p()
        if nvml.nvmlDeviceGetHandleByPciBusId_v2(bus.encode(), ctypes.byref(handle)) != 0:
            return None
        memory = _NvmlMemory()
        if nvml.nvmlDeviceGetMemoryInfo(handle, ctypes.byref(memory)) != 0:
            return None
        return int(memory.free)
    finally:
        nvml.nvmlShutdown()
