"""Probe what a device can do, by building and running, never by believing (design section 5)."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyopencl as cl

from clrelion.device.build import build_program
from clrelion.device.templates import render_source
from clrelion.errors import DeviceError, KernelBuildError

logger = logging.getLogger(__name__)

BASE_LANGUAGE = "CL1.2"
FLOAT_ATOMICS_PATHS = ("ext", "nv_v4", "nv", "amd", "cas")
"""Paths of ``atomic_add_real``, best first; see ``cl/common/atomics.cl.mako``."""

DOUBLE_ATOMICS_PATHS = ("ext", "nv", "amd", "cas")

INTEGER_ATOMICS_PATHS = ("long", "carry")
"""Paths of ``fixed_add``, best first; see ``cl/common/fixed_point.cl.mako``."""

_PATH_NAMES = {
    "ext": "cl_ext_float_atomics",
    "nv_v4": "PTX red.v4",
    "nv": "PTX red",
    "amd": "AMD builtin",
    "cas": "compare-exchange",
    "none": "none",
}
_ATOMICS_PROBE = """<%include file="/common/atomics.cl.mako"/>
__kernel void probe(volatile __global real *sums)
{
    const int item = (int)get_global_id(0);
    atomic_add_real(sums + item % 4, (real)item);
    atomic_add_real4(sums + 4, (real4)((real)1, (real)2, (real)3, (real)item));
}
"""
_FIXED_POINT_PROBE = """<%include file="/common/fixed_point.cl.mako"/>
__kernel void probe(volatile __global long *sums)
{
    const long item = get_global_id(0);
    fixed_add(sums + item % 2, (item - 100) * 2147483649L);
}
"""
_TENSOR_PROBE = """<%include file="/common/tensor.cl.mako"/>
__kernel void probe(__global const uchar *A, __global const uchar *B, __global float *D)
{
    __local __attribute__((aligned(128))) uchar tiles[1024];
    const uint base = local_address(tiles);
    const int lane = (int)get_local_id(0);
    copy_to_local(base + 16 * lane, A + 16 * lane);
    copy_to_local(base + 512 + 16 * lane, B + 16 * lane);
    COMMIT_COPIES;
    WAIT_COPIES(0);
    barrier(CLK_LOCAL_MEM_FENCE);
    uint a[4], b[4];
    const uint at = base + 32 * (lane % 16) + 16 * (lane / 16);
    load_fragments(a, at);
    load_transposed(b, at + 512);
    for (int j = 0; j < 2; j++) {
        float d[4] = {1.0f, 2.0f, 3.0f, 4.0f};
        multiply_tiles(d, a, b + 2 * j);
        for (int v = 0; v < 4; v++)
            D[16 * (lane / 4 + 8 * (v / 2)) + 8 * j + 2 * (lane % 4) + v % 2] = d[v];
    }
}
"""
_DOUBLE_PROBE = """#pragma OPENCL EXTENSION cl_khr_fp64 : enable
__kernel void probe(__global double *values)
{
    const int item = (int)get_global_id(0);
    values[item] = 1.0 + 1e-12 * (double)item;
}
"""
_N_PROBE_ITEMS = 256


@dataclass(frozen=True)
class Capabilities:
    """Probed facts of one device.

    Attributes
    ----------
    language : str
        OpenCL C version that kernels are built for: ``CL1.2``, or ``CL3.0`` where the atomics
        need it.
    fp64 : bool
        Double precision works.
    float_atomics, double_atomics : str
        Path of ``atomic_add_real`` in single and double precision, one of
        :data:`FLOAT_ATOMICS_PATHS` or ``none``.
    tensor : str
        ``f16`` where ``cl/common/tensor.cl.mako`` compiles and computes correctly, else ``none``.
    compute_capability : tuple of int or None
        NVIDIA only, e.g. (9, 0).
    """

    language: str
    fp64: bool
    float_atomics: str
    double_atomics: str
    tensor: str
    compute_capability: tuple[int, int] | None

    def atomics_path(self, precision: str) -> str:
        """Path for ``single`` or ``double``."""
        return self.double_atomics if precision == "double" else self.float_atomics

    @property
    def float_atomics_name(self) -> str:
        """The single-precision path in words."""
        return _PATH_NAMES[self.float_atomics]


_known: dict[tuple[str, str, str, int], Capabilities] = {}


def probe(device: cl.Device, context: cl.Context | None = None) -> Capabilities:
    """Capabilities of ``device``; probed once a process for each device and driver.

    Raises
    ------
    DeviceError
        Not even a plain kernel builds and runs.
    """
    key = (device.platform.name, device.name, device.driver_version, int(device.int_ptr))
    if key not in _known:
        _known[key] = _Prober(device, context).run()
        logger.debug("%s: %s", device.name.strip(), _known[key])
    return _known[key]


def integer_atomics_path(device: cl.Device, context: cl.Context | None = None) -> str:
    """Path of ``fixed_add`` on a device, one of :data:`INTEGER_ATOMICS_PATHS`.

    Probed when a session asks for it: most do not.

    Raises
    ------
    DeviceError
        None of them works.
    """
    prober = _Prober(device, context)
    for path in INTEGER_ATOMICS_PATHS:
        if prober.adds_integers(path):
            return path
    raise DeviceError(
        f"device {device.name.strip()}: atomic additions of integers do not work on it; drop "
        "--deterministic, or use another --device"
    )


class _Prober:
    """Builds and runs the probe kernels on one device."""

    def __init__(self, device: cl.Device, context: cl.Context | None) -> None:
        self.device = device
        self.extensions = frozenset(device.extensions.split())
        self.is_nvidia = "NVIDIA" in device.platform.vendor or "NVIDIA" in device.vendor
        try:
            self.context = context if context is not None else cl.Context([device])
            self.queue = cl.CommandQueue(self.context, device)
        except cl.Error as error:
            raise DeviceError(f"{device.name.strip()}: no context ({error})") from error

    def run(self) -> Capabilities:
        fp64 = "cl_khr_fp64" in self.extensions and self._works(self._double)
        float_path = self._first_path(FLOAT_ATOMICS_PATHS, "single")
        double_path = self._first_path(DOUBLE_ATOMICS_PATHS, "double") if fp64 else "none"
        if float_path == "none":
            raise DeviceError(
                f"{self.device.name.strip()}: a plain kernel does not build and run on it; "
                "update the driver, or choose another device with --device"
            )
        language = BASE_LANGUAGE
        if "ext" in (float_path, double_path):
            language = "CL3.0"
        tensor = "f16" if self.is_nvidia and self._works(self._tensor) else "none"
        return Capabilities(
            language, fp64, float_path, double_path, tensor, self._compute_capability()
        )

    def adds_integers(self, path: str) -> bool:
        if path == "long" and "cl_khr_int64_base_atomics" not in self.extensions:
            return False
        return self._works(self._integer_atomics, path)

    def _first_path(self, paths: Sequence[str], precision: str) -> str:
        for path in paths:
            if self._is_candidate(path, precision) and self._works(self._atomics, path, precision):
                return path
        return "none"

    def _is_candidate(self, path: str, precision: str) -> bool:
        # Saves builds that cannot succeed; what remains is built and run.
        if path == "ext":
            return "cl_ext_float_atomics" in self.extensions
        if path in ("nv", "nv_v4"):
            return self.is_nvidia
        if path == "amd":
            return "AMD" in self.device.platform.name or "Advanced Micro" in self.device.vendor
        return precision == "single" or "cl_khr_int64_base_atomics" in self.extensions

    def _works(self, check: Any, *args: Any) -> bool:
        try:
            return bool(check(*args))
        except (KernelBuildError, cl.Error) as error:
            logger.debug(
                "%s: probe %s%s: %s", self.device.name.strip(), check.__name__, args, error
            )
            return False

    def _compute_capability(self) -> tuple[int, int] | None:
        if "cl_nv_device_attribute_query" not in self.extensions:
            return None
        try:
            return (
                int(self.device.compute_capability_major_nv),
                int(self.device.compute_capability_minor_nv),
            )
        except (cl.Error, AttributeError):
            return None

    def _run_probe(
        self,
        source: str,
        arrays: list[npt.NDArray[Any]],
        global_size: int,
        local_size: int | None,
        language: str = BASE_LANGUAGE,
    ) -> npt.NDArray[Any]:
        """Run ``probe`` on buffers holding ``arrays``; return the last one's new content."""
        program = build_program(
            self.context, self.device, source, language=language, label="capability probe"
        )
        kernel = cl.Kernel(program, "probe")
        flags = cl.mem_flags.READ_WRITE | cl.mem_flags.COPY_HOST_PTR
        buffers = [cl.Buffer(self.context, flags, hostbuf=array) for array in arrays]
        for index, buffer in enumerate(buffers):
            kernel.set_arg(index, buffer)
        local = None if local_size is None else (local_size,)
        cl.enqueue_nd_range_kernel(self.queue, kernel, (global_size,), local)
        result = np.empty_like(arrays[-1])
        cl.enqueue_copy(self.queue, result, buffers[-1], is_blocking=True)
        return result

    def _double(self) -> bool:
        values = self._run_probe(_DOUBLE_PROBE, [np.zeros(64)], 64, None)
        return bool(np.array_equal(values, 1.0 + 1e-12 * np.arange(64)))

    def _atomics(self, path: str, precision: str) -> bool:
        is_double = precision == "double"
        source = render_source(
            "capability probe",
            _ATOMICS_PROBE,
            {
                "real": "double" if is_double else "float",
                "double_precision": is_double,
                "float_atomics": path,
            },
        )
        sums = np.zeros(8, dtype=np.float64 if is_double else np.float32)
        language = "CL3.0" if path == "ext" else BASE_LANGUAGE
        result = self._run_probe(source, [sums], _N_PROBE_ITEMS, None, language)
        # Whole numbers below 2^24: the sums are exact in any order.
        items = np.arange(_N_PROBE_ITEMS)
        expected = [items[i::4].sum() for i in range(4)]
        expected += [_N_PROBE_ITEMS, 2 * _N_PROBE_ITEMS, 3 * _N_PROBE_ITEMS, items.sum()]
        return bool(np.array_equal(result, expected))

    def _integer_atomics(self, path: str) -> bool:
        source = render_source("capability probe", _FIXED_POINT_PROBE, {"integer_atomics": path})
        result = self._run_probe(source, [np.zeros(2, np.int64)], _N_PROBE_ITEMS, None)
        values = (np.arange(_N_PROBE_ITEMS) - 100) * 2147483649
        return bool(np.array_equal(result, [values[0::2].sum(), values[1::2].sum()]))

    def _tensor(self) -> bool:
        A = (np.arange(256) % 13 - 6).astype(np.float16).reshape(16, 16)
        B = (np.arange(256) % 11 - 5).astype(np.float16).reshape(16, 16)
        source = render_source("capability probe", _TENSOR_PROBE, {})
        result = self._run_probe(source, [A, B, np.zeros((16, 16), dtype=np.float32)], 32, 32)
        start = np.tile([[1, 2]], (16, 8)) + np.repeat([0, 2], 8)[:, None]
        return bool(np.array_equal(result, A.astype(np.float32) @ B.astype(np.float32) + start))
