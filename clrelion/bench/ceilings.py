"""What a device can do at best, measured in the same run as the kernels held against it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from clrelion.device.session import DeviceSession

_SHORTEST_S = 0.03
_REPEATS = 5
_COPY_BYTES = {"cpu": 2**28, "gpu": 2**30}
_TRANSFER_BYTES = 2**27
_CHAINS = 8
_MMA_FLOPS = 2 * 16 * 8 * 16

_FMA = """<%include file="/common/types.cl.mako"/>
__kernel void fma_peak(__global real *out, const int n_loops, const real a, const real b)
{
    typedef real${width} wide;
    const long item = get_global_id(0);
    wide sum[${chains}];
    #pragma unroll
    for (int j = 0; j < ${chains}; j++) sum[j] = (wide)((real)(item % 16 + j));
    for (int i = 0; i < n_loops; i++) {
        #pragma unroll
        for (int j = 0; j < ${chains}; j++) sum[j] = fma(sum[j], (wide)(a), (wide)(b));
    }
    wide total = sum[0];
    #pragma unroll
    for (int j = 1; j < ${chains}; j++) total += sum[j];
    vstore${width}(total, item, out);
}
"""
_COPY = """__kernel void copy_peak(__global const float4 *source, __global float4 *target)
{
    const size_t i = get_global_id(0);
    target[i] = source[i];
}
"""
_TENSOR = """<%include file="/common/tensor.cl.mako"/>
__kernel void tensor_peak(__global float *out, const int n_loops)
{
    const uint item = get_global_id(0);
    const uint one = 0x3c003c00, least = 0x14001400; /* pairs of halves: 1 and 2^-10 */
    const uint a[4] = {one, least, item % 7 ? one : least, least};
    const uint b[2] = {least, item % 5 ? one : least};
    float d[${chains}][4];
    #pragma unroll
    for (int j = 0; j < ${chains}; j++)
        #pragma unroll
        for (int k = 0; k < 4; k++) d[j][k] = 0.0f;
    for (int i = 0; i < n_loops; i++) {
        #pragma unroll
        for (int j = 0; j < ${chains}; j++) multiply_tiles(d[j], a, b);
    }
    float total = 0.0f;
    #pragma unroll
    for (int j = 0; j < ${chains}; j++) total += d[j][0] + d[j][1] + d[j][2] + d[j][3];
    out[item] = total;
}
"""
_EMPTY = """__kernel void empty_launch(__global float *out, const int n)
{
    if (n > 0) out[get_global_id(0)] = 0.0f;
}
"""


@dataclass(frozen=True)
class Ceilings:
    """Best measured rates of a device.

    Attributes
    ----------
    fma_gflops
        Multiply-adds in the session's precision, two operations each, 1e9/s.
    copy_gbs
        Bytes read and written by a copy in global memory, 1e9/s.
    tensor_gflops
        Half-precision products on tensor cores, 1e9/s; None where there is no such path.
    launch_us
        A launch from Python, µs.
    to_device_gbs, to_host_gbs
        Copies between pageable host memory and the device, 1e9 bytes/s.
    """

    fma_gflops: float
    copy_gbs: float
    tensor_gflops: float | None
    launch_us: float
    to_device_gbs: float
    to_host_gbs: float

    def text(self) -> str:
        """One line."""
        tensor = "" if self.tensor_gflops is None else f", tensor f16 {self.tensor_gflops:.0f}"
        return (
            f"FMA {self.fma_gflops:.0f} GFLOP/s{tensor}, copy {self.copy_gbs:.1f} GB/s, "
            f"launch {self.launch_us:.0f} us, to device {self.to_device_gbs:.1f} GB/s, "
            f"to host {self.to_host_gbs:.1f} GB/s"
        )


def measure_ceilings(session: DeviceSession) -> Ceilings:
    """Measure all ceilings of a session's device; takes some seconds."""
    return Ceilings(
        fma_gflops=_fma(session),
        copy_gbs=_copy(session),
        tensor_gflops=_tensor(session) if session.template_params["tensor"] != "none" else None,
        launch_us=1e6 * _launch(session),
        to_device_gbs=_transfer(session, to_device=True),
        to_host_gbs=_transfer(session, to_device=False),
    )


def _best_seconds(session: DeviceSession, work: Callable[[], object]) -> float:
    """Shortest of some repeats, the queue finished before and after."""
    work()
    best = np.inf
    for _ in range(_REPEATS):
        session.finish()
        start = time.perf_counter()
        work()
        session.finish()
        best = min(best, time.perf_counter() - start)
    return float(best)


def _rate_of_loops(
    session: DeviceSession, launch: Callable[[int], object], work_per_loop: float
) -> float:
    """Work a second, with as many loops as it takes for launching not to matter."""
    n_loops = 256
    while True:
        seconds = _best_seconds(session, lambda n=n_loops: launch(n))  # type: ignore[misc]
        if seconds > _SHORTEST_S or n_loops >= 2**24:
            return work_per_loop * n_loops / seconds
        n_loops *= 4


def _fma(session: DeviceSession) -> float:
    # CPUs want explicit vectors, GPUs work-items
    width = (16 if session.precision == "single" else 8) if session.is_cpu else 2
    group = 1 if session.is_cpu else 256
    n_items = session.n_compute_units * (16 if session.is_cpu else 2048)
    kernel = session.kernel_from_source("fma_peak", _FMA, width=width, chains=_CHAINS)
    out = session.empty(n_items * width, session.real)
    flops = 2.0 * n_items * width * _CHAINS
    return 1e-9 * _rate_of_loops(
        session, lambda n: kernel((n_items,), (group,), out, n, 0.999, 0.001), flops
    )


def _tensor(session: DeviceSession) -> float:
    n_items = session.n_compute_units * 2048
    kernel = session.kernel_from_source("tensor_peak", _TENSOR, chains=_CHAINS)
    out = session.empty(n_items, np.float32)
    flops = float(_MMA_FLOPS) * _CHAINS * (n_items // 32)
    return 1e-9 * _rate_of_loops(session, lambda n: kernel((n_items,), (128,), out, n), flops)


def _copy(session: DeviceSession) -> float:
    wanted = _COPY_BYTES["cpu" if session.is_cpu else "gpu"]
    budget = session.memory_budget()
    n_bytes = min(wanted, budget.largest_allocation_bytes, budget.bytes // 4) // 4096 * 4096
    source, target = (session.zeros(n_bytes // 4, np.float32) for _ in range(2))
    kernel = session.kernel_from_source("copy_peak", _COPY)
    # the arrays count floats, the kernel four of them
    seconds = _best_seconds(session, lambda: kernel((n_bytes // 16,), (256,), source, target))
    return 2e-9 * n_bytes / seconds


def _launch(session: DeviceSession) -> float:
    kernel = session.kernel_from_source("empty_launch", _EMPTY)
    out = session.empty(64, np.float32)
    n = 200

    def launches() -> None:
        for _ in range(n):
            kernel((64,), None, out, 0)

    return _best_seconds(session, launches) / n


def _transfer(session: DeviceSession, to_device: bool) -> float:
    host = np.zeros(_TRANSFER_BYTES // 4, dtype=np.float32)
    array = session.to_device(host)
    seconds = _best_seconds(
        session,
        lambda: session.copy_to_device(host, array) if to_device else session.to_host(array),
    )
    return 1e-9 * _TRANSFER_BYTES / seconds
