"""Time of a reconstruction on the CPU beside scipy.fft's own time for its transform.

Usage: python tools/bench_reconstruction.py [box in pixels, 128]

Padding 2, single precision, both by all cores; the best of some repeats in turn.  Leave the cores
idle meanwhile.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path

# run as a file, not as a module, and clrelion need not be installed
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import scipy.fft

from clrelion.device.session import DeviceSession
from clrelion.fourier.transforms import workers_or_default
from clrelion.maximization import volume_steps
from clrelion.maximization.device_sums import DeviceSums
from clrelion.maximization.sums import BackprojectionSums

_REPEATS = 7


def seconds(work: Callable[[], object]) -> float:
    """Time one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main(box: int) -> None:
    """Measure and print."""
    rng = np.random.default_rng(0)
    sums = BackprojectionSums.zeros(2.0, box // 2, box, np.float32)
    shape = sums.data.shape
    sums.data[:] = rng.standard_normal(shape) + 1j * rng.standard_normal(shape)
    sums.weight[:] = rng.uniform(0.5, 2, sums.weight.shape)
    on_device = DeviceSums.from_host(DeviceSession("cpu"), sums)
    tau2 = np.full(box // 2 + 1, 0.1)
    padded = rng.standard_normal((2 * box, 2 * box, box + 1)).astype(np.complex64)
    n_threads = workers_or_default()

    def reconstruct() -> object:
        return volume_steps.to_host(volume_steps.reconstruct(on_device, tau2))

    def transform() -> object:
        return scipy.fft.irfftn(padded, workers=n_threads)

    reconstruct()  # kernels are compiled
    transform()
    pairs = [(seconds(reconstruct), seconds(transform)) for _ in range(_REPEATS)]
    ours, theirs = (min(times) for times in zip(*pairs, strict=True))
    print(
        f"{box} px, {n_threads} threads: reconstruction {1e3 * ours:.0f} ms, "
        f"irfftn of {2 * box} px {1e3 * theirs:.0f} ms, ratio {ours / theirs:.2f}"
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 128)
