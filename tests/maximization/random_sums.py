"""Back-projection sums of white noise, on the host and on the device."""

from __future__ import annotations

import numpy as np

from clrelion.device.session import DeviceSession
from clrelion.maximization.device_sums import DeviceSums
from clrelion.maximization.sums import BackprojectionSums


def random_sums(
    padding: float, r_max: int, ori_size: int, seed: int = 0, like: BackprojectionSums | None = None
) -> BackprojectionSums:
    """Noise with weights of which a tenth are 0; ``like`` is added, for halves that correlate.

    The numbers are exact in single precision, so that both sides start from the same.
    """
    sums = BackprojectionSums.zeros(padding, r_max, ori_size)
    rng = np.random.default_rng(seed)
    shape = sums.weight.shape
    sums.data += rng.integers(-999, 999, shape) + 1j * rng.integers(-999, 999, shape)
    sums.weight += rng.integers(200, 999, shape) / 256
    sums.weight[rng.random(shape) < 0.1] = 0
    if like is not None:
        sums.data += like.data
    return sums


def both(
    session: DeviceSession, padding: float, r_max: int, ori_size: int, seed: int = 0
) -> tuple[BackprojectionSums, DeviceSums]:
    """Give the same sums on the host, in double precision, and on the device."""
    host = random_sums(padding, r_max, ori_size, seed)
    return host, DeviceSums.from_host(session, host)
