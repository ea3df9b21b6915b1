"""Time that the host spends on one call of a device session: arrays, uploads, launches, timers.

Usage: python tools/bench_host_calls.py [device, auto]

Microseconds of this thread (``time.thread_time``) a call, the least and the median of some repeats;
the device is waited for between the repeats, outside of the clock.
"""

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

# run as a file, not as a module, and clrelion need not be installed
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from clrelion.device.session import DeviceSession

_REPEATS = 31
_CALLS = 200

_ARRAYS = ", ".join(f"__global const float *a{i}" for i in range(7))
_NUMBERS = ", ".join(f"const int n{i}" for i in range(5))
_SOURCE = f"""__kernel void many({_ARRAYS}, {_NUMBERS}, const float x, const float y,
                         __global float *out)
{{
    if (get_global_id(0) < n0) out[get_global_id(0)] = a0[0] + x + y;
}}
"""


def microseconds(session: DeviceSession, call: Callable[[], object]) -> tuple[float, float]:
    """Time one call of many: least and median of the repeats."""
    found = []
    for _ in range(_REPEATS):
        session.finish()
        start = time.thread_time()
        for _ in range(_CALLS):
            call()
        found.append(1e6 * (time.thread_time() - start) / _CALLS)
    return min(found), statistics.median(found)


def main(device: str) -> None:
    """Measure and print."""
    session = DeviceSession(device, works_ahead=True)
    kernel = session.kernel_from_source("many", _SOURCE)
    arrays = [session.zeros((10, 100), np.float32) for _ in range(8)]
    host, doubles = np.zeros(1000, np.float32), np.zeros((10, 100))
    numbers = (64, 1, 2, 3, 4, 0.5, 0.25)

    def launch(given: list[Any], local_size: tuple[int, ...] | None = (64,)) -> None:
        kernel((64,), local_size, *given[:7], *numbers, given[7])

    def empty() -> Any:
        return session.empty(1000, np.float32)

    def timed() -> None:
        with session.profile.timer("getDiff"):
            pass

    session.kernel("device/crop_lines", real_output=False)
    session.kernel("device/widen_to_complex")
    print(session.info.label)
    with session.profile.timer("set-up"):
        for name, call in (
            ("empty, (10, 100) float32", lambda: session.empty((10, 100), np.float32)),
            ("empty, 1000 float32", empty),
            ("zeros, (10, 100) float32", lambda: session.zeros((10, 100), np.float32)),
            ("to_device, 1000 float32", lambda: session.to_device(host)),
            ("to_device, 1000 float64 to float32", lambda: session.to_device(doubles, np.float32)),
            ("launch, 8 arrays and 7 numbers", lambda: launch(arrays)),
            ("the same, work-groups chosen", lambda: launch(arrays, None)),
            ("8 times empty, launch with these", lambda: launch([empty() for _ in range(8)])),
            ("kernel(name)", lambda: session.kernel("device/widen_to_complex")),
            ("kernel(name, flag)", lambda: session.kernel("device/crop_lines", real_output=False)),
            ("timer in a timer", timed),
        ):
            least, median = microseconds(session, call)
            print(f"{name:<40}{least:>8.2f}{median:>8.2f}")


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "auto")
