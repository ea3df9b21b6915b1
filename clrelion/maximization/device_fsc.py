"""FSC of two half-sets' averages on the device (specification M 1.6)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from clrelion.device.shell_sums import start_sum_by_shell
from clrelion.fourier.shells import shell_bounds

if TYPE_CHECKING:
    from clrelion.device.array import Array
    from clrelion.device.session import DeviceSession

__all__ = ["start_averages_fsc"]


def start_averages_fsc(
    session: DeviceSession, one: Array, two: Array, r_max: int, ori_size: int
) -> Callable[[], NDArray[np.float64]]:
    """Begin to correlate the averages of two half-sets (`DeviceSums.downsampled`).

    Returns
    -------
    callable
        Waits for the FSC, float64, (N/2+1,); 1 at shell 0, 0 beyond R.  Specification M 1.6.
    """
    n, _, n_half = one.shape
    n_shells = r_max + 1
    bounds = session.to_device(shell_bounds(n_shells, r_max**2 + 1, 1.0))
    started = start_sum_by_shell(
        session, "shell_correlation", n_shells, n, 3, one, two, n, n_half, bounds, n_shells
    )

    def result() -> NDArray[np.float64]:
        cross, power_one, power_two = started()
        power = power_one * power_two
        fsc = np.zeros(ori_size // 2 + 1)
        np.divide(cross, np.sqrt(power), out=fsc[:n_shells], where=power > 0)
        fsc[0] = 1.0
        return fsc

    return result
